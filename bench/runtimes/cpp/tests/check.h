// A check that says where it fails, and ends the test.
#pragma once

#include <cstdlib>
#include <iostream>

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            std::cerr << __FILE__ << ':' << __LINE__ << ": " << #condition << " is false\n"; \
            std::exit(1);                                                                    \
        }                                                                                    \
    } while (false)
