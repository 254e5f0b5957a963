// What a runtime gives: a model, and lanes over it that can be called side by side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "driver.h"

namespace trtbench {

// One tensor where it lies: `dtype` has numpy's names, and bfloat16.
struct TensorView {
    std::string name;
    std::string dtype;
    std::vector<std::int64_t> shape;
    Handle address = 0;
    std::size_t bytes = 0;
};

// A tensor's values in C order, in the memory of the host.
struct HostTensor {
    TensorView view;
    std::vector<char> values;
};

class Lane {
  public:
    Lane() = default;
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    Lane(Lane&&) = delete;
    Lane& operator=(Lane&&) = delete;
    virtual ~Lane() = default;

    // Issues one inference on the resident inputs; on a CPU it is finished on return.
    virtual void call() = 0;
    // The raw stream, 0 on a CPU.
    [[nodiscard]] virtual Handle stream() const = 0;
    [[nodiscard]] virtual std::vector<TensorView> inputs() const = 0;
    [[nodiscard]] virtual std::vector<TensorView> outputs() const = 0;
    // Waits, and copies to the host.
    virtual std::vector<HostTensor> read_inputs() = 0;
    virtual std::vector<HostTensor> read_outputs() = 0;
    // Fills the outputs' memory with 0xFF, where the runtime keeps it between calls.
    virtual void poison() = 0;
};

// One input of the case: where in the file its values lie, and what they become.
struct InputSource {
    std::string name;
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::size_t offset = 0;
    std::size_t bytes = 0;
};

struct Settings {
    std::string artifact;
    std::string inputs_file;
    std::vector<InputSource> inputs;
    std::vector<std::string> outputs;
    std::string precision;
    bool on_gpu = false;
    bool channels_last = false;
    bool by_name = false;
    bool optimize_for_inference = false;
    int streams = 1;
    std::vector<std::string> plugins;
    // Names in the engine by those in the suite.
    std::map<std::string, std::string> tensors;
    bool host_code = false;
    // How TensorRT-RTX runs an engine, by the names of the suite's options.
    std::map<std::string, std::string> strategies;
};

using Facts = std::vector<std::pair<std::string, std::string>>;

class Model {
  public:
    Model() = default;
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;
    Model(Model&&) = delete;
    Model& operator=(Model&&) = delete;
    virtual ~Model() = default;

    // The lane of this number; `driver` is null on a CPU. RunnerError of the kind OutOfMemory without room.
    virtual std::unique_ptr<Lane> new_lane(int number, Driver* driver) = 0;
    // What a reader must know to compare.
    [[nodiscard]] virtual Facts facts() const = 0;
};

// The model of `runtime`, one of those that this program was built with; RunnerError for others.
std::unique_ptr<Model> load_model(const std::string& runtime, const Settings& settings);
// What this program was built with, for its greeting.
Facts build_facts();

}  // namespace trtbench
