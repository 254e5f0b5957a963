#include "host_timing.h"

#include <atomic>

#include "threads.h"

namespace trtbench {
namespace {

constexpr std::size_t kReserved = 65'536;

void lead_in(Lane& lane, const Window& window) {
    const Nanoseconds start = now();
    for (int call = 0; call < window.lead_calls; ++call) {
        lane.call();
        if (now() - start >= window.lead_ns) {
            break;
        }
    }
}

std::vector<Nanoseconds> closed_loop(Lane& lane, const Window& window, const std::atomic<bool>& failed) {
    std::vector<Nanoseconds> stamps;
    stamps.reserve(kReserved);
    stamps.push_back(now());
    const Nanoseconds full = stamps.front() + window.window_ns;
    const Nanoseconds last = stamps.front() + window.limit_ns;
    while (!failed.load(std::memory_order_relaxed)) {
        lane.call();
        const Nanoseconds end = now();
        stamps.push_back(end);
        if ((end >= full && stamps.size() > static_cast<std::size_t>(window.least)) || end >= last) {
            break;
        }
    }
    return stamps;
}

}  // namespace

std::vector<Nanoseconds> time_calls(Lane& lane, int count, Driver* driver, Handle event) {
    std::vector<Nanoseconds> samples;
    samples.reserve(static_cast<std::size_t>(count));
    for (int call = 0; call < count; ++call) {
        const Nanoseconds start = now();
        lane.call();
        samples.push_back(now() - start);
        if (driver != nullptr && lane.stream() != 0) {
            driver->record(event, lane.stream());
            driver->wait(event);
        }
    }
    return samples;
}

std::vector<std::vector<Nanoseconds>> closed_loops(const std::vector<Lane*>& lanes, const Window& window) {
    std::vector<std::vector<Nanoseconds>> stamps(lanes.size());
    in_threads(
        lanes.size(), [&](std::size_t thread) { lead_in(*lanes[thread], window); },
        [&](std::size_t thread, const std::atomic<bool>& failed) {
            stamps[thread] = closed_loop(*lanes[thread], window, failed);
        });
    return stamps;
}

}  // namespace trtbench
