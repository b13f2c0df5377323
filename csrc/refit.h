// Fits the action distribution to the K best candidates (Algorithm 2 of Hafner et al., ICML 2019).
#pragma once

#include <stdint.h>

#include "parallel.h"

namespace planet {

enum class Spread : int {
  kPopulation = 0,    // sqrt(mean((a - mu)^2) + epsilon)
  kMeanAbsolute = 1,  // sum |a - mu| / (K - 1); needs K >= 2
};

// Elites go by descending return; NaN ranks last, ties go to the lower index, -0.0 equals 0.0. Mean
// and spread are summed in float64 over the elites in rank order and rounded once. With a
// temperature elites weigh as softmax((R - max R) / temperature): a NaN return nothing, infinite
// ones all the weight between them, and all alike where every return is NaN.
//
// actions  [H, B, J, A] contiguous, read only.        1 <= K <= J < 2^32, every size >= 1.
// returns  [B, J] contiguous, read only.
// mean     [H, B, A], written.                        stddev  [H, B, A], written.
// elites   [B, K], written: candidate indices by rank.
// best     [B], written: the return of elites[:, 0].
// Outputs overlap neither inputs nor each other. All pointers are needed until the work is done.
struct RefitProblem {
  int64_t horizon, batch, candidates, topk, action_size;
  const float* actions;
  const float* returns;
  Spread spread;
  double epsilon;
  double temperature;  // 0: all elites weigh alike; > 0 with kPopulation only
  float* mean;
  float* stddev;
  int64_t* elites;
  float* best;
};

namespace cpu {

// keys: workspace, B * J values, contents undefined before and after.
void refit(const RefitProblem& problem, uint64_t* keys, const Parallel& parallel);

}  // namespace cpu

namespace cuda {

// Bytes of workspace for `refit`.
int64_t refit_workspace(int64_t batch, int64_t topk);

// Refits likewise on the current device: all pointers are device pointers, workspace is aligned to
// 8 bytes, stream is a cudaStream_t. Only enqueues; does not synchronise or allocate. Returns null,
// or what went wrong (a string that lives for ever).
const char* refit(const RefitProblem& problem, void* workspace, void* stream);

}  // namespace cuda
}  // namespace planet
