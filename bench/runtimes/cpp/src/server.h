// Answers the worker's requests until it closes the pipe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "channel.h"
#include "gpu_timing.h"
#include "lane.h"

namespace trtbench {

class Server {
  public:
    explicit Server(Channel& channel);
    void serve();

  private:
    void add_host_requests();
    void add_gpu_requests();
    void add_memory_requests();
    void load(const Request& request);
    void make_lanes(const Request& request);
    void read(const Request& request);
    void loop(const Request& request);
    void latency(const Request& request);
    void pipelines(const Request& request);
    Handle register_file(const Request& request);

    [[nodiscard]] Lane& lane(const Request& request) const;
    [[nodiscard]] std::vector<Lane*> first_lanes(std::size_t count) const;
    [[nodiscard]] Driver& driver() const;

    Channel& channel_;
    std::map<std::string, std::function<void(const Request&)>> verbs_;
    Settings settings_;
    std::unique_ptr<Driver> driver_;
    std::unique_ptr<Model> model_;
    std::vector<std::unique_ptr<Lane>> lanes_;
    std::map<std::int64_t, std::unique_ptr<LatencySampler>> samplers_;
    std::map<Handle, std::pair<void*, std::size_t>> mapped_;
    Handle event_ = 0;
};

}  // namespace trtbench
