// trtbench's runner: takes requests on one pipe, and answers on another, whose numbers are its arguments.
#include <signal.h>
#include <sys/prctl.h>

#include <cstdlib>
#include <exception>
#include <iostream>

#include "channel.h"
#include "server.h"

int main(int count, char** arguments) {
    if (count != 3) {
        std::cerr << "usage: trtbench-runner REQUESTS REPLIES (descriptors; trtbench starts it for executor: cpp)\n";
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // it ends with the worker that it belongs to
    trtbench::Channel channel(std::atoi(arguments[1]), std::atoi(arguments[2]));
    try {
        trtbench::Server server(channel);
        server.serve();
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
    std::cout.flush();
    std::_Exit(0);  // without the exit handlers of libraries, which may hang
}
