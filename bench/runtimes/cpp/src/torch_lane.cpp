#include "torch_lane.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>

#include "errors.h"

namespace trtbench {
namespace {

constexpr c10::DeviceIndex kDevice = 0;

const std::map<std::string, at::ScalarType>& types_by_name() {
    static const std::map<std::string, at::ScalarType> kTypes{{"float64", at::kDouble},
                                                              {"float32", at::kFloat},
                                                              {"float16", at::kHalf},
                                                              {"bfloat16", at::kBFloat16},
                                                              {"int64", at::kLong},
                                                              {"int32", at::kInt},
                                                              {"int16", at::kShort},
                                                              {"int8", at::kChar},
                                                              {"uint8", at::kByte},
                                                              {"bool", at::kBool},
                                                              {"complex64", at::kComplexFloat},
                                                              {"complex128", at::kComplexDouble}};
    return kTypes;
}

at::ScalarType type_of(const std::string& name) {
    const auto place = types_by_name().find(name);
    if (place == types_by_name().end()) {
        throw RunnerError("Unsupported", "the C++ runner has no tensors of " + name);
    }
    return place->second;
}

std::string name_of(at::ScalarType type) {
    for (const auto& [name, candidate] : types_by_name()) {
        if (candidate == type) {
            return name;
        }
    }
    throw RunnerError("Unsupported",
                      std::string("the model returns ") + c10::toString(type) + ", which the C++ runner cannot read");
}

at::ScalarType at_precision(at::ScalarType type, const std::string& precision) {
    const bool converts = type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
    if (!converts) {
        return type;
    }
    if (precision == "fp16") {
        return at::kHalf;
    }
    return precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

TensorView view_of(const at::Tensor& tensor, std::string name) {
    const auto start = static_cast<std::size_t>(tensor.storage_offset()) * tensor.element_size();
    const std::size_t available = tensor.storage().nbytes() - start;
    return {std::move(name), name_of(tensor.scalar_type()), tensor.sizes().vec(),
            reinterpret_cast<Handle>(tensor.data_ptr()), std::min(tensor.nbytes(), available)};
}

std::vector<TensorView> views_of(const std::vector<at::Tensor>& tensors, const std::vector<std::string>& names) {
    if (tensors.size() != names.size()) {
        throw RunnerError("CaseError", "the program returned " + std::to_string(tensors.size()) + " tensors, and " +
                                           std::to_string(names.size()) + " when it was exported");
    }
    std::vector<TensorView> views;
    for (std::size_t index = 0; index < tensors.size(); ++index) {
        views.push_back(view_of(tensors[index], names[index]));
    }
    return views;
}

const void* storage_of(const at::Tensor& tensor) { return tensor.storage().data(); }

bool shares(const at::Tensor& tensor, const std::vector<at::Tensor>& others) {
    return std::ranges::any_of(others,
                               [&](const at::Tensor& other) { return storage_of(other) == storage_of(tensor); });
}

}  // namespace

void rethrow(const std::string& what, const std::exception& error) {
    const auto* known = dynamic_cast<const c10::Error*>(&error);
    const std::string message = known != nullptr ? known->what_without_backtrace() : error.what();
    const bool memory = message.find("out of memory") != std::string::npos || message == "std::bad_alloc";
    throw RunnerError(memory ? "OutOfMemory" : "CaseError", what + ": " + message);
}

TorchLane::TorchLane(std::vector<at::Tensor> inputs, const Settings& settings, std::unique_ptr<TorchProgram> program,
                     Driver* driver)
    : inputs_(std::move(inputs)), output_names_(settings.outputs), program_(std::move(program)), driver_(driver) {
    for (const InputSource& input : settings.inputs) {
        input_names_.push_back(input.name);
    }
    if (driver_ != nullptr) {
        stream_ = driver_->new_stream_ordered_with_default();
        // The number of a stream that is not from torch's own pool is its handle.
        on_.emplace(c10::Stream::UNSAFE, c10::Device(c10::DeviceType::CUDA, kDevice),
                    static_cast<c10::StreamId>(stream_));
        driver_->synchronize();  // the inputs were copied, and the model loaded, on another stream
    }
}

TorchLane::~TorchLane() {
    if (driver_ != nullptr) {
        driver_->synchronize();
        program_.reset();
        driver_->destroy_stream(stream_);
    }
}

void TorchLane::use_stream() const {
    if (on_) {
        static const c10::impl::DeviceGuardImplInterface* const kGuard =
            c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA);
        kGuard->exchangeStream(*on_);
    }
}

void TorchLane::call() {
    use_stream();
    void* const raw = reinterpret_cast<void*>(stream_);
    try {
        const c10::InferenceMode mode(inference_mode_);
        const c10::NoGradGuard no_grad;
        program_->run(raw);
    } catch (const std::exception& error) {
        if (called_ || !inference_mode_) {
            rethrow("a call of the program failed", error);
        }
        inference_mode_ = false;  // a program that holds tensors with gradients cannot run in it
        call();
    }
    called_ = true;
}

std::vector<TensorView> TorchLane::inputs() const { return views_of(inputs_, input_names_); }

std::vector<TensorView> TorchLane::outputs() const { return views_of(program_->results(), output_names_); }

std::vector<HostTensor> TorchLane::to_host(const std::vector<at::Tensor>& tensors,
                                           const std::vector<std::string>& names) const {
    use_stream();
    if (driver_ != nullptr) {
        driver_->synchronize();
    }
    const c10::InferenceMode mode;
    std::vector<TensorView> views = views_of(tensors, names);
    std::vector<HostTensor> values;
    for (std::size_t index = 0; index < tensors.size(); ++index) {
        const at::Tensor here = tensors[index].to(at::kCPU).contiguous();
        const auto* const first = static_cast<const char*>(here.data_ptr());
        values.push_back({std::move(views[index]), {first, first + here.nbytes()}});
    }
    return values;
}

std::vector<HostTensor> TorchLane::read_inputs() { return to_host(inputs_, input_names_); }

std::vector<HostTensor> TorchLane::read_outputs() { return to_host(program_->results(), output_names_); }

void TorchLane::poison() {
    const std::vector<at::Tensor> earlier = program_->results();
    call();
    const std::vector<at::Tensor> latest = program_->results();
    std::vector<at::Tensor> in_use = inputs_;
    const std::vector<at::Tensor> owned = program_->owned();
    in_use.insert(in_use.end(), owned.begin(), owned.end());
    for (const at::Tensor& tensor : earlier) {  // what two calls return alike is the program's, e.g. a cached tensor
        if (shares(tensor, latest)) {
            in_use.push_back(tensor);
        }
    }
    if (driver_ != nullptr) {
        driver_->synchronize();
    }
    for (const auto& tensors : {earlier, latest}) {
        for (const at::Tensor& tensor : tensors) {
            if (tensor.numel() == 0 || shares(tensor, in_use)) {
                continue;
            }
            const std::size_t bytes = tensor.storage().nbytes();
            const bool floats = tensor.is_floating_point() || tensor.is_complex();
            const std::uint8_t byte = floats ? 0xFF : 0x7F;
            void* const memory = tensor.storage().mutable_data();
            if (driver_ != nullptr) {
                driver_->fill(reinterpret_cast<Handle>(memory), byte, bytes, stream_);
            } else {
                std::memset(memory, byte, bytes);
            }
        }
    }
}

void set_up_torch(const Settings& settings) {
    const bool tf32 = settings.precision == "tf32";
    at::globalContext().setAllowTF32CuBLAS(tf32);
    at::globalContext().setAllowTF32CuDNN(tf32);
    if (settings.on_gpu && !at::globalContext().hasCUDA()) {
        throw RunnerError("Unavailable", "the C++ runner was built against a torch without CUDA");
    }
}

std::vector<at::Tensor> make_inputs(const Settings& settings) {
    std::ifstream file(settings.inputs_file, std::ios::binary);
    const c10::Device device = settings.on_gpu ? c10::Device(c10::DeviceType::CUDA, kDevice) : c10::Device(at::kCPU);
    std::vector<at::Tensor> tensors;
    for (const InputSource& input : settings.inputs) {
        std::vector<char> bytes(input.bytes);
        file.seekg(static_cast<std::streamoff>(input.offset));
        if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
            throw RunnerError("CaseError", settings.inputs_file + " ends before the input '" + input.name + "'");
        }
        const at::ScalarType type = type_of(input.dtype);
        at::Tensor tensor = at::from_blob(bytes.data(), input.shape, at::TensorOptions().dtype(type)).clone();
        tensor = tensor.to(at_precision(type, settings.precision));
        if (settings.channels_last && tensor.dim() == 4) {
            tensor = tensor.contiguous(at::MemoryFormat::ChannelsLast);
        }
        tensors.push_back(tensor.to(device));
    }
    return tensors;
}

Facts torch_facts() {
    const auto flag = [](bool value) { return std::string(value ? "1" : "0"); };
    at::Context& context = at::globalContext();
    return {{"threads", std::to_string(at::get_num_threads())},
            {"interop_threads", std::to_string(at::get_num_interop_threads())},
            {"onednn_allowed", flag(at::Context::hasMKLDNN() && context.userEnabledMkldnn())},
            {"tf32_matmul", flag(context.allowTF32CuBLAS())},
            {"tf32_cudnn", flag(context.allowTF32CuDNN())},
            {"cudnn_benchmark", flag(context.benchmarkCuDNN())}};
}

}  // namespace trtbench
