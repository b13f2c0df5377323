// The activations in float32, to a few units in the last place of max(|result|, 1). NaN goes
// through every function unless it says otherwise.
#pragma once

#include "intrinsics.cuh"

namespace planet::cuda {

__device__ __forceinline__ float sigmoid(float x) {
  return fast_reciprocal(1.0f + fast_exp(-x));
}

// Two sigmoids with one reciprocal: special functions are the slowest instructions here. Below -40
// the result is that of -40; neither argument is NaN.
__device__ __forceinline__ void sigmoid_pair(float x, float y, float& sigmoid_x, float& sigmoid_y) {
  const float a = 1.0f + fast_exp(-fmaxf(x, -40.0f)), b = 1.0f + fast_exp(-fmaxf(y, -40.0f));
  const float inverse = fast_reciprocal(a * b);
  sigmoid_x = b * inverse;
  sigmoid_y = a * inverse;
}

__device__ __forceinline__ float tanh_of(float x) {
  return fmaf(-2.0f, fast_reciprocal(1.0f + fast_exp(2.0f * x)), 1.0f);
}

__device__ __forceinline__ float softplus(float x) {
  return (x < 0.0f ? 0.0f : x) + log1pf(fast_exp(-fabsf(x)));
}

// floor: stddev_floor(...).
__device__ __forceinline__ float stddev_of(float raw, float floor) {
  return maximum(__fadd_rn(softplus(raw), fmaxf(floor, 0.0f)), -floor);
}

__device__ __forceinline__ float relu(float x) {
  return x < 0.0f ? 0.0f : x;
}

// x, or exp(x) - 1 below 0 with small relative error near 0: 2^n 2^f - 1 with whole n, and for
// |f| <= 1/2 (2^f - 1) / f by a minimax polynomial (relative error 1.1e-8 before rounding).
__device__ __forceinline__ float elu(float x) {
  const float y = fmaxf(x, -87.0f) * 1.44269504f;
  const float shifted = y + 12582912.0f;  // 1.5 * 2^23: the low bits are n
  const float f = y - (shifted - 12582912.0f);
  float p = 1.5403512e-4f;
  p = fmaf(p, f, 1.3390735e-3f);
  p = fmaf(p, f, 9.6182376e-3f);
  p = fmaf(p, f, 5.5503573e-2f);
  p = fmaf(p, f, 2.4022649e-1f);
  p = fmaf(p, f, 6.9314718e-1f);
  const float power = __uint_as_float((__float_as_uint(shifted) << 23) + 0x3F800000u);
  const float below = fmaf(power, p * f, power - 1.0f);
  return x <= 0.0f ? below : x;
}

template <bool kElu>
__device__ __forceinline__ float activate(float x) {
  return kElu ? elu(x) : relu(x);
}

}  // namespace planet::cuda
