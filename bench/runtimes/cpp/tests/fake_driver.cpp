#include "fake_driver.h"

#include <algorithm>

#include "clock.h"
#include "errors.h"

namespace trtbench {
namespace {

constexpr std::int64_t kNsPerByte = 10;

}  // namespace

Handle FakeDriver::make() {
    const std::scoped_lock lock(guard_);
    alive_.insert(++last_);
    return last_;
}

void FakeDriver::note(const std::string& entry) { log_.push_back(entry); }

Handle FakeDriver::new_event() { return make(); }
Handle FakeDriver::new_stream() { return make(); }
Handle FakeDriver::new_stream_ordered_with_default() { return make(); }
Handle FakeDriver::allocate_pinned(std::size_t /*bytes*/) { return make(); }
Handle FakeDriver::allocate(std::size_t /*bytes*/) { return make(); }
Handle FakeDriver::register_memory(Handle address, std::size_t /*bytes*/) { return address; }
void FakeDriver::unregister_memory(Handle /*address*/) {}
std::int64_t FakeDriver::attribute(int number) { return number; }
void FakeDriver::synchronize() {}
void FakeDriver::wait_value(Handle /*stream*/, Handle /*address*/, std::uint32_t /*value*/) {}

void FakeDriver::destroy_event(Handle event) {
    const std::scoped_lock lock(guard_);
    alive_.erase(event);
}
void FakeDriver::destroy_stream(Handle stream) { destroy_event(stream); }
void FakeDriver::free_pinned(Handle address) { destroy_event(address); }
void FakeDriver::free(Handle address) { destroy_event(address); }

void FakeDriver::work(Handle stream, std::int64_t ns) {
    const std::scoped_lock lock(guard_);
    note("kernel " + std::to_string(stream));
    std::int64_t& end = stream_end_[stream];
    end = std::max(end, now()) + ns;
}

void FakeDriver::record(Handle event, Handle stream) {
    const std::scoped_lock lock(guard_);
    note("record " + std::to_string(stream));
    event_time_[event] = std::max(stream_end_[stream], now());
}

bool FakeDriver::is_done(Handle event) {
    const std::scoped_lock lock(guard_);
    return now() >= event_time_.at(event);
}

std::int64_t FakeDriver::elapsed(Handle start, Handle end) {
    const std::scoped_lock lock(guard_);
    return event_time_.at(end) - event_time_.at(start);
}

void FakeDriver::wait_event(Handle stream, Handle event) {
    const std::scoped_lock lock(guard_);
    std::int64_t& end = stream_end_[stream];
    end = std::max(end, event_time_.at(event));
}

void FakeDriver::copy(Handle /*target*/, Handle /*source*/, std::size_t bytes, Handle stream) {
    const std::scoped_lock lock(guard_);
    note("copy " + std::to_string(stream));
    std::int64_t& end = stream_end_[stream];
    end = std::max(end, now()) + static_cast<std::int64_t>(bytes) * kNsPerByte;
}

void FakeDriver::fill(Handle /*target*/, std::uint8_t /*byte*/, std::size_t /*bytes*/, Handle stream) {
    const std::scoped_lock lock(guard_);
    note("fill " + std::to_string(stream));
}

std::size_t FakeDriver::remaining() const {
    const std::scoped_lock lock(guard_);
    return alive_.size();
}

std::vector<std::string> FakeDriver::log() const {
    const std::scoped_lock lock(guard_);
    return log_;
}

FakeLane::FakeLane(FakeDriver* driver, std::int64_t ns, int fails_after)
    : driver_(driver), ns_(ns), fails_after_(fails_after), stream_(driver != nullptr ? driver->new_stream() : 0) {}

FakeLane::~FakeLane() {
    if (driver_ != nullptr) {
        driver_->destroy_stream(stream_);
    }
}

void FakeLane::call() {
    if (calls++ == fails_after_) {
        throw RunnerError("CaseError", "the call failed");
    }
    if (driver_ != nullptr) {
        driver_->work(stream_, ns_);
    }
}

std::vector<TensorView> FakeLane::inputs() const { return {{"x", "float32", {250}, 1, 1000}}; }
std::vector<TensorView> FakeLane::outputs() const { return {{"y", "float32", {500}, 2, 2000}}; }

}  // namespace trtbench
