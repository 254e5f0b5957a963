#include "channel.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "clock.h"
#include "errors.h"

namespace trtbench {
namespace {

constexpr Nanoseconds kActive = 200'000;

bool is_readable(int descriptor) {
    pollfd state{descriptor, POLLIN, 0};
    return poll(&state, 1, 0) > 0;
}

void write_all(int descriptor, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = write(descriptor, bytes.data(), bytes.size());
        if (count > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(count));
        } else if (errno != EINTR) {
            std::_Exit(1);  // nobody listens any more
        }
    }
}

std::vector<std::string> split(std::string_view line) {
    std::vector<std::string> parts;
    while (true) {
        const std::size_t tab = line.find('\t');
        parts.emplace_back(line.substr(0, tab));
        if (tab == std::string_view::npos) {
            return parts;
        }
        line.remove_prefix(tab + 1);
    }
}

}  // namespace

const std::string& Request::text(std::size_t index) const {
    if (index >= fields.size()) {
        throw RunnerError("CaseError", "the request '" + verb + "' has too few fields");
    }
    return fields[index];
}

std::int64_t Request::number(std::size_t index) const {
    const std::string& field = text(index);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size()) {
        throw RunnerError("CaseError", "the request '" + verb + "' has '" + field + "' in place of a number");
    }
    return value;
}

bool Channel::receive(Request& request) {
    std::size_t newline = buffer_.find('\n');
    const Nanoseconds limit = now() + kActive;
    while (newline == std::string::npos && !is_readable(requests_) && now() < limit) {
    }
    while (newline == std::string::npos) {
        std::array<char, 4096> chunk{};
        const ssize_t count = read(requests_, chunk.data(), chunk.size());
        if (count == 0 || (count < 0 && errno != EINTR)) {
            return false;
        }
        buffer_.append(chunk.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
        newline = buffer_.find('\n');
    }
    std::vector<std::string> parts = split(std::string_view(buffer_).substr(0, newline));
    request.verb = parts.front();
    parts.erase(parts.begin());
    request.fields = std::move(parts);
    buffer_.erase(0, newline + 1);
    return true;
}

void Channel::succeed(std::string_view payload) const { send("ok", payload); }

void Channel::succeed(const std::vector<std::int64_t>& numbers) const {
    send("ok", {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(std::int64_t)});
}

void Channel::fail(std::string_view kind, std::string_view message) const {
    send("error", std::string(kind) + "\n" + std::string(message));
}

void Channel::send(std::string_view status, std::string_view payload) const {
    write_all(replies_, std::string(status) + " " + std::to_string(payload.size()) + "\n");
    write_all(replies_, payload);
}

}  // namespace trtbench
