// Latency and throughput on a device without hardware: parts, order, threads, and nothing left behind.
#include "check.h"
#include "errors.h"
#include "fake_driver.h"
#include "gpu_timing.h"

using trtbench::FakeDriver;
using trtbench::FakeLane;
using trtbench::Nanoseconds;

namespace {

constexpr Nanoseconds kWork = 300'000;
constexpr Nanoseconds kUp = 10'000;    // 1000 bytes
constexpr Nanoseconds kDown = 20'000;  // 2000 bytes

void check_latency() {
    FakeDriver driver;
    {
        FakeLane lane(&driver, kWork);
        trtbench::LatencySampler sampler(driver, lane, true);
        std::vector<Nanoseconds> samples;
        sampler.take(samples);
        CHECK(samples.size() == 4 && lane.calls == 2);  // one made the outputs' memory
        CHECK(samples[0] >= samples[1] + samples[2] + samples[3]);
        CHECK(samples[1] >= kUp && samples[2] >= kWork && samples[3] >= kDown);
    }
    CHECK(driver.remaining() == 0);
}

void check_without_transfers() {
    FakeDriver driver;
    {
        FakeLane lane(&driver, kWork);
        trtbench::LatencySampler sampler(driver, lane, false);
        std::vector<Nanoseconds> samples;
        sampler.take(samples);
        CHECK(samples[2] >= kWork);
    }
    for (const std::string& entry : driver.log()) {
        CHECK(entry.rfind("copy", 0) != 0);
    }
    CHECK(driver.remaining() == 0);
}

void check_pipelines(std::size_t threads, std::size_t depth) {
    FakeDriver driver;
    {
        std::vector<std::unique_ptr<FakeLane>> lanes;
        std::vector<std::vector<trtbench::Lane*>> groups(threads);
        for (std::size_t index = 0; index < threads * depth; ++index) {
            lanes.push_back(std::make_unique<FakeLane>(&driver, kWork));
            groups[index % threads].push_back(lanes.back().get());
        }
        const auto numbers = trtbench::pipelines(driver, groups, {2, 1'000'000'000, 20'000'000, true});
        CHECK(numbers.size() % 5 == 1);
        const std::size_t calls = numbers.size() / 5;
        CHECK(calls >= threads * depth);
        Nanoseconds computed = 0;
        for (std::size_t call = 0; call < calls; ++call) {
            const Nanoseconds* const times = &numbers[1 + 5 * call];
            CHECK(times[0] >= times[2] + times[3] + times[4]);
            CHECK(times[2] >= kUp && times[3] >= kWork && times[4] >= kDown);
            computed += times[3];
        }
        CHECK(numbers[0] > 0);
        if (threads * depth == 1) {
            CHECK(numbers[0] >= computed);
        }
        int made = 0;
        for (const auto& lane : lanes) {
            made += lane->calls;
        }
        // Two of each lane lead in, and do not count.
        CHECK(static_cast<std::size_t>(made) == calls + 2 * threads * depth);
    }
    CHECK(driver.remaining() == 0);
}

void check_failing() {
    FakeDriver driver;
    {
        FakeLane good(&driver, 1000);
        FakeLane bad(&driver, 1000, 7);
        bool thrown = false;
        try {
            trtbench::pipelines(driver, {{&good}, {&bad}}, {2, 1'000'000'000, 60'000'000'000, true});
        } catch (const trtbench::RunnerError& error) {
            thrown = std::string(error.what()) == "the call failed";
        }
        CHECK(thrown);
    }
    CHECK(driver.remaining() == 0);
}

}  // namespace

int main() {
    check_latency();
    check_without_transfers();
    check_pipelines(1, 1);
    check_pipelines(1, 2);
    check_pipelines(3, 2);
    check_failing();
    return 0;
}
