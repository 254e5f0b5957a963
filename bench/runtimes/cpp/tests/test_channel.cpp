// Requests and replies, over real pipes.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>

#include "channel.h"
#include "check.h"
#include "errors.h"

namespace {

struct Pipe {
    std::array<int, 2> ends{};
    Pipe() { CHECK(pipe(ends.data()) == 0); }
};

void put(int descriptor, const std::string& text) {
    CHECK(write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

std::string got(int descriptor, std::size_t bytes) {
    std::string text(bytes, '\0');
    CHECK(read(descriptor, text.data(), bytes) == static_cast<ssize_t>(bytes));
    return text;
}

}  // namespace

int main() {
    const Pipe requests;
    const Pipe replies;
    trtbench::Channel channel(requests.ends[0], replies.ends[1]);
    trtbench::Request request;

    put(requests.ends[1], "call\t3\t-17\nusage\nread\ta b\t\n");  // several at once
    CHECK(channel.receive(request));
    CHECK(request.verb == "call" && request.number(0) == 3 && request.number(1) == -17);
    CHECK(channel.receive(request));
    CHECK(request.verb == "usage" && request.fields.empty());
    CHECK(channel.receive(request));
    CHECK(request.fields.size() == 2 && request.text(0) == "a b" && request.text(1).empty());

    for (const std::size_t place : {std::size_t{0}, std::size_t{5}}) {  // no number, and no field
        bool refused = false;
        try {
            (void)request.number(place);
        } catch (const trtbench::RunnerError& error) {
            refused = error.kind() == "CaseError";
        }
        CHECK(refused);
    }

    channel.succeed("abc");
    CHECK(got(replies.ends[0], 8) == "ok 3\nabc");
    channel.succeed(std::vector<std::int64_t>{258});
    CHECK(got(replies.ends[0], 13) == std::string("ok 8\n\x02\x01\0\0\0\0\0\0", 13));
    channel.fail("OutOfMemory", "no room");
    CHECK(got(replies.ends[0], 28) == "error 19\nOutOfMemory\nno room");

    put(requests.ends[1], "unfinished");
    close(requests.ends[1]);
    CHECK(!channel.receive(request));
    return 0;
}
