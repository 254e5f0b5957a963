// CUDA's driver API, opened when it is first needed: the same program then runs where there is no GPU, and neither a
// CUDA toolkit nor its headers are needed to build it. Types and values are those of NVIDIA's public cuda.h.
#include <dlfcn.h>

#include <cmath>
#include <string>

#include "driver.h"
#include "errors.h"

namespace trtbench {
namespace {

using Result = int;
using Device = int;
constexpr Result kOutOfMemory = 2;
constexpr Result kNotReady = 600;
constexpr unsigned kPortable = 1;
constexpr unsigned kMapped = 2;
constexpr unsigned kOrderedWithDefault = 0;
constexpr unsigned kNonBlocking = 1;
constexpr unsigned kReached = 0;  // CU_STREAM_WAIT_VALUE_GEQ

void* open_library() {
    void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) {
        throw RunnerError("Unavailable", "no NVIDIA driver: libcuda.so.1 cannot be opened");
    }
    return library;
}

// A function of the library by its name there.
template <typename... Arguments>
class Function {
  public:
    Function(void* library, const char* name)
        : address_(reinterpret_cast<Result (*)(Arguments...)>(dlsym(library, name))) {
        if (address_ == nullptr) {
            throw RunnerError("Unavailable", std::string("the NVIDIA driver has no ") + name);
        }
    }
    Result operator()(Arguments... arguments) const { return address_(arguments...); }

  private:
    Result (*address_)(Arguments...);
};

class CudaDriver final : public Driver {
  public:
    CudaDriver() {
        check(init_(0));
        check(device_get_(&device_, 0));
        check(context_retain_(&context_, device_));
        use_device();
    }

    void use_device() override { check(context_set_(context_)); }

    Handle new_event() override {
        Handle event = 0;
        check(event_create_(&event, 0));
        return event;
    }
    void destroy_event(Handle event) override { check(event_destroy_(event)); }
    void record(Handle event, Handle stream) override { check(event_record_(event, stream)); }
    bool is_done(Handle event) override {
        const Result result = event_query_(event);
        if (result == kNotReady) {
            return false;
        }
        check(result);
        return true;
    }
    std::int64_t elapsed(Handle start, Handle end) override {
        float milliseconds = 0;
        check(event_elapsed_(&milliseconds, start, end));
        return std::llround(static_cast<double>(milliseconds) * 1e6);
    }

    void wait_value(Handle stream, Handle address, std::uint32_t value) override {
        check(wait_value_(stream, address, value, kReached));
    }
    void wait_event(Handle stream, Handle event) override { check(wait_event_(stream, event, 0)); }
    void copy(Handle target, Handle source, std::size_t bytes, Handle stream) override {
        check(copy_(target, source, bytes, stream));
    }
    void fill(Handle target, std::uint8_t byte, std::size_t bytes, Handle stream) override {
        check(fill_(target, byte, bytes, stream));
    }

    Handle new_stream() override { return create_stream(kNonBlocking); }
    Handle new_stream_ordered_with_default() override { return create_stream(kOrderedWithDefault); }
    void destroy_stream(Handle stream) override { check(stream_destroy_(stream)); }
    std::int64_t attribute(int number) override {
        int value = 0;
        check(attribute_(&value, number, device_));
        return value;
    }

    Handle allocate_pinned(std::size_t bytes) override {
        Handle address = 0;
        check_lock(host_allocate_(&address, bytes > 0 ? bytes : 1, kPortable));
        return address;
    }
    void free_pinned(Handle address) override { check(host_free_(address)); }
    Handle allocate(std::size_t bytes) override {
        Handle address = 0;
        check(allocate_(&address, bytes > 0 ? bytes : 1));
        return address;
    }
    void free(Handle address) override { check(free_(address)); }
    Handle register_memory(Handle address, std::size_t bytes) override {
        check_lock(host_register_(address, bytes, kMapped));
        Handle on_device = 0;
        check(host_pointer_(&on_device, address, 0));
        return on_device;
    }
    void unregister_memory(Handle address) override { check(host_unregister_(address)); }
    void synchronize() override { check(synchronize_()); }

  private:
    void check(Result result) const {
        if (result == 0) {
            return;
        }
        if (result == kOutOfMemory) {
            throw RunnerError("OutOfMemory", "the GPU has no memory left");
        }
        const char* name = nullptr;
        error_name_(result, &name);
        throw RunnerError("CudaFailure", std::string(name != nullptr ? name : "an unknown error") + " in a CUDA call");
    }

    // Of calls that page-lock memory; it is the host's memory that runs out there.
    void check_lock(Result result) const {
        if (result == kOutOfMemory) {
            throw RunnerError("CudaFailure", "the host has no more memory that it can page-lock");
        }
        check(result);
    }

    Handle create_stream(unsigned flags) const {
        Handle stream = 0;
        check(stream_create_(&stream, flags));
        return stream;
    }

    void* library_ = open_library();
    Function<unsigned> init_{library_, "cuInit"};
    Function<Result, const char**> error_name_{library_, "cuGetErrorName"};
    Function<Device*, int> device_get_{library_, "cuDeviceGet"};
    Function<int*, int, Device> attribute_{library_, "cuDeviceGetAttribute"};
    Function<Handle*, Device> context_retain_{library_, "cuDevicePrimaryCtxRetain"};
    Function<Handle> context_set_{library_, "cuCtxSetCurrent"};
    Function<> synchronize_{library_, "cuCtxSynchronize"};
    Function<Handle*, unsigned> event_create_{library_, "cuEventCreate"};
    Function<Handle> event_destroy_{library_, "cuEventDestroy_v2"};
    Function<Handle, Handle> event_record_{library_, "cuEventRecord"};
    Function<Handle> event_query_{library_, "cuEventQuery"};
    Function<float*, Handle, Handle> event_elapsed_{library_, "cuEventElapsedTime"};
    Function<Handle, Handle, std::uint32_t, unsigned> wait_value_{library_, "cuStreamWaitValue32_v2"};
    Function<Handle, Handle, unsigned> wait_event_{library_, "cuStreamWaitEvent"};
    Function<Handle, Handle, std::size_t, Handle> copy_{library_, "cuMemcpyAsync"};
    Function<Handle, unsigned char, std::size_t, Handle> fill_{library_, "cuMemsetD8Async"};
    Function<Handle*, unsigned> stream_create_{library_, "cuStreamCreate"};
    Function<Handle> stream_destroy_{library_, "cuStreamDestroy_v2"};
    Function<Handle*, std::size_t, unsigned> host_allocate_{library_, "cuMemHostAlloc"};
    Function<Handle> host_free_{library_, "cuMemFreeHost"};
    Function<Handle*, std::size_t> allocate_{library_, "cuMemAlloc_v2"};
    Function<Handle> free_{library_, "cuMemFree_v2"};
    Function<Handle, std::size_t, unsigned> host_register_{library_, "cuMemHostRegister_v2"};
    Function<Handle*, Handle, unsigned> host_pointer_{library_, "cuMemHostGetDevicePointer_v2"};
    Function<Handle> host_unregister_{library_, "cuMemHostUnregister"};
    Device device_ = 0;
    Handle context_ = 0;
};

}  // namespace

std::unique_ptr<Driver> open_cuda() { return std::make_unique<CudaDriver>(); }

}  // namespace trtbench
