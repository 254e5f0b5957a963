// What the loop itself takes.
#pragma once

#include "clock.h"

namespace trtbench {

// Nanoseconds that one sample of a call that does nothing reads: the median of `calls`, which every sample contains.
Nanoseconds loop_overhead(int calls);

}  // namespace trtbench
