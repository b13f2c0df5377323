// Coloured noise as a matrix: normals that are multiplied by it along time have its spectrum.
#pragma once

#include <stdint.h>

#include <vector>

namespace planet {

// The variance of coloured normals.
enum class Numerics : int {
  kUnit = 0,  // 1, as of white ones
  kIcem = 1,  // that of the published iCEM, 1.16 for 12 steps of colour 0.25
};

constexpr int64_t kMaxColoured = 1024;  // the longest horizon: the matrix is made in H x H steps

// The symmetric root [H, H] of the covariance of 1/f^colour noise, as Timmer and Koenig draw it
// (A&A 300, 1995): frequency k/H has the power k^-colour up to k = H/2, and frequency 0 that of
// k = 1, so that mix[t, u] = sum over k of sqrt(power[k]) cos(2 pi k (t - u) / H) / H, with powers
// whose mean is the variance. kIcem leaves frequency 0 out where it normalises, and counts half of
// H/2; it needs two steps. Computed in double precision, in the order of Python's colour_mix, and
// rounded once.
std::vector<float> colour_mix(int64_t horizon, double colour, Numerics numerics);

}  // namespace planet
