// TorchScript: a program that torch.jit.save has written, run by torch::jit.
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <utility>

#include "errors.h"
#include "torch_lane.h"

namespace trtbench {
namespace {

void flatten(const c10::IValue& value, std::vector<at::Tensor>& tensors) {
    if (value.isTensor()) {
        tensors.push_back(value.toTensor());
    } else if (value.isTuple()) {
        for (const c10::IValue& element : value.toTupleRef().elements()) {
            flatten(element, tensors);
        }
    } else if (value.isList()) {
        for (const c10::IValue& element : value.toListRef()) {
            flatten(element, tensors);
        }
    } else if (value.isTensorList()) {
        for (const at::Tensor& tensor : value.toTensorVector()) {
            tensors.push_back(tensor);
        }
    } else if (value.isGenericDict()) {
        for (const auto& entry : value.toGenericDict()) {
            flatten(entry.value(), tensors);
        }
    } else if (!value.isNone()) {
        throw RunnerError("Unsupported", "the program returned a " + value.tagKind() + ", which is no tensor");
    }
}

class Script final : public TorchProgram {
  public:
    Script(const torch::jit::Module& module, const std::vector<at::Tensor>& inputs,
           const std::vector<InputSource>& names, bool by_name)
        : module_(module), forward_(module_.get_method("forward")) {
        for (std::size_t index = 0; index < inputs.size(); ++index) {
            if (by_name) {
                keywords_[names[index].name] = inputs[index];
            } else {
                arguments_.emplace_back(inputs[index]);
            }
        }
    }

    void run(void* /*stream*/) override { result_ = forward_(arguments_, keywords_); }

    [[nodiscard]] std::vector<at::Tensor> results() const override {
        std::vector<at::Tensor> tensors;
        flatten(result_, tensors);
        return tensors;
    }

    [[nodiscard]] std::vector<at::Tensor> owned() const override {
        std::vector<at::Tensor> tensors;
        for (const at::Tensor& tensor : module_.parameters()) {
            tensors.push_back(tensor);
        }
        for (const at::Tensor& tensor : module_.buffers()) {
            tensors.push_back(tensor);
        }
        return tensors;
    }

  private:
    torch::jit::Module module_;
    torch::jit::Method forward_;
    std::vector<c10::IValue> arguments_;
    torch::jit::Kwargs keywords_;
    c10::IValue result_;
};

class ScriptModel final : public Model {
  public:
    explicit ScriptModel(Settings settings) : settings_(std::move(settings)) {
        const c10::Device device = settings_.on_gpu ? c10::Device(c10::DeviceType::CUDA, 0) : c10::Device(at::kCPU);
        try {
            module_ = torch::jit::load(settings_.artifact, device);
            module_.eval();
            if (settings_.optimize_for_inference) {
                const c10::NoGradGuard no_grad;
                module_ = torch::jit::optimize_for_inference(module_);
            }
        } catch (const std::exception& error) {
            rethrow("torch::jit::load cannot take the program", error);
        }
    }

    std::unique_ptr<Lane> new_lane(int /*number*/, Driver* driver) override {
        std::vector<at::Tensor> inputs = make_inputs(settings_);
        auto program = std::make_unique<Script>(module_, inputs, settings_.inputs, settings_.by_name);
        return std::make_unique<TorchLane>(std::move(inputs), settings_, std::move(program), driver);
    }

    [[nodiscard]] Facts facts() const override { return torch_facts(); }

  private:
    Settings settings_;
    torch::jit::Module module_;
};

}  // namespace

std::unique_ptr<Model> load_torchscript(const Settings& settings) { return std::make_unique<ScriptModel>(settings); }

}  // namespace trtbench
