// Counter-based standard normals on the device; words, uniforms and counters as in philox.h.
#pragma once

#include "../philox.h"
#include "intrinsics.cuh"

namespace planet::cuda {

// Box and Muller (1958) on one pair of words: the cosine's normal, the sine's normal. Arguments of
// log and sincospi are exact: u = (2m + 1) 2^-25 has 25 bits, so beyond one half ln u is taken from
// 1 - u, and the angle 2 u pi from 2u - 2, which have 24.
__device__ __forceinline__ void normal_pair(uint32_t word0, uint32_t word1, float& cosine,
                                            float& sine) {
  const int32_t m0 = static_cast<int32_t>(word0 >> 8), m1 = static_cast<int32_t>(word1 >> 8);
  constexpr int32_t kHalf = 1 << 23, kOne = 1 << 24;
  const float log_u = m0 < kHalf ? logf(static_cast<float>(2 * m0 + 1) * 0x1p-25f)
                                 : log1pf(static_cast<float>(2 * (kOne - m0) - 1) * -0x1p-25f);
  const float turns = static_cast<float>(m1 < kHalf ? 2 * m1 + 1 : 2 * (m1 - kOne) + 1) * 0x1p-24f;
  const float radius = sqrtf(-2.0f * log_u);
  float s, c;
  sincospif(turns, &s, &c);
  cosine = radius * c;
  sine = radius * s;
}

// The four normals of candidates 4 `quad` .. 4 `quad` + 3.
__device__ __forceinline__ void normal_quad(int64_t seed, uint32_t quad, uint32_t dim,
                                            uint32_t stream, uint32_t time, uint32_t iteration,
                                            uint32_t particle, float (&out)[4]) {
  uint32_t words[4] = {quad, dim | stream << 16, time | iteration << 16, particle};
  philox4x32(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  normal_pair(words[0], words[1], out[0], out[1]);
  normal_pair(words[2], words[3], out[2], out[3]);
}

// One candidate's normal, the same bits.
__device__ __forceinline__ float normal_of(int64_t seed, uint32_t candidate, uint32_t dim,
                                           uint32_t stream, uint32_t time, uint32_t iteration,
                                           uint32_t particle) {
  uint32_t words[4] = {candidate >> 2, dim | stream << 16, time | iteration << 16, particle};
  philox4x32(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  const bool second = candidate & 2;
  float cosine, sine;
  normal_pair(second ? words[2] : words[0], second ? words[3] : words[1], cosine, sine);
  return candidate & 1 ? sine : cosine;
}

}  // namespace planet::cuda
