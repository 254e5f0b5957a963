// TensorRT 8.6 and later, and TensorRT-RTX: an engine that IRuntime deserializes, one execution context for each lane.
// What the two do not have in common is in Contexts and the lines before it.
#include <NvInfer.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "convert.h"
#include "errors.h"
#include "lane.h"

#if defined(TRTBENCH_RTX) != defined(TRT_MAJOR_RTX)
#error "NvInfer.h of TensorRT where TensorRT-RTX is meant, or the other way round"
#endif
#if defined(TRTBENCH_RTX) || NV_TENSORRT_MAJOR >= 10
#define TRTBENCH_NEWER_TYPES
#endif

namespace trtbench {
namespace {

#ifdef TRTBENCH_RTX
constexpr const char* kRuntime = "tensorrt_rtx";
constexpr int kVersion[] = {TRT_MAJOR_RTX, TRT_MINOR_RTX, TRT_PATCH_RTX};
#else
constexpr const char* kRuntime = "tensorrt";
constexpr int kVersion[] = {NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH};
#endif

class Log final : public nvinfer1::ILogger {
  public:
    void log(Severity severity, const char* text) noexcept override {
        if (severity > Severity::kWARNING) {
            return;
        }
        const std::scoped_lock lock(guard_);
        std::cerr << "TensorRT: " << text << '\n';
        if (severity <= Severity::kERROR) {
            latest_ = text;
        }
    }

    // What TensorRT said of the latest error, after a colon.
    std::string reason() {
        const std::scoped_lock lock(guard_);
        return latest_.empty() ? "" : ": " + latest_;
    }

  private:
    std::mutex guard_;
    std::string latest_;
};

[[noreturn]] void refuse(Log& log, const std::string& what) {
    const std::string message = what + log.reason();
    const bool memory = message.find("emory") != std::string::npos && message.find("alloc") != std::string::npos;
    throw RunnerError(memory ? "OutOfMemory" : "CaseError", message);
}

struct Type {
    std::string name;
    std::size_t bytes;
};

Type type_of(nvinfer1::DataType type) {
    switch (type) {
        case nvinfer1::DataType::kFLOAT:
            return {"float32", 4};
        case nvinfer1::DataType::kHALF:
            return {"float16", 2};
        case nvinfer1::DataType::kINT32:
            return {"int32", 4};
        case nvinfer1::DataType::kINT8:
            return {"int8", 1};
        case nvinfer1::DataType::kUINT8:
            return {"uint8", 1};
        case nvinfer1::DataType::kBOOL:
            return {"bool", 1};
#ifdef TRTBENCH_NEWER_TYPES
        case nvinfer1::DataType::kBF16:
            return {"bfloat16", 2};
        case nvinfer1::DataType::kINT64:
            return {"int64", 8};
#endif
        default:
            throw RunnerError("Unsupported", "an input or output has a type that the C++ runner cannot fill");
    }
}

nvinfer1::Dims dims_of(const std::vector<std::int64_t>& shape) {
    nvinfer1::Dims dims{};
    if (shape.size() > nvinfer1::Dims::MAX_DIMS) {
        throw RunnerError("Unsupported", "an input has more dimensions than TensorRT takes");
    }
    dims.nbDims = static_cast<std::int32_t>(shape.size());
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        dims.d[axis] = static_cast<std::remove_reference_t<decltype(dims.d[0])>>(shape[axis]);
    }
    return dims;
}

std::vector<char> read_part(const std::string& path, std::size_t offset, std::size_t bytes) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> part(bytes);
    file.seekg(static_cast<std::streamoff>(offset));
    if (!file.read(part.data(), static_cast<std::streamsize>(bytes))) {
        throw RunnerError("CaseError", path + " cannot be read");
    }
    return part;
}

#ifdef TRTBENCH_RTX
// Makes the contexts of an engine, with the strategies that the case asks for. Kernels are compiled in each process.
class Contexts {
  public:
    Contexts(Log& log, nvinfer1::ICudaEngine& engine, const Settings& settings)
        : engine_(engine), config_(engine.createRuntimeConfig()) {
        if (config_ == nullptr) {
            refuse(log, "TensorRT-RTX makes no runtime configuration");
        }
        for (const auto& [name, value] : settings.strategies) {
            if (name == "kernel_specialization") {
                config_->setDynamicShapesKernelSpecializationStrategy(specialization(value));
            } else if (name != "cuda_graph_strategy" || !config_->setCudaGraphStrategy(graphs(value))) {
                refuse(log, "TensorRT-RTX does not take " + name + ": " + value);
            }
        }
    }

    [[nodiscard]] nvinfer1::IExecutionContext* create() { return engine_.createExecutionContext(config_.get()); }

  private:
    using Specialization = nvinfer1::DynamicShapesKernelSpecializationStrategy;

    static Specialization specialization(const std::string& value) {
        if (value == "eager") {
            return Specialization::kEAGER;
        }
        if (value == "none") {
            return Specialization::kNONE;
        }
        if (value == "lazy") {
            return Specialization::kLAZY;
        }
        throw RunnerError("CaseError", "TensorRT-RTX has no kernel_specialization '" + value + "'");
    }
    static nvinfer1::CudaGraphStrategy graphs(const std::string& value) {
        using Strategy = nvinfer1::CudaGraphStrategy;
        if (value == "whole_graph_capture") {
            return Strategy::kWHOLE_GRAPH_CAPTURE;
        }
        if (value == "disabled") {
            return Strategy::kDISABLED;
        }
        throw RunnerError("CaseError", "TensorRT-RTX has no cuda_graph_strategy '" + value + "'");
    }

    nvinfer1::ICudaEngine& engine_;
    std::unique_ptr<nvinfer1::IRuntimeConfig> config_;
};
#else
class Contexts {
  public:
    Contexts(Log& /*log*/, nvinfer1::ICudaEngine& engine, const Settings& /*settings*/) : engine_(engine) {}

    [[nodiscard]] nvinfer1::IExecutionContext* create() { return engine_.createExecutionContext(); }

  private:
    nvinfer1::ICudaEngine& engine_;
};
#endif

class EngineLane final : public Lane {
  public:
    EngineLane(Log& log, nvinfer1::ICudaEngine& engine, Contexts& contexts, const Settings& settings, Driver& driver)
        : log_(log), driver_(driver), stream_(driver.new_stream()) {
        try {
            context_.reset(contexts.create());
            if (context_ == nullptr) {
                refuse(log_, "TensorRT makes no execution context");
            }
            choose_profile();
            context_->setNvtxVerbosity(nvinfer1::ProfilingVerbosity::kLAYER_NAMES_ONLY);
            bind_inputs(engine, settings);
            bind_outputs(engine, settings);
            driver_.synchronize();
        } catch (...) {
            release();
            throw;
        }
    }
    EngineLane(const EngineLane&) = delete;
    EngineLane& operator=(const EngineLane&) = delete;
    EngineLane(EngineLane&&) = delete;
    EngineLane& operator=(EngineLane&&) = delete;
    ~EngineLane() override {
        driver_.synchronize();
        release();
    }

    void call() override {
        if (!context_->enqueueV3(raw_stream())) {
            refuse(log_, "TensorRT did not take the call");
        }
    }
    [[nodiscard]] Handle stream() const override { return stream_; }
    [[nodiscard]] std::vector<TensorView> inputs() const override { return inputs_; }
    [[nodiscard]] std::vector<TensorView> outputs() const override { return outputs_; }
    std::vector<HostTensor> read_inputs() override { return to_host(inputs_); }
    std::vector<HostTensor> read_outputs() override { return to_host(outputs_); }

    void poison() override {
        driver_.synchronize();
        for (const TensorView& output : outputs_) {
            const bool floats = output.dtype.find("float") != std::string::npos;
            const std::uint8_t byte = floats ? 0xFF : 0x7F;
            if (on_host_.contains(output.address)) {
                std::memset(reinterpret_cast<void*>(output.address), byte, output.bytes);
            } else {
                driver_.fill(output.address, byte, output.bytes, stream_);
            }
        }
        driver_.synchronize();
    }

  private:
    // 8.6 sets a profile for the first context alone.
    void choose_profile() {
        if (context_->getOptimizationProfile() == 0) {
            return;
        }
        if (!context_->setOptimizationProfileAsync(0, raw_stream())) {
            refuse(log_, "a further lane cannot use the engine's optimization profile");
        }
        driver_.synchronize();
    }

    [[nodiscard]] cudaStream_t raw_stream() const { return reinterpret_cast<cudaStream_t>(stream_); }

    static const std::string& tensor_of(const Settings& settings, const std::string& name) {
        return settings.tensors.at(name);
    }

    void bind_inputs(nvinfer1::ICudaEngine& engine, const Settings& settings) {
        for (const InputSource& input : settings.inputs) {
            std::vector<char> values = read_part(settings.inputs_file, input.offset, input.bytes);
            if (!settings.tensors.contains(input.name)) {  // the exporter dropped it; it is copied all the same
                place(inputs_, input.name, input.dtype, input.shape, values.size(), false);
                write(inputs_.back(), values);
                continue;
            }
            const std::string& tensor = tensor_of(settings, input.name);
            const Type type = checked_type(engine, tensor, input.name);
            if (!context_->setInputShape(tensor.c_str(), dims_of(input.shape))) {
                refuse(log_, "TensorRT does not take the shape of '" + input.name + "'");
            }
            values = converted(values, input.dtype, type.name);
            const bool on_host = engine.getTensorLocation(tensor.c_str()) == nvinfer1::TensorLocation::kHOST;
            place(inputs_, input.name, type.name, input.shape, values.size(), on_host);
            write(inputs_.back(), values);
            set_address(tensor, inputs_.back());
        }
        const char* lacking = nullptr;
        if (context_->inferShapes(1, &lacking) != 0) {
            refuse(log_, "TensorRT lacks the shape of " + (lacking ? "'" + std::string(lacking) + "'" : "an input"));
        }
    }

    void bind_outputs(nvinfer1::ICudaEngine& engine, const Settings& settings) {
        for (const std::string& name : settings.outputs) {
            const std::string& tensor = tensor_of(settings, name);
            const Type type = checked_type(engine, tensor, name);
            const nvinfer1::Dims dims = context_->getTensorShape(tensor.c_str());
            std::vector<std::int64_t> shape(dims.d, dims.d + std::max(dims.nbDims, 0));
            std::size_t bytes = type.bytes;
            for (const std::int64_t size : shape) {
                if (size < 0) {
                    throw RunnerError("Unsupported", "the size of output '" + name + "' depends on the data");
                }
                bytes *= static_cast<std::size_t>(size);
            }
            const bool on_host = engine.getTensorLocation(tensor.c_str()) == nvinfer1::TensorLocation::kHOST;
            place(outputs_, name, type.name, std::move(shape), bytes, on_host);
            set_address(tensor, outputs_.back());
        }
    }

    static Type checked_type(nvinfer1::ICudaEngine& engine, const std::string& tensor, const std::string& name) {
        if (engine.getTensorFormat(tensor.c_str()) != nvinfer1::TensorFormat::kLINEAR) {
            throw RunnerError("Unsupported", "'" + name + "' must lie in memory in a format that is not linear");
        }
        return type_of(engine.getTensorDataType(tensor.c_str()));
    }

    void place(std::vector<TensorView>& tensors, const std::string& name, const std::string& dtype,
               std::vector<std::int64_t> shape, std::size_t bytes, bool on_host) {
        const Handle address = on_host ? driver_.allocate_pinned(bytes) : driver_.allocate(bytes);
        (on_host ? on_host_ : on_device_)[address] = bytes;
        tensors.push_back({name, dtype, std::move(shape), address, bytes});
    }

    void write(const TensorView& tensor, const std::vector<char>& values) {
        driver_.copy(tensor.address, reinterpret_cast<Handle>(values.data()), values.size(), stream_);
        driver_.synchronize();
    }

    void set_address(const std::string& tensor, const TensorView& view) {
        if (!context_->setTensorAddress(tensor.c_str(), reinterpret_cast<void*>(view.address))) {
            refuse(log_, "TensorRT does not take the memory of '" + view.name + "'");
        }
    }

    std::vector<HostTensor> to_host(const std::vector<TensorView>& tensors) {
        driver_.synchronize();
        std::vector<HostTensor> values;
        for (const TensorView& tensor : tensors) {
            values.push_back({tensor, std::vector<char>(tensor.bytes)});
            driver_.copy(reinterpret_cast<Handle>(values.back().values.data()), tensor.address, tensor.bytes, stream_);
            driver_.synchronize();
        }
        return values;
    }

    void release() {
        context_.reset();
        for (const auto& [address, bytes] : on_host_) {
            driver_.free_pinned(address);
        }
        for (const auto& [address, bytes] : on_device_) {
            driver_.free(address);
        }
        driver_.destroy_stream(stream_);
    }

    Log& log_;
    Driver& driver_;
    Handle stream_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    std::vector<TensorView> inputs_;
    std::vector<TensorView> outputs_;
    std::map<Handle, std::size_t> on_host_;
    std::map<Handle, std::size_t> on_device_;
};

class EngineModel final : public Model {
  public:
    explicit EngineModel(Settings settings) : settings_(std::move(settings)) {
        for (const std::string& plugin : settings_.plugins) {
            void* const library = dlopen(plugin.c_str(), RTLD_NOW | RTLD_GLOBAL);
            if (library == nullptr) {
                throw RunnerError("CaseError", "the plugin library cannot be opened: " + std::string(dlerror()));
            }
            using Initialize = bool (*)(void*, const char*);
            if (const auto initialize = reinterpret_cast<Initialize>(dlsym(library, "initLibNvInferPlugins"))) {
                initialize(&log_, "");  // TensorRT's own plugins
            }
        }
        std::ifstream file(settings_.artifact, std::ios::binary | std::ios::ate);
        const auto bytes = file.tellg();
        if (bytes <= 0) {
            throw RunnerError("CaseError", settings_.artifact + " cannot be read");
        }
        const std::vector<char> plan = read_part(settings_.artifact, 0, static_cast<std::size_t>(bytes));
        runtime_.reset(nvinfer1::createInferRuntime(log_));
        if (runtime_ == nullptr) {
            refuse(log_, "TensorRT cannot be started");
        }
        runtime_->setEngineHostCodeAllowed(settings_.host_code);
        engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
        if (engine_ == nullptr) {
            refuse(log_, "TensorRT cannot deserialize the engine");
        }
        contexts_.emplace(log_, *engine_, settings_);
    }

    std::unique_ptr<Lane> new_lane(int /*number*/, Driver* driver) override {
        return std::make_unique<EngineLane>(log_, *engine_, *contexts_, settings_, *driver);
    }
    [[nodiscard]] Facts facts() const override { return {}; }

  private:
    Settings settings_;
    Log log_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::optional<Contexts> contexts_;
};

}  // namespace

std::unique_ptr<Model> load_model(const std::string& runtime, const Settings& settings) {
    if (runtime != kRuntime) {
        throw RunnerError("CaseError", "this C++ runner has no runtime '" + runtime + "'");
    }
    if (!settings.on_gpu) {
        throw RunnerError("Unsupported", "TensorRT needs a CUDA device");
    }
    return std::make_unique<EngineModel>(settings);
}

Facts build_facts() {
    const std::string version =
        std::to_string(kVersion[0]) + "." + std::to_string(kVersion[1]) + "." + std::to_string(kVersion[2]);
    return {{"headers", version}, {"library", std::to_string(getInferLibVersion())}, {"compiler", __VERSION__}};
}

}  // namespace trtbench
