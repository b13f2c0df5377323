// CUDA's arithmetic on one thread's values. Approximate functions have the errors of the device's
// method, not its bits.
#pragma once

#include <math.h>
#include <stdint.h>

#include <bit>

inline float __uint_as_float(unsigned int bits) {
  return std::bit_cast<float>(bits);
}
inline unsigned int __float_as_uint(float x) {
  return std::bit_cast<unsigned int>(x);
}

inline int __popc(unsigned int x) {
  return std::popcount(x);
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}

inline int min(int a, int b) {
  return a < b ? a : b;
}
inline int max(int a, int b) {
  return a > b ? a : b;
}
inline unsigned int max(unsigned int a, unsigned int b) {
  return a > b ? a : b;
}

inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline double __dmul_rn(double a, double b) {
  return a * b;
}

// ex2.approx of the rounded product: the error grows with |x|.
inline float __expf(float x) {
  const double power = exp2(static_cast<double>(x * 1.44269504f));
  return power < 0x1p-126 ? 0.0f : static_cast<float>(power);
}

// sin(pi x) and cos(pi x); the reduction to [-1/4, 1/4] is exact.
inline void sincospif(float x, float* sine, float* cosine) {
  constexpr double kPi = 3.14159265358979323846;
  const double quarters = rint(2.0 * static_cast<double>(x));
  const double rest = (static_cast<double>(x) - 0.5 * quarters) * kPi;
  const double s = sin(rest), c = cos(rest);
  switch (static_cast<long long>(fmod(quarters, 4.0)) & 3) {
    case 0:
      *sine = static_cast<float>(s), *cosine = static_cast<float>(c);
      break;
    case 1:
      *sine = static_cast<float>(c), *cosine = static_cast<float>(-s);
      break;
    case 2:
      *sine = static_cast<float>(-s), *cosine = static_cast<float>(-c);
      break;
    default:
      *sine = static_cast<float>(-c), *cosine = static_cast<float>(s);
  }
}
