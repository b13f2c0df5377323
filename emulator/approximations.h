// The special functions of half precision: each is off by the most that the PTX ISA grants it,
// times device().function_error.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "emulator.h"

namespace planet::cuda::emulator {

// The error at x in units of the largest one.
inline double function_error(float x) {
  uint32_t hash = std::bit_cast<uint32_t>(x) * 0x9E3779B1u;
  hash = (hash ^ hash >> 15) * 0x85EBCA77u;
  return hash >> 31 ? device().function_error : -device().function_error;
}

inline float without_subnormals(double x) {
  return std::abs(x) < 0x1p-126 ? std::copysign(0.0f, static_cast<float>(x))
                                : static_cast<float>(x);
}

inline float approximate_exp2(float x) {
  return without_subnormals(std::exp2(static_cast<double>(x)) * (1 + 0x1p-22 * function_error(x)));
}

inline float approximate_log2(float x) {
  const double exact = std::log2(static_cast<double>(without_subnormals(x)));
  const double error = 0x1p-22 * function_error(x);
  return static_cast<float>(x > 0.5f && x < 2.0f ? exact + error : exact * (1 + error));
}

inline float approximate_tanh(float x) {
  const double exact = std::tanh(static_cast<double>(x));
  return static_cast<float>(std::isinf(x) ? exact : exact * (1 + 0x1p-11 * function_error(x)));
}

}  // namespace planet::cuda::emulator
