// Closed loops: who calls how often, and what an error of one lane does to the others.
#include <algorithm>

#include "check.h"
#include "errors.h"
#include "fake_driver.h"
#include "host_timing.h"

using trtbench::FakeDriver;
using trtbench::FakeLane;
using trtbench::Lane;
using trtbench::Window;

int main() {
    FakeLane first(nullptr, 0);
    FakeLane second(nullptr, 0);
    const Window window{3, 1'000'000'000, 0, 1'000'000'000, 10};
    const auto stamps = trtbench::closed_loops({&first, &second}, window);
    CHECK(stamps.size() == 2);
    for (const auto& lane : stamps) {
        CHECK(lane.size() == 11);  // the start, and the least number of calls
        CHECK(std::ranges::is_sorted(lane));
    }
    CHECK(first.calls == 13 && second.calls == 13);

    const auto alone = trtbench::closed_loops({&first}, {0, 0, 0, 1'000'000'000, 3});
    CHECK(alone.size() == 1 && alone.front().size() == 4);

    const auto limited = trtbench::closed_loops({&first}, {0, 0, 1'000'000'000'000, 0, 1'000'000});
    CHECK(limited.front().size() == 2);  // the limit of time ends it after a call

    for (const int fails_after : {1, 20}) {  // before the start, and after it
        FakeLane good(nullptr, 0);
        FakeLane bad(nullptr, 0, fails_after);
        bool thrown = false;
        try {
            trtbench::closed_loops({&good, &bad}, {5, 1'000'000'000, 60'000'000'000, 60'000'000'000, 10});
        } catch (const trtbench::RunnerError& error) {
            thrown = std::string(error.what()) == "the call failed";
        }
        CHECK(thrown);
        CHECK(fails_after > 5 || good.calls == 5);
    }

    FakeDriver driver;
    const trtbench::Handle event = driver.new_event();
    {
        FakeLane lane(&driver, 2'000'000);
        const auto samples = trtbench::time_calls(lane, 3, &driver, event);
        CHECK(samples.size() == 3 && lane.calls == 3);
        const std::string stream = std::to_string(lane.stream());
        const std::vector<std::string> one{"kernel " + stream, "record " + stream};  // the mark is no part of a sample
        std::vector<std::string> expected;
        for (int call = 0; call < 3; ++call) {
            expected.insert(expected.end(), one.begin(), one.end());
        }
        CHECK(driver.log() == expected);
    }
    driver.destroy_event(event);
    CHECK(driver.remaining() == 0);
    return 0;
}
