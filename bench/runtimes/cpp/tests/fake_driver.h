// A device without hardware: streams in order of issue, work of known length, and a log of what was asked for.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "driver.h"
#include "lane.h"

namespace trtbench {

class FakeDriver final : public Driver {
  public:
    void use_device() override {}
    Handle new_event() override;
    void destroy_event(Handle event) override;
    void record(Handle event, Handle stream) override;
    bool is_done(Handle event) override;
    std::int64_t elapsed(Handle start, Handle end) override;
    void wait_value(Handle stream, Handle address, std::uint32_t value) override;
    void wait_event(Handle stream, Handle event) override;
    void copy(Handle target, Handle source, std::size_t bytes, Handle stream) override;
    void fill(Handle target, std::uint8_t byte, std::size_t bytes, Handle stream) override;
    Handle new_stream() override;
    Handle new_stream_ordered_with_default() override;
    void destroy_stream(Handle stream) override;
    std::int64_t attribute(int number) override;
    Handle allocate_pinned(std::size_t bytes) override;
    void free_pinned(Handle address) override;
    Handle allocate(std::size_t bytes) override;
    void free(Handle address) override;
    Handle register_memory(Handle address, std::size_t bytes) override;
    void unregister_memory(Handle address) override;
    void synchronize() override;

    // A kernel of this length on a stream.
    void work(Handle stream, std::int64_t ns);
    // What was made and not released: events, streams, memory.
    [[nodiscard]] std::size_t remaining() const;
    [[nodiscard]] std::vector<std::string> log() const;

  private:
    Handle make();
    void note(const std::string& entry);

    mutable std::mutex guard_;
    Handle last_ = 0;
    std::set<Handle> alive_;
    std::map<Handle, std::int64_t> stream_end_;
    std::map<Handle, std::int64_t> event_time_;
    std::vector<std::string> log_;
};

// A lane whose call is a kernel of `ns`; `fails_after` calls it throws.
class FakeLane final : public Lane {
  public:
    FakeLane(FakeDriver* driver, std::int64_t ns, int fails_after = -1);
    FakeLane(const FakeLane&) = delete;
    FakeLane& operator=(const FakeLane&) = delete;
    FakeLane(FakeLane&&) = delete;
    FakeLane& operator=(FakeLane&&) = delete;
    ~FakeLane() override;

    void call() override;
    [[nodiscard]] Handle stream() const override { return stream_; }
    [[nodiscard]] std::vector<TensorView> inputs() const override;
    [[nodiscard]] std::vector<TensorView> outputs() const override;
    std::vector<HostTensor> read_inputs() override { return {}; }
    std::vector<HostTensor> read_outputs() override { return {}; }
    void poison() override {}

    int calls = 0;

  private:
    FakeDriver* driver_;
    std::int64_t ns_;
    int fails_after_;
    Handle stream_ = 0;
};

}  // namespace trtbench
