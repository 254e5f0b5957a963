// The runtimes of a program that is built against torch.
#include "errors.h"
#include "torch_lane.h"

namespace trtbench {

std::unique_ptr<Model> load_model(const std::string& runtime, const Settings& settings) {
    set_up_torch(settings);
    if (runtime == "torchscript") {
        return load_torchscript(settings);
    }
    if (runtime == "aoti") {
        return load_aoti(settings);
    }
    throw RunnerError("CaseError", "this C++ runner has no runtime '" + runtime + "'");
}

Facts build_facts() { return {{"torch", TRTBENCH_TORCH_VERSION}, {"compiler", __VERSION__}}; }

}  // namespace trtbench
