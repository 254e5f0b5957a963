// The host's clock: the one that Python's time.perf_counter_ns reads on Linux, so that times of both can be set
// against each other.
#pragma once

#include <cstdint>
#include <ctime>

namespace trtbench {

using Nanoseconds = std::int64_t;

inline Nanoseconds now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<Nanoseconds>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace trtbench
