// Camera images as network inputs: quantised, dithered, centred (official PlaNet code,
// tools/preprocess.py).
#pragma once

#include <stdint.h>

#include "isa.h"
#include "parallel.h"

namespace planet {

// out = floor(x / 2^(8-b)) / 2^b + u / 2^b - 0.5 with b = bit_depth, exact. The dither is
// u = (byte + 0.5) / 256. In row b's seed and at time t, value 16q + 4i + k of an image has the
// bits 8k to 8k + 7 of word i at the counter (q, kStreamDither << 16, t, 0) of philox.h.
//
// observation  [T, B, values] contiguous, read only.     values: of an image, 1 to 2^31 - 1.
// seeds        [B] contiguous, read only.                1 <= T <= 65536, B >= 1, 1 <= b <= 8.
// out          [T, B, values], written; overlaps no input.
// All pointers are needed until the work is done.
struct ImagesProblem {
  int64_t steps, batch, values;
  int bit_depth;
  const uint8_t* observation;
  const int64_t* seeds;
  float* out;
};

namespace cpu {

// By the kernels of one instruction set.
void images(Isa isa, const ImagesProblem& problem, const Parallel& parallel);

}  // namespace cpu

namespace cuda {

// On the current device: pointers are device pointers, stream is a cudaStream_t. Only enqueues.
// Returns null, or what went wrong (a string that lives for ever).
const char* images(const ImagesProblem& problem, void* stream);

}  // namespace cuda
}  // namespace planet
