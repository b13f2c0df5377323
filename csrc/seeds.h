// Seeds derived from seeds, the same as planet.noise in Python: SplitMix64 of Steele, Lea and
// Flood (OOPSLA 2014).
#pragma once

#include <stdint.h>

namespace planet {

// Output number `word` of SplitMix64 started at `seed`. Nested calls derive from several words, as
// in mix_seed(mix_seed(run, episode), step).
static inline int64_t mix_seed(int64_t seed, uint64_t word) {
  uint64_t z = static_cast<uint64_t>(seed) + (word + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<int64_t>(z ^ (z >> 31));
}

// The seed of problem `row` of a batch that is planned with the integer `seed`: what Python's
// row_seeds(seed, B)[row] is, so plans are the same in both.
static inline int64_t row_seed(int64_t seed, uint32_t row) {
  return mix_seed(seed, row);
}

}  // namespace planet
