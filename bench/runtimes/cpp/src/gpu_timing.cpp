#include "gpu_timing.h"

#include <algorithm>
#include <array>
#include <memory>

#include "threads.h"

namespace trtbench {
namespace {

// A lane's first calls may set things up: TorchScript compiles in the second.
constexpr int kSettingUp = 2;

struct Call {
    Nanoseconds end;
    std::array<Nanoseconds, 5> times;
};

// One lane in a loop: the start and end of its H2D, compute and D2H.
class Slot {
  public:
    Slot(Driver& driver, Lane& lane, bool transfers) : driver_(driver), lane_(lane), copies_(driver, lane, transfers) {
        std::ranges::generate(events_, [&] { return driver.new_event(); });
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    Slot(Slot&&) = delete;
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
        for (const Handle event : events_) {
            driver_.destroy_event(event);
        }
    }

    void issue(Handle up, Handle down) {
        driver_.record(events_[0], up);
        copies_.host_to_device(up);
        driver_.record(events_[1], up);
        driver_.wait_event(lane_.stream(), events_[1]);
        driver_.record(events_[2], lane_.stream());
        const Nanoseconds start = now();
        lane_.call();
        enqueue_ = now() - start;
        driver_.record(events_[3], lane_.stream());
        const std::vector<Transfer::Copy> outputs = copies_.find_outputs(lane_);
        driver_.wait_event(down, events_[3]);
        driver_.record(events_[4], down);
        copies_.device_to_host(outputs, down);
        driver_.record(events_[5], down);
        busy_ = true;
    }

    // Waits for the D2H and keeps the call's times; `first` is what its end is set against.
    void collect(Handle first, std::vector<Call>& calls) {
        if (!busy_) {
            return;
        }
        driver_.wait(events_[5]);
        calls.push_back({driver_.elapsed(first, events_[5]),
                         {driver_.elapsed(events_[0], events_[5]), enqueue_, driver_.elapsed(events_[0], events_[1]),
                          driver_.elapsed(events_[2], events_[3]), driver_.elapsed(events_[4], events_[5])}});
        busy_ = false;
    }

  private:
    Driver& driver_;
    Lane& lane_;
    Transfer copies_;
    std::array<Handle, 6> events_{};
    Nanoseconds enqueue_ = 0;
    bool busy_ = false;
};

// The slots of one thread, and its streams for copies.
class Pipeline {
  public:
    Pipeline(Driver& driver, const std::vector<Lane*>& lanes, bool transfers) : driver_(driver) {
        up_ = driver.new_stream();
        down_ = driver.new_stream();
        for (Lane* lane : lanes) {
            slots_.push_back(std::make_unique<Slot>(driver, *lane, transfers));
        }
    }
    Pipeline(const Pipeline&) = delete;
    Pipeline& operator=(const Pipeline&) = delete;
    Pipeline(Pipeline&&) = delete;
    Pipeline& operator=(Pipeline&&) = delete;
    ~Pipeline() {
        driver_.synchronize();
        slots_.clear();
        driver_.destroy_stream(up_);
        driver_.destroy_stream(down_);
    }

    void lead_in(const PipelineWindow& window, Handle first) {
        for (const auto& slot : slots_) {
            const Nanoseconds start = now();
            for (int call = 0; call < kSettingUp || (call < window.lead_calls && now() - start < window.lead_ns);
                 ++call) {
                slot->issue(up_, down_);
                slot->collect(first, calls);
            }
        }
        calls.clear();
    }

    void run(const PipelineWindow& window, Handle first, const std::atomic<bool>& failed) {
        const Nanoseconds deadline = now() + window.window_ns;
        while (now() < deadline && !failed) {
            for (const auto& slot : slots_) {
                slot->collect(first, calls);
                slot->issue(up_, down_);
            }
        }
        for (const auto& slot : slots_) {
            slot->collect(first, calls);
        }
    }

    std::vector<Call> calls;

  private:
    Driver& driver_;
    Handle up_ = 0;
    Handle down_ = 0;
    std::vector<std::unique_ptr<Slot>> slots_;
};

// A stream with an event recorded on it, ahead of everything in a window.
class Mark {
  public:
    explicit Mark(Driver& driver) : driver_(driver), stream_(driver.new_stream()), event_(driver.new_event()) { set(); }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;
    Mark(Mark&&) = delete;
    Mark& operator=(Mark&&) = delete;
    ~Mark() {
        driver_.destroy_event(event_);
        driver_.destroy_stream(stream_);
    }

    void set() {
        driver_.record(event_, stream_);
        driver_.wait(event_);
    }
    [[nodiscard]] Handle event() const { return event_; }

  private:
    Driver& driver_;
    Handle stream_;
    Handle event_;
};

}  // namespace

Transfer::Transfer(Driver& driver, Lane& lane, bool enabled) : driver_(driver), enabled_(enabled) {
    if (!enabled) {
        return;
    }
    for (const TensorView& input : lane.inputs()) {
        inputs_.push_back({pin("in " + input.name, input.bytes), input});
        driver.copy(inputs_.back().pinned, input.address, input.bytes, lane.stream());  // real data, never zeros
    }
    driver.synchronize();
}

Transfer::~Transfer() {
    for (const auto& [name, pinned] : pins_) {
        driver_.free_pinned(pinned.address);
    }
}

Handle Transfer::pin(const std::string& name, std::size_t bytes) {
    Pinned& pinned = pins_[name];
    if (pinned.address == 0 || pinned.bytes < bytes) {
        if (pinned.address != 0) {
            driver_.free_pinned(pinned.address);
        }
        pinned.address = 0;
        pinned = {driver_.allocate_pinned(bytes), bytes};
    }
    return pinned.address;
}

void Transfer::host_to_device(Handle stream) const {
    for (const Copy& input : inputs_) {
        driver_.copy(input.tensor.address, input.pinned, input.tensor.bytes, stream);
    }
}

std::vector<Transfer::Copy> Transfer::find_outputs(const Lane& lane) {
    std::vector<Copy> outputs;
    if (enabled_) {
        for (TensorView& output : lane.outputs()) {
            const Handle pinned = pin("out " + output.name, output.bytes);
            outputs.push_back({pinned, std::move(output)});
        }
    }
    return outputs;
}

void Transfer::device_to_host(const std::vector<Copy>& outputs, Handle stream) const {
    for (const Copy& output : outputs) {
        driver_.copy(output.pinned, output.tensor.address, output.tensor.bytes, stream);
    }
}

LatencySampler::LatencySampler(Driver& driver, Lane& lane, bool transfers)
    : driver_(driver), lane_(lane), copies_(driver, lane, transfers), events_(5) {
    std::ranges::generate(events_, [&] { return driver.new_event(); });
    std::vector<Nanoseconds> first;
    take(first);  // the outputs' pinned memory is allocated here
}

LatencySampler::~LatencySampler() {
    driver_.synchronize();
    for (const Handle event : events_) {
        driver_.destroy_event(event);
    }
}

void LatencySampler::take(std::vector<Nanoseconds>& samples) {
    const Handle stream = lane_.stream();
    const Nanoseconds start = now();
    driver_.record(events_[0], stream);
    copies_.host_to_device(stream);
    driver_.record(events_[1], stream);
    lane_.call();
    driver_.record(events_[2], stream);
    const std::vector<Transfer::Copy> outputs = copies_.find_outputs(lane_);
    driver_.record(events_[3], stream);
    copies_.device_to_host(outputs, stream);
    driver_.record(events_[4], stream);
    driver_.wait(events_[4]);
    samples.push_back(now() - start);
    samples.push_back(driver_.elapsed(events_[0], events_[1]));
    samples.push_back(driver_.elapsed(events_[1], events_[2]));
    samples.push_back(driver_.elapsed(events_[3], events_[4]));
}

std::vector<Nanoseconds> pipelines(Driver& driver, const std::vector<std::vector<Lane*>>& groups,
                                   const PipelineWindow& window) {
    Mark mark(driver);
    std::vector<std::unique_ptr<Pipeline>> loops;
    loops.reserve(groups.size());
    for (const auto& group : groups) {
        loops.push_back(std::make_unique<Pipeline>(driver, group, window.transfers));
    }
    std::atomic<bool> marked{false};
    std::atomic<bool> claimed{false};
    in_threads(
        groups.size(),
        [&](std::size_t thread) {
            driver.use_device();
            loops[thread]->lead_in(window, mark.event());
        },
        [&](std::size_t thread, const std::atomic<bool>& failed) {
            if (!claimed.exchange(true)) {  // one of them, once all have led in
                mark.set();
                marked = true;
            }
            while (!marked && !failed) {
            }
            loops[thread]->run(window, mark.event(), failed);
        });
    std::vector<Call> calls;
    for (const auto& loop : loops) {
        calls.insert(calls.end(), loop->calls.begin(), loop->calls.end());
    }
    std::ranges::stable_sort(calls, {}, &Call::end);
    std::vector<Nanoseconds> numbers{calls.empty() ? 0 : calls.back().end};
    for (const Call& call : calls) {
        numbers.insert(numbers.end(), call.times.begin(), call.times.end());
    }
    return numbers;
}

}  // namespace trtbench
