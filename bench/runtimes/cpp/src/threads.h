// Threads that prepare, start together, and end together where one of them fails.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

namespace trtbench {

// Runs `prepare` and then `work` in `count` threads, or in the calling one if `count` is 1. All begin `work` together;
// none does if one cannot prepare. `failed` tells the others that one has thrown; the first error is thrown at the end.
void in_threads(std::size_t count, const std::function<void(std::size_t)>& prepare,
                const std::function<void(std::size_t, const std::atomic<bool>&)>& work);

}  // namespace trtbench
