// The inputs of a rollout's step: start, actions and noise of one candidate or of four consecutive
// ones.
#pragma once

#include "drawn_actions.cuh"
#include "rollout_job.h"

namespace planet::cuda {

// Row of [B, J, ...], or of [B, ...] if all candidates start from the same latent.
__device__ __forceinline__ int64_t start_row(const RolloutArguments& arguments, int64_t problem,
                                             int64_t candidate) {
  return arguments.latent.per_candidate ? problem * arguments.candidates + candidate : problem;
}

// Index of the first feature of a candidate in [H, B, J, features].
__device__ __forceinline__ int64_t step_index(const RolloutArguments& arguments, int time,
                                              int64_t problem, int64_t candidate, int features) {
  return ((time * arguments.batch + problem) * arguments.candidates + candidate) * features;
}

// Drawn actions of candidates 4 `quad` .. 4 `quad` + 3 in one of `size` dimensions.
__device__ __forceinline__ void draw_action_quad(const RolloutArguments& arguments, int size,
                                                 int time, int64_t problem, uint32_t quad, int dim,
                                                 float (&out)[4]) {
  const ActionSource& source = arguments.actions;
  const int64_t bound = problem * size + dim;
  const int64_t moment = (time * arguments.batch + problem) * size + dim;
  action_normals(source.seeds[problem], quad, static_cast<uint32_t>(dim),
                 static_cast<uint32_t>(time), source.iteration, out);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[i] = drawn_action(source.mean[moment], source.stddev[moment], out[i], source.low[bound],
                          source.high[bound]);
  }
}

// Drawn noise of candidates 4 `quad` .. 4 `quad` + 3 in one dimension.
__device__ __forceinline__ void draw_noise_quad(const RolloutArguments& arguments, int time,
                                                int64_t problem, uint32_t quad, int dim,
                                                float (&out)[4]) {
  const StateNoise& noise = arguments.noise;
  normal_quad(noise.seeds[problem], quad, static_cast<uint32_t>(dim), kStreamState,
              static_cast<uint32_t>(time), noise.iteration, noise.particle, out);
}

// Picks the value of `candidate` from a drawn quad, which holds candidates 4q .. 4q + 3.
__device__ __forceinline__ float of_quad(const float (&values)[4], int64_t candidate) {
  const int i = static_cast<int>(candidate & 3);
  return i < 2 ? (i == 0 ? values[0] : values[1]) : (i == 2 ? values[2] : values[3]);
}

}  // namespace planet::cuda
