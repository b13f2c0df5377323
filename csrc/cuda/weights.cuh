// How elites weigh in a fit.
#pragma once

#include "intrinsics.cuh"

namespace planet::cuda {

// Weight of an elite with return `value` beside the best one, whose weight is 1 (csrc/refit.h).
__device__ __forceinline__ double elite_weight(float value, float best, double temperature) {
  if (temperature == 0.0 || isnan(best)) return 1.0;
  if (isnan(value)) return 0.0;
  if (value == best) return 1.0;  // infinite ones, too
  return exp((static_cast<double>(value) - static_cast<double>(best)) / temperature);
}

}  // namespace planet::cuda
