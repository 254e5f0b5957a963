// A program without a runtime, whose call does nothing: what the loop itself takes, and the protocol's tests.
#include "errors.h"
#include "lane.h"

namespace trtbench {
namespace {

class EmptyLane final : public Lane {
  public:
    explicit EmptyLane(const Settings& settings) : fails_(settings.artifact == "fails") {
        for (const InputSource& input : settings.inputs) {
            tensors_.push_back({input.name, input.dtype, input.shape, 0, input.bytes});
        }
    }

    void call() override {
        if (fails_) {
            throw RunnerError("CaseError", "a call of the program failed");
        }
    }
    [[nodiscard]] Handle stream() const override { return 0; }
    [[nodiscard]] std::vector<TensorView> inputs() const override { return tensors_; }
    [[nodiscard]] std::vector<TensorView> outputs() const override { return tensors_; }
    std::vector<HostTensor> read_inputs() override { return zeros(); }
    std::vector<HostTensor> read_outputs() override { return zeros(); }
    void poison() override {}

  private:
    [[nodiscard]] std::vector<HostTensor> zeros() const {
        std::vector<HostTensor> values;
        for (const TensorView& tensor : tensors_) {
            values.push_back({tensor, std::vector<char>(tensor.bytes)});
        }
        return values;
    }

    bool fails_;
    std::vector<TensorView> tensors_;
};

class EmptyModel final : public Model {
  public:
    explicit EmptyModel(Settings settings) : settings_(std::move(settings)) {}
    std::unique_ptr<Lane> new_lane(int /*number*/, Driver* /*driver*/) override {
        return std::make_unique<EmptyLane>(settings_);
    }
    [[nodiscard]] Facts facts() const override { return {}; }

  private:
    Settings settings_;
};

}  // namespace

std::unique_ptr<Model> load_model(const std::string& runtime, const Settings& settings) {
    if (runtime != "empty") {
        throw RunnerError("CaseError", "this C++ runner has no runtime '" + runtime + "'");
    }
    return std::make_unique<EmptyModel>(settings);
}

Facts build_facts() { return {{"compiler", __VERSION__}}; }

}  // namespace trtbench
