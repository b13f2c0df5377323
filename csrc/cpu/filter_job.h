// Between filter.cpp and the kernels of the filter; part of panel.h, whose rules hold here.
#pragma once

#include <stdint.h>

#include "../filter.h"

namespace planet::cpu {

// One call of filter_chunk, of filter_chunk_backward or of filter_step; what the others have is
// null.
struct FilterJob {
  FilterSizes sizes;
  float stddev_floor;         // as the function of this name gives it (model.h)
  const float* start_belief;  // [B, D] before the first step; null: zeros
  const float* start_state;   // [B, S], likewise
  FilterParameters<const float> parameters;
  const float* share;
  const float* action;
  const float* noise;
  FilterOutputs<float> out;
  FilterOutputs<const float> upstream;
  float* share_gradient;
  FilterParameters<float> gradients;
  float* kept;
  float* packed;   // the parameters in the order of the kernels; aligned to 64 bytes
  float* changes;  // gradients of what is kept; aligned to 64 bytes
};

// Lanes are features; the rows of the batch are cut into groups.
struct FilterKernels {
  int rows;  // of a group
  // Floats of the arrays of these names.
  int64_t (*kept)(const FilterSizes& sizes);
  int64_t (*packed)(const FilterSizes& sizes);
  // Fills `packed`.
  void (*pack)(const FilterJob& job);
  // Filters `count` groups from group `first` on.
  void (*forward)(const FilterJob& job, int64_t first, int64_t count);
  // The same of a single step, in two halves: belief, then posterior and sample.
  void (*step_belief)(const FilterJob& job, int64_t first, int64_t count);
  void (*step_state)(const FilterJob& job, int64_t first, int64_t count);
  // Likewise for the backward pass, with a `packed` of its own.
  int64_t (*packed_back)(const FilterSizes& sizes);
  int64_t (*changes)(const FilterSizes& sizes);
  void (*pack_back)(const FilterJob& job);
  void (*backward)(const FilterJob& job, int64_t first, int64_t count);
  // After `backward` of all groups: the parameters' gradients in so many pieces, each of which
  // needs so many floats of scratch, aligned to 64 bytes.
  int64_t (*sums)(const FilterSizes& sizes);
  int64_t (*sum_scratch)(const FilterSizes& sizes);
  void (*sum)(const FilterJob& job, int64_t item, float* scratch);
};

}  // namespace planet::cpu
