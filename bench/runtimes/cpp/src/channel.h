// The protocol: a request is a line of fields that tabs separate, a reply `ok N` or `error N` on a line and then N
// bytes. It has pipes of its own, so that whatever a library prints to stdout or stderr does not disturb it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trtbench {

struct Request {
    std::string verb;
    std::vector<std::string> fields;

    [[nodiscard]] const std::string& text(std::size_t index) const;
    [[nodiscard]] std::int64_t number(std::size_t index) const;
};

class Channel {
  public:
    Channel(int requests, int replies) : requests_(requests), replies_(replies) {}

    // False when the other end is closed. Waits actively for a moment, as a thread that sleeps finds cold caches.
    bool receive(Request& request);

    void succeed(std::string_view payload = {}) const;
    void succeed(const std::vector<std::int64_t>& numbers) const;
    void fail(std::string_view kind, std::string_view message) const;

  private:
    void send(std::string_view status, std::string_view payload) const;

    int requests_;
    int replies_;
    std::string buffer_;
};

}  // namespace trtbench
