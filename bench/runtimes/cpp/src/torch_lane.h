// Lanes over PyTorch programs: resident input tensors, the lane's stream, and the tensors of the latest call.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lane.h"

namespace trtbench {

// What a runtime of PyTorch defines: one call, and the tensors that it returned.
class TorchProgram {
  public:
    TorchProgram() = default;
    TorchProgram(const TorchProgram&) = delete;
    TorchProgram& operator=(const TorchProgram&) = delete;
    TorchProgram(TorchProgram&&) = delete;
    TorchProgram& operator=(TorchProgram&&) = delete;
    virtual ~TorchProgram() = default;

    // `stream` is the raw handle, null on a CPU.
    virtual void run(void* stream) = 0;
    [[nodiscard]] virtual std::vector<at::Tensor> results() const = 0;
    // Tensors that the program owns, which may be outputs too.
    [[nodiscard]] virtual std::vector<at::Tensor> owned() const = 0;
};

class TorchLane final : public Lane {
  public:
    TorchLane(std::vector<at::Tensor> inputs, const Settings& settings, std::unique_ptr<TorchProgram> program,
              Driver* driver);
    TorchLane(const TorchLane&) = delete;
    TorchLane& operator=(const TorchLane&) = delete;
    TorchLane(TorchLane&&) = delete;
    TorchLane& operator=(TorchLane&&) = delete;
    ~TorchLane() override;

    void call() override;
    [[nodiscard]] Handle stream() const override { return stream_; }
    [[nodiscard]] std::vector<TensorView> inputs() const override;
    [[nodiscard]] std::vector<TensorView> outputs() const override;
    std::vector<HostTensor> read_inputs() override;
    std::vector<HostTensor> read_outputs() override;
    void poison() override;

  private:
    void use_stream() const;
    [[nodiscard]] std::vector<HostTensor> to_host(const std::vector<at::Tensor>& tensors,
                                                  const std::vector<std::string>& names) const;

    std::vector<at::Tensor> inputs_;
    std::vector<std::string> input_names_;
    std::vector<std::string> output_names_;
    std::unique_ptr<TorchProgram> program_;
    Driver* driver_;
    Handle stream_ = 0;
    std::optional<c10::Stream> on_;
    bool inference_mode_ = true;
    bool called_ = false;
};

// TF32 and the device as the case has them; done once, before a model is loaded.
void set_up_torch(const Settings& settings);
// New input tensors on the case's device at its precision.
std::vector<at::Tensor> make_inputs(const Settings& settings);
// State of torch that a reader must know to compare.
Facts torch_facts();
// c10::Error and others as RunnerError, with the first line of what went wrong.
[[noreturn]] void rethrow(const std::string& what, const std::exception& error);

std::unique_ptr<Model> load_torchscript(const Settings& settings);
std::unique_ptr<Model> load_aoti(const Settings& settings);

}  // namespace trtbench
