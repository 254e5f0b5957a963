// Prints what one sample of a call that does nothing reads, in ns: the median of many, which is what the loop adds.
#include <algorithm>
#include <iostream>

#include "host_timing.h"

namespace {

class Nothing final : public trtbench::Lane {
  public:
    void call() override {}
    [[nodiscard]] trtbench::Handle stream() const override { return 0; }
    [[nodiscard]] std::vector<trtbench::TensorView> inputs() const override { return {}; }
    [[nodiscard]] std::vector<trtbench::TensorView> outputs() const override { return {}; }
    std::vector<trtbench::HostTensor> read_inputs() override { return {}; }
    std::vector<trtbench::HostTensor> read_outputs() override { return {}; }
    void poison() override {}
};

}  // namespace

int main() {
    Nothing lane;
    std::vector<trtbench::Nanoseconds> samples = trtbench::time_calls(lane, 100'001, nullptr, 0);
    std::ranges::nth_element(samples, samples.begin() + 50'000);
    std::cout << samples[50'000] << '\n';
    return 0;
}
