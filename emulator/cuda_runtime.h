// Stands in for CUDA's header when kernels are compiled for the CPU; see emulator.h.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

#include "device_functions.h"
#include "device_math.h"
#include "emulator.h"
#include "runtime_api.h"
#include "vector_types.h"
