// Samples on a GPU that the host's time is part of: latency with its parts, and throughput with copies overlapped.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "clock.h"
#include "lane.h"

namespace trtbench {

// Pinned copies of one lane's inputs and outputs; without transfers, of nothing.
class Transfer {
  public:
    Transfer(Driver& driver, Lane& lane, bool enabled);
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;
    Transfer(Transfer&&) = delete;
    Transfer& operator=(Transfer&&) = delete;
    ~Transfer();

    struct Copy {
        Handle pinned;
        TensorView tensor;
    };

    void host_to_device(Handle stream) const;
    // Where the latest outputs lie, and pinned memory for each.
    std::vector<Copy> find_outputs(const Lane& lane);
    void device_to_host(const std::vector<Copy>& outputs, Handle stream) const;

  private:
    Handle pin(const std::string& name, std::size_t bytes);

    struct Pinned {
        Handle address = 0;
        std::size_t bytes = 0;
    };

    Driver& driver_;
    bool enabled_;
    std::map<std::string, Pinned> pins_;
    std::vector<Copy> inputs_;
};

// Requests one by one: each sample is four numbers, the whole on the host's clock, and H2D, compute and D2H by events.
class LatencySampler {
  public:
    LatencySampler(Driver& driver, Lane& lane, bool transfers);
    LatencySampler(const LatencySampler&) = delete;
    LatencySampler& operator=(const LatencySampler&) = delete;
    LatencySampler(LatencySampler&&) = delete;
    LatencySampler& operator=(LatencySampler&&) = delete;
    ~LatencySampler();

    void take(std::vector<Nanoseconds>& samples);

  private:
    Driver& driver_;
    Lane& lane_;
    Transfer copies_;
    std::vector<Handle> events_;
};

struct PipelineWindow {
    int lead_calls = 0;
    Nanoseconds lead_ns = 0;
    Nanoseconds window_ns = 0;
    bool transfers = true;
};

// Of each call its total, enqueue, H2D, compute and D2H, in the order of their ends; the first number is the window.
// One host thread for each of `groups`, whose lanes go round: copies of one overlap the call of another.
std::vector<Nanoseconds> pipelines(Driver& driver, const std::vector<std::vector<Lane*>>& groups,
                                   const PipelineWindow& window);

}  // namespace trtbench
