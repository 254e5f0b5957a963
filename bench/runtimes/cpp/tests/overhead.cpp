// Prints what one sample of a call that does nothing reads, in ns: the median of many, which is what the loop adds.
#include "overhead.h"

#include <iostream>

int main() {
    std::cout << trtbench::loop_overhead(100'001) << '\n';
    return 0;
}
