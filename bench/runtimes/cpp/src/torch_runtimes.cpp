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
#ifdef TRTBENCH_AOTI
        return load_aoti(settings);
#else
        throw RunnerError("Unsupported", "the C++ runner loads packages of AOTInductor with torch 2.8 or later");
#endif
    }
    throw RunnerError("CaseError", "this C++ runner has no runtime '" + runtime + "'");
}

Facts build_facts() { return {{"torch", TRTBENCH_TORCH_VERSION}, {"compiler", __VERSION__}}; }

}  // namespace trtbench
