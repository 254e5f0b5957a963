// AOTInductor: a package that aoti_compile_and_package has written, run by its C++ container.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <map>
#include <utility>

#include "errors.h"
#include "torch_lane.h"

namespace trtbench {
namespace {

using Loader = torch::inductor::AOTIModelPackageLoader;

class Package final : public TorchProgram {
  public:
    Package(std::shared_ptr<Loader> loader, std::vector<at::Tensor> inputs)
        : loader_(std::move(loader)), inputs_(std::move(inputs)) {}

    void run(void* stream) override { results_ = loader_->run(inputs_, stream); }
    [[nodiscard]] std::vector<at::Tensor> results() const override { return results_; }
    [[nodiscard]] std::vector<at::Tensor> owned() const override { return {}; }

  private:
    std::shared_ptr<Loader> loader_;
    std::vector<at::Tensor> inputs_;
    std::vector<at::Tensor> results_;
};

class PackageModel final : public Model {
  public:
    explicit PackageModel(Settings settings) : settings_(std::move(settings)) { loader_of(0); }

    std::unique_ptr<Lane> new_lane(int number, Driver* driver) override {
        std::vector<at::Tensor> inputs = make_inputs(settings_);
        auto program = std::make_unique<Package>(loader_of(number), inputs);
        return std::make_unique<TorchLane>(std::move(inputs), settings_, std::move(program), driver);
    }

    [[nodiscard]] Facts facts() const override { return torch_facts(); }

  private:
    // On a CPU one container with a runner for each thread. On CUDA a container without locks for each thread: with
    // them, every call but the first would wait on the host until the call before it has ended.
    std::shared_ptr<Loader> loader_of(int number) {
        const int place = settings_.on_gpu ? number % settings_.streams : 0;
        std::shared_ptr<Loader>& loader = loaders_[place];
        if (loader == nullptr) {
            const auto runners = static_cast<std::size_t>(settings_.on_gpu ? 1 : settings_.streams);
            try {
                loader = std::make_shared<Loader>(settings_.artifact, "model", settings_.on_gpu, runners,
                                                  static_cast<c10::DeviceIndex>(settings_.on_gpu ? 0 : -1));
            } catch (const std::exception& error) {
                rethrow("AOTIModelPackageLoader cannot take the package", error);
            }
        }
        return loader;
    }

    Settings settings_;
    std::map<int, std::shared_ptr<Loader>> loaders_;
};

}  // namespace

std::unique_ptr<Model> load_aoti(const Settings& settings) { return std::make_unique<PackageModel>(settings); }

}  // namespace trtbench
