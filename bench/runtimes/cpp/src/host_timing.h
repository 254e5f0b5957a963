// Samples on the host's clock: calls one by one, and closed loops with a thread for each lane.
#pragma once

#include <vector>

#include "clock.h"
#include "lane.h"

namespace trtbench {

// Nanoseconds of each of `count` calls. Where the lane has a stream, each call finds it empty.
std::vector<Nanoseconds> time_calls(Lane& lane, int count, Driver* driver, Handle event);

struct Window {
    int lead_calls = 0;
    Nanoseconds lead_ns = 0;
    Nanoseconds window_ns = 0;
    Nanoseconds limit_ns = 0;
    int least = 0;
};

// Of each lane the time of its start and of each call's end. One lane alone runs in the calling thread. What a lane
// throws ends the others, and is thrown once all have ended.
std::vector<std::vector<Nanoseconds>> closed_loops(const std::vector<Lane*>& lanes, const Window& window);

}  // namespace trtbench
