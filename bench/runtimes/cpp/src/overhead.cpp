#include "overhead.h"

#include <algorithm>
#include <vector>

#include "host_timing.h"

namespace trtbench {
namespace {

class Nothing final : public Lane {
  public:
    void call() override {}
    [[nodiscard]] Handle stream() const override { return 0; }
    [[nodiscard]] std::vector<TensorView> inputs() const override { return {}; }
    [[nodiscard]] std::vector<TensorView> outputs() const override { return {}; }
    std::vector<HostTensor> read_inputs() override { return {}; }
    std::vector<HostTensor> read_outputs() override { return {}; }
    void poison() override {}
};

}  // namespace

Nanoseconds loop_overhead(int calls) {
    Nothing lane;
    std::vector<Nanoseconds> samples = time_calls(lane, calls, nullptr, 0);
    const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
    std::ranges::nth_element(samples, middle);
    return *middle;
}

}  // namespace trtbench
