#include "server.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "errors.h"
#include "host_timing.h"
#include "overhead.h"

namespace trtbench {
namespace {

constexpr int kOverheadCalls = 10'001;

std::vector<std::int64_t> numbers_in(const std::string& text) {
    std::vector<std::int64_t> numbers;
    std::istringstream words(text);
    for (std::int64_t number = 0; words >> number;) {
        numbers.push_back(number);
    }
    return numbers;
}

std::string lines_of(const Facts& facts) {
    std::string lines;
    for (const auto& [name, value] : facts) {
        lines += name + "=" + value + "\n";
    }
    return lines;
}

// One line: name, dtype, address, bytes and shape between tabs.
std::string line_of(const TensorView& tensor) {
    std::string line = tensor.name + "\t" + tensor.dtype + "\t" + std::to_string(tensor.address) + "\t" +
                       std::to_string(tensor.bytes) + "\t";
    for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
        line += (axis != 0 ? " " : "") + std::to_string(tensor.shape[axis]);
    }
    return line + "\n";
}

std::string lines_of(const std::vector<TensorView>& tensors) {
    std::string lines;
    for (const TensorView& tensor : tensors) {
        lines += line_of(tensor);
    }
    return lines;
}

// CPU time of all threads, preemptions, and the peak of resident memory in bytes.
std::vector<std::int64_t> usage() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    timespec cpu{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return {static_cast<Nanoseconds>(cpu.tv_sec) * 1'000'000'000 + cpu.tv_nsec, used.ru_nivcsw, used.ru_maxrss * 1024};
}

}  // namespace

Server::Server(Channel& channel) : channel_(channel) {
    add_host_requests();
    add_gpu_requests();
    add_memory_requests();
}

void Server::serve() {
    channel_.succeed(lines_of(build_facts()));
    Request request;
    while (channel_.receive(request)) {
        const auto verb = verbs_.find(request.verb);
        try {
            if (verb == verbs_.end()) {
                throw RunnerError("CaseError", "the C++ runner does not know the request '" + request.verb + "'");
            }
            verb->second(request);
        } catch (const RunnerError& error) {
            channel_.fail(error.kind(), error.what());
        } catch (const std::bad_alloc&) {
            channel_.fail("OutOfMemory", "host memory ran out");
        } catch (const std::exception& error) {
            channel_.fail("CaseError", error.what());
        }
    }
    samplers_.clear();
    lanes_.clear();
    model_.reset();
}

void Server::add_host_requests() {
    const auto set = [this](const char* verb, void (Server::*answer)(const Request&)) {
        verbs_[verb] = [this, answer](const Request& request) { (this->*answer)(request); };
    };
    verbs_["set"] = [this](const Request& request) {
        const std::string& name = request.text(0);
        if (name == "input") {
            settings_.inputs.push_back({request.text(1), request.text(2), numbers_in(request.text(5)),
                                        static_cast<std::size_t>(request.number(3)),
                                        static_cast<std::size_t>(request.number(4))});
        } else if (name == "output") {
            settings_.outputs.push_back(request.text(1));
        } else if (name == "plugin") {
            settings_.plugins.push_back(request.text(1));
        } else if (name == "tensor") {
            settings_.tensors[request.text(1)] = request.text(2);
        } else if (name == "strategy") {
            settings_.strategies[request.text(1)] = request.text(2);
        } else {
            throw RunnerError("CaseError", "the C++ runner has no setting '" + name + "'");
        }
        channel_.succeed();
    };
    set("load", &Server::load);
    set("lanes", &Server::make_lanes);
    set("read", &Server::read);
    set("loop", &Server::loop);
    verbs_["facts"] = [this](const Request&) { channel_.succeed(lines_of(model_->facts())); };
    verbs_["overhead"] = [this](const Request&) {
        channel_.succeed(std::vector<std::int64_t>{loop_overhead(kOverheadCalls)});
    };
    verbs_["usage"] = [this](const Request&) { channel_.succeed(usage()); };
    verbs_["call"] = [this](const Request& request) {
        for (std::int64_t left = request.number(1); left > 0; --left) {
            lane(request).call();
        }
        channel_.succeed();
    };
    verbs_["time"] = [this](const Request& request) {
        if (driver_ != nullptr && event_ == 0) {
            event_ = driver_->new_event();
        }
        channel_.succeed(time_calls(lane(request), static_cast<int>(request.number(1)), driver_.get(), event_));
    };
    verbs_["poison"] = [this](const Request& request) {
        lane(request).poison();
        channel_.succeed();
    };
    verbs_["buffers"] = [this](const Request& request) {
        channel_.succeed(lines_of(request.text(1) == "in" ? lane(request).inputs() : lane(request).outputs()));
    };
}

void Server::load(const Request& request) {
    settings_.artifact = request.text(1);
    settings_.inputs_file = request.text(2);
    settings_.precision = request.text(3);
    settings_.streams = static_cast<int>(request.number(4));
    settings_.on_gpu = request.number(5) != 0;
    settings_.channels_last = request.number(6) != 0;
    settings_.by_name = request.number(7) != 0;
    settings_.optimize_for_inference = request.number(8) != 0;
    settings_.host_code = request.number(9) != 0;
    if (settings_.on_gpu) {
        driver_ = open_cuda();
    }
    model_ = load_model(request.text(0), settings_);
    channel_.succeed();
}

void Server::make_lanes(const Request& request) {
    if (model_ == nullptr) {
        throw RunnerError("CaseError", "a model must be loaded before there are lanes");
    }
    while (lanes_.size() < static_cast<std::size_t>(request.number(0))) {
        lanes_.push_back(model_->new_lane(static_cast<int>(lanes_.size()), driver_.get()));
    }
    Facts streams;
    for (const auto& each : lanes_) {
        streams.emplace_back("stream", std::to_string(each->stream()));
    }
    channel_.succeed(lines_of(streams));
}

void Server::read(const Request& request) {
    const bool of_inputs = request.text(1) == "in";
    const std::vector<HostTensor> tensors = of_inputs ? lane(request).read_inputs() : lane(request).read_outputs();
    std::ofstream file(request.text(2), std::ios::binary | std::ios::trunc);
    std::string lines;
    for (const HostTensor& tensor : tensors) {
        file.write(tensor.values.data(), static_cast<std::streamsize>(tensor.values.size()));
        TensorView whole = tensor.view;
        whole.bytes = tensor.values.size();
        lines += line_of(whole);
    }
    if (!file.flush()) {
        throw RunnerError("CaseError", "the outputs cannot be written to " + request.text(2));
    }
    channel_.succeed(lines);
}

// The number of stamps of each lane, and then all stamps.
void Server::loop(const Request& request) {
    const Window window{static_cast<int>(request.number(1)), request.number(2), request.number(3), request.number(4),
                        static_cast<int>(request.number(5))};
    const auto stamps = closed_loops(first_lanes(static_cast<std::size_t>(request.number(0))), window);
    std::vector<Nanoseconds> numbers;
    for (const auto& each : stamps) {
        numbers.push_back(static_cast<Nanoseconds>(each.size()));
    }
    for (const auto& each : stamps) {
        numbers.insert(numbers.end(), each.begin(), each.end());
    }
    channel_.succeed(numbers);
}

void Server::add_gpu_requests() {
    verbs_["latency"] = [this](const Request& request) { latency(request); };
    verbs_["pipelines"] = [this](const Request& request) { pipelines(request); };
    verbs_["issue"] = [this](const Request& request) {
        driver().record(static_cast<Handle>(request.number(1)), lane(request).stream());
        lane(request).call();
        driver().record(static_cast<Handle>(request.number(2)), lane(request).stream());
        channel_.succeed();
    };
    verbs_["event"] = [this](const Request&) {
        channel_.succeed(std::vector<std::int64_t>{static_cast<std::int64_t>(driver().new_event())});
    };
    const auto act = [this](const char* verb, auto action) {
        verbs_[verb] = [this, action](const Request& request) {
            const auto handle = [&](std::size_t index) { return static_cast<Handle>(request.number(index)); };
            action(driver(), handle);
            channel_.succeed();
        };
    };
    act("destroy", [](Driver& driver, auto handle) { driver.destroy_event(handle(0)); });
    act("record", [](Driver& driver, auto handle) { driver.record(handle(0), handle(1)); });
    act("wait_value", [](Driver& driver, auto handle) {
        driver.wait_value(handle(0), handle(1), static_cast<std::uint32_t>(handle(2)));
    });
    act("wait_event", [](Driver& driver, auto handle) { driver.wait_event(handle(0), handle(1)); });
    act("copy", [](Driver& driver, auto handle) { driver.copy(handle(0), handle(1), handle(2), handle(3)); });
    act("fill", [](Driver& driver, auto handle) {
        driver.fill(handle(0), static_cast<std::uint8_t>(handle(1)), handle(2), handle(3));
    });
    act("destroy_stream", [](Driver& driver, auto handle) { driver.destroy_stream(handle(0)); });
    act("free_pinned", [](Driver& driver, auto handle) { driver.free_pinned(handle(0)); });
    act("free", [](Driver& driver, auto handle) { driver.free(handle(0)); });
    act("synchronize", [](Driver& driver, auto) { driver.synchronize(); });
}

void Server::add_memory_requests() {
    const auto ask = [this](const char* verb, auto question) {
        verbs_[verb] = [this, question](const Request& request) {
            const auto handle = [&](std::size_t index) { return static_cast<Handle>(request.number(index)); };
            channel_.succeed(std::vector<std::int64_t>{static_cast<std::int64_t>(question(driver(), handle))});
        };
    };
    ask("is_done", [](Driver& driver, auto handle) { return driver.is_done(handle(0)) ? 1 : 0; });
    ask("elapsed", [](Driver& driver, auto handle) { return driver.elapsed(handle(0), handle(1)); });
    ask("stream", [](Driver& driver, auto) { return driver.new_stream(); });
    ask("attribute", [](Driver& driver, auto handle) { return driver.attribute(static_cast<int>(handle(0))); });
    ask("allocate_pinned", [](Driver& driver, auto handle) { return driver.allocate_pinned(handle(0)); });
    ask("allocate", [](Driver& driver, auto handle) { return driver.allocate(handle(0)); });
    verbs_["register"] = [this](const Request& request) {
        channel_.succeed(std::vector<std::int64_t>{static_cast<std::int64_t>(register_file(request))});
    };
    verbs_["unregister"] = [this](const Request& request) {
        const auto place = mapped_.find(static_cast<Handle>(request.number(0)));
        if (place != mapped_.end()) {
            driver().unregister_memory(reinterpret_cast<Handle>(place->second.first));
            munmap(place->second.first, place->second.second);
            mapped_.erase(place);
        }
        channel_.succeed();
    };
}

// Maps a page that the worker shares, and has the device see it.
Handle Server::register_file(const Request& request) {
    const auto bytes = static_cast<std::size_t>(request.number(1));
    const int descriptor = open(request.text(0).c_str(), O_RDWR | O_CLOEXEC);
    void* const page =
        descriptor < 0 ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (descriptor >= 0) {
        close(descriptor);
    }
    if (page == MAP_FAILED) {
        throw RunnerError("CaseError", "the C++ runner cannot map " + request.text(0));
    }
    const Handle address = driver().register_memory(reinterpret_cast<Handle>(page), bytes);
    mapped_[address] = {page, bytes};
    return address;
}

void Server::latency(const Request& request) {
    std::unique_ptr<LatencySampler>& sampler = samplers_[request.number(0)];
    const std::int64_t count = request.number(1);
    if (count == 0) {
        sampler.reset();
        channel_.succeed();
        return;
    }
    if (sampler == nullptr) {
        sampler = std::make_unique<LatencySampler>(driver(), lane(request), request.number(2) != 0);
    }
    std::vector<Nanoseconds> samples;
    for (std::int64_t taken = 0; taken < count; ++taken) {
        sampler->take(samples);
    }
    channel_.succeed(samples);
}

void Server::pipelines(const Request& request) {
    const auto count = static_cast<std::size_t>(request.number(0));
    const auto threads = static_cast<std::size_t>(request.number(1));
    const PipelineWindow window{static_cast<int>(request.number(2)), request.number(3), request.number(4),
                                request.number(5) != 0};
    std::vector<std::vector<Lane*>> groups(threads);
    const std::vector<Lane*> lanes = first_lanes(count);
    for (std::size_t index = 0; index < count; ++index) {
        groups[index % threads].push_back(lanes[index]);
    }
    channel_.succeed(trtbench::pipelines(driver(), groups, window));
}

Lane& Server::lane(const Request& request) const {
    return *first_lanes(static_cast<std::size_t>(request.number(0)) + 1).back();
}

std::vector<Lane*> Server::first_lanes(std::size_t count) const {
    if (count > lanes_.size()) {
        throw RunnerError("CaseError", "there is no lane " + std::to_string(count - 1));
    }
    std::vector<Lane*> lanes;
    for (std::size_t index = 0; index < count; ++index) {
        lanes.push_back(lanes_[index].get());
    }
    return lanes;
}

Driver& Server::driver() const {
    if (driver_ == nullptr) {
        throw RunnerError("CaseError", "the C++ runner has no GPU here");
    }
    return *driver_;
}

}  // namespace trtbench
