// Whether the address sanitizer watches, which must be told of stacks. The thread sanitizer cannot:
// CUDA threads are none of its threads. Races are found by order.h.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define PLANET_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define PLANET_ASAN 0
#endif
