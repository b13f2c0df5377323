// What the matrix units compute: m16n8k16, and the rounding of their sums.
//
// Products are exact. `products_at_once` of them and the sum so far are aligned to the largest
// exponent among them, cut off `extra_bits` below its 24 bits, added, and the sum is cut off to 24
// bits (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ
// Computer Science 7:e330, 2021). Theirs is a model of hardware that nobody has published.
#pragma once

#include <stdint.h>

namespace planet::cuda::emulator {

float from_half(uint16_t bits);
float from_bfloat(uint16_t bits);
uint16_t to_half(float value);  // to nearest even
uint16_t to_bfloat(float value);

// d [16, 8] += a [16, 16] b [16, 8], row-major. Values of a and b have at most 11 significant bits.
void multiply_accumulate(float* d, const float* a, const float* b, int products_at_once,
                         int extra_bits);

}  // namespace planet::cuda::emulator
