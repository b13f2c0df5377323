// The matrix units' inner loop, for numbers that float arithmetic handles.
#pragma once

namespace planet::cuda::emulator {

// Adds `count` (8 or 16) products of finite a [count] and b [count, 8] to out [8]. False, and
// nothing is changed, if an exponent is outside what float arithmetic holds exactly.
bool add_row_portable(float* out, const float* a, const float* b, int count, int extra_bits);
bool add_row_avx2(float* out, const float* a, const float* b, int count, int extra_bits);

}  // namespace planet::cuda::emulator
