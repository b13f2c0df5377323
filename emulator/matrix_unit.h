// The products of the matrix units: m16n8k16, and the rounding of their sums.
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

enum class MatrixType { kHalf, kBfloat };

// d [16, 8] += a [16, 16] b [16, 8]: d row-major; pairs of neighbouring k in one word, the lower
// in the lower half: a [row][k / 2], b [column][k / 2].
void multiply_accumulate(MatrixType type, float* d, const uint32_t* a, const uint32_t* b,
                         int products_at_once, int extra_bits);

}  // namespace planet::cuda::emulator
