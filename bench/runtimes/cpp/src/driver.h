// What timing needs of CUDA: streams, events, copies. CUDA itself through libcuda, or a simulation in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace trtbench {

// Streams, events and addresses are numbers, as the worker names them in its requests.
using Handle = std::uint64_t;

class Driver {
  public:
    Driver() = default;
    Driver(const Driver&) = delete;
    Driver& operator=(const Driver&) = delete;
    Driver(Driver&&) = delete;
    Driver& operator=(Driver&&) = delete;
    virtual ~Driver() = default;

    // Makes the device current in the calling thread.
    virtual void use_device() = 0;
    virtual Handle new_event() = 0;
    virtual void destroy_event(Handle event) = 0;
    virtual void record(Handle event, Handle stream) = 0;
    virtual bool is_done(Handle event) = 0;
    // Nanoseconds of the device's time between two events that it has passed.
    virtual std::int64_t elapsed(Handle start, Handle end) = 0;
    virtual void wait_value(Handle stream, Handle address, std::uint32_t value) = 0;
    virtual void wait_event(Handle stream, Handle event) = 0;
    virtual void copy(Handle target, Handle source, std::size_t bytes, Handle stream) = 0;
    virtual void fill(Handle target, std::uint8_t byte, std::size_t bytes, Handle stream) = 0;
    virtual Handle new_stream() = 0;
    // In order with the default stream, which operators of PyTorch that ignore the current stream launch on.
    virtual Handle new_stream_ordered_with_default() = 0;
    virtual void destroy_stream(Handle stream) = 0;
    virtual std::int64_t attribute(int number) = 0;
    virtual Handle allocate_pinned(std::size_t bytes) = 0;
    virtual void free_pinned(Handle address) = 0;
    virtual Handle allocate(std::size_t bytes) = 0;
    virtual void free(Handle address) = 0;
    virtual Handle register_memory(Handle address, std::size_t bytes) = 0;
    virtual void unregister_memory(Handle address) = 0;
    virtual void synchronize() = 0;

    void wait(Handle event) {
        while (!is_done(event)) {
        }
    }
};

// The first device of libcuda.so.1, which is opened when it is called. RunnerError without a driver or a device.
std::unique_ptr<Driver> open_cuda();

}  // namespace trtbench
