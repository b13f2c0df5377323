// Scores candidates by imagined rollouts: the sum of predicted rewards, as far as the model goes
// on.
#pragma once

#include <stdint.h>

#include "model.h"
#include "parallel.h"

namespace planet {

// Where the rollouts of a problem start. Row-major, contiguous, read only.
struct Latent {
  const float* belief;  // [B, D], or [B, J, D]; may be null without a belief (D = 0)
  const float* state;   // [B, S], or [B, J, S]
  bool per_candidate;   // the second form
};

// The standard normals of the prior's samples. At most one pointer is set; with none the rollout
// follows the prior's mean.
struct StateNoise {
  const float* values;   // [H, B, J, S], or null
  const int64_t* seeds;  // [B]: counter-based normals of these seeds (philox.h), or null
  uint32_t iteration;    // < 65536; used with seeds
  uint32_t particle;     // used with seeds
};

namespace cpu {

// Floats of workspace for rollout_returns with at most `workers` workers.
int64_t rollout_workspace(const Model& model, int64_t batch, int workers);

// returns[b, j] = sum over t of discount^t * going_t * reward_t, where reward t is read after h, s
// have advanced with actions[t]. going_t = 1; with a logit of going on (has_continuation) it is the
// product over k < t of sigmoid(logit_k), logit k being read beside reward k: the first reward
// counts in full. Problems and candidates are independent of each other, bit for bit.
//
// latent     must hold B problems; start of the rollouts.
// horizon    1 <= H < 65536.
// actions    [H, B, J, A] contiguous, read only; used as they are.
// returns    [B, J] contiguous, written.
// workspace  rollout_workspace(...) floats, contents undefined before and after; overlaps nothing.
// All pointers are needed during the call only. Allocates nothing, throws nothing.
void rollout_returns(const Model& model, const Latent& latent, int64_t horizon, int64_t batch,
                     int64_t candidates, const float* actions, const StateNoise& noise,
                     double discount, float* returns, float* workspace, const Parallel& parallel);

}  // namespace cpu

namespace cuda {

// Bytes of workspace for rollout_returns on the current device.
int64_t rollout_workspace(const Model& model, int64_t batch, int64_t candidates);

// Scores likewise on the current device: all pointers are device pointers and needed until the work
// is done; workspace is aligned to 256 bytes, contents undefined; stream is a cudaStream_t. Only
// enqueues (a CUDA graph can capture it); does not allocate or synchronise. Returns null, or what
// went wrong (a string that lives for ever).
const char* rollout_returns(const Model& model, const Latent& latent, int64_t horizon,
                            int64_t batch, int64_t candidates, const float* actions,
                            const StateNoise& noise, double discount, float* returns,
                            void* workspace, void* stream);

}  // namespace cuda
}  // namespace planet
