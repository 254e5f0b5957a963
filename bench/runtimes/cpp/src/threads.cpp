#include "threads.h"

#include <barrier>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace trtbench {

void in_threads(std::size_t count, const std::function<void(std::size_t)>& prepare,
                const std::function<void(std::size_t, const std::atomic<bool>&)>& work) {
    std::atomic<bool> failed{false};
    std::exception_ptr first;
    std::mutex guard;
    std::barrier together(static_cast<std::ptrdiff_t>(count));

    const auto attempt = [&](const std::function<void()>& step) {
        try {
            step();
        } catch (...) {
            const std::scoped_lock lock(guard);
            if (first == nullptr) {
                first = std::current_exception();
            }
            failed = true;
        }
    };
    const auto drive = [&](std::size_t thread) {
        attempt([&] { prepare(thread); });
        together.arrive_and_wait();
        if (!failed) {
            attempt([&] { work(thread, failed); });
        }
    };
    if (count == 1) {
        drive(0);
    } else {
        std::vector<std::thread> threads;
        threads.reserve(count);
        for (std::size_t thread = 0; thread < count; ++thread) {
            threads.emplace_back(drive, thread);
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
    }
    if (first != nullptr) {
        std::rethrow_exception(first);
    }
}

}  // namespace trtbench
