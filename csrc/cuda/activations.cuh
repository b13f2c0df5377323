// The activations: in float32, to a few units in the last place of max(|result|, 1), and for half
// precision. NaN goes through every function unless it says otherwise.
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
__device__ __forceinline__ float stddev_of_softplus(float softplus, float floor) {
  return maximum(__fadd_rn(softplus, fmaxf(floor, 0.0f)), -floor);
}

__device__ __forceinline__ float stddev_of(float raw, float floor) {
  return stddev_of_softplus(softplus(raw), floor);
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

// ---- for half precision ----
// Its operands keep 11 bits or 8, and so do these. An element of the GRU is 3 special functions, by
// exponentials it is 6 (or 5), and they take longer than all else that is done with it.

// sigmoid(2 x), to 2^-12.
__device__ __forceinline__ float half_sigmoid_of_twice(float x) {
  return fmaf(0.5f, approximate_tanh(x), 0.5f);
}

// h' = n + z (h - n) of the GRU with n = tanh(from_x + r from_h), from h and the halves of what r
// and z are the sigmoids of: a factor that costs nothing where sums are scaled anyway.
__device__ __forceinline__ float half_belief(float half_r, float half_z, float from_x, float from_h,
                                             float belief) {
  const float r = half_sigmoid_of_twice(half_r), z = half_sigmoid_of_twice(half_z);
  const float n = approximate_tanh(fmaf(r, from_h, from_x));
  return fmaf(z, __fsub_rn(belief, n), n);
}

// To 2^-21: three errors add up. The exponential is at most 1: nothing overflows.
__device__ __forceinline__ float half_softplus(float x) {
  const float power = approximate_exp2(-1.44269504f * fabsf(x));
  return fmaf(0.693147181f, approximate_log2(1.0f + power), fmaxf(x, 0.0f));
}

__device__ __forceinline__ float half_stddev(float raw, float floor) {
  return stddev_of_softplus(half_softplus(raw), floor);
}

template <bool kElu>
__device__ __forceinline__ float activate(float x) {
  return kElu ? elu(x) : relu(x);
}

}  // namespace planet::cuda
