// The frozen parameters of a transition and reward model, and their packed form.
//
// RSSM prior of Hafner et al. (ICML 2019), Section 3, with the GRU of torch.nn.GRUCell:
//   x = act(W_in [s, a] + b_in)                         prior hidden p = act(W_p h' + b_p)
//   r, z = sigmoid(W_i x + b_i + W_h h + b_h)           mean, raw = W_s p + b_s
//   n = tanh(W_in x + b_in + r (W_hn h + b_hn))         s' = mean + stddev(raw) * eps
//   h' = n + z (h - n)                                  reward = MLP([h', s']), linear at the end
// with stddev(raw) = softplus(raw) + min, or max(softplus(raw), min).
// The last reward layer may have a second row: MLP([h', s']) = reward, logit of going on.
// Without a belief (D = 0) it is the paper's stochastic ablation, SSM: no GRU, p = act(W_p x + b_p)
// and reward = MLP(s').
#pragma once

#include <stdint.h>

#include "isa.h"
#include "precision.h"

namespace planet {

constexpr int kMaxSize = 512;
constexpr int kMaxRewardLayers = 4;

// Every size is 1 to kMaxSize, but belief may be 0 (SSM). reward_widths[0 .. reward_layers) are the
// rows of the reward matrices; the last one is 1, or 2: reward, then the logit of going on.
struct ModelSizes {
  int belief, state, action, hidden;  // D, S, A, M
  int reward_layers;
  int reward_widths[kMaxRewardLayers];
  bool elu;           // activation: ELU (alpha 1), otherwise ReLU
  bool clamp_stddev;  // stddev = max(softplus(raw), min_stddev), otherwise their sum
};

// Whether an imagined step may be the last: the last reward layer has a second row.
static inline constexpr bool has_continuation(const ModelSizes& sizes) {
  return sizes.reward_widths[sizes.reward_layers - 1] == 2;
}

// min_stddev, with a minus where it clamps. Kernels carry this one number, and both forms are one
// expression, in which NaN has to pass the maxima:
//   stddev = max(softplus(raw) + max(floor, 0), -floor)
inline float stddev_floor(const ModelSizes& sizes, float min_stddev) {
  return sizes.clamp_stddev ? -min_stddev : min_stddev;
}

// Row-major float32 matrices and vectors as PyTorch holds them; read only, needed during `pack`.
// With D = 0 the four gru_* are not read and may be null.
struct ModelWeights {
  const float* input_weight;                      // [M, S+A], state first
  const float* input_bias;                        // [M]
  const float* gru_weight_ih;                     // [3D, M], gates r, z, n
  const float* gru_weight_hh;                     // [3D, D]
  const float* gru_bias_ih;                       // [3D]
  const float* gru_bias_hh;                       // [3D]
  const float* prior_hidden_weight;               // [M, D]; with D = 0 [M, M]
  const float* prior_hidden_bias;                 // [M]
  const float* prior_weight;                      // [2S, M], mean rows, then raw stddev rows
  const float* prior_bias;                        // [2S]
  const float* reward_weights[kMaxRewardLayers];  // [N0, D+S], [N1, N0], ...; belief first
  const float* reward_biases[kMaxRewardLayers];   // [N0], [N1], ...
};

namespace cpu {

// Packed weights, in the order in which the kernels use them. The layout belongs to one instruction
// set and precision.
struct Model {
  ModelSizes sizes;
  float min_stddev;
  Isa isa;              // supported by this machine
  Precision precision;  // one that the set has
  const void* packed;   // packed_bytes(...) of these three, aligned to 64, written by pack()
};

// Bytes of the packed weights.
int64_t packed_bytes(const ModelSizes& sizes, Isa isa, Precision precision);

// Writes packed_bytes(...) bytes to `packed`, which is aligned to 64 bytes and overlaps nothing.
// The weights are not needed afterwards.
void pack(const ModelSizes& sizes, const ModelWeights& weights, Isa isa, Precision precision,
          void* packed);

}  // namespace cpu

namespace cuda {

// Packed weights of CUDA devices; kFloat32, kFloat16 or kBfloat16. One layout serves all devices.
struct Model {
  ModelSizes sizes;
  float min_stddev;
  Precision precision;
  const void* packed;  // packed_bytes(...) of the current device, aligned to 256, by pack()
};

// Bytes of the packed weights.
int64_t packed_bytes(const ModelSizes& sizes, Precision precision);

// Enqueues the packing on `stream` (a cudaStream_t); all pointers are of the current device and
// needed until the work is done. Returns null, or what went wrong (a string that lives for ever).
const char* pack(const ModelSizes& sizes, const ModelWeights& weights, Precision precision,
                 void* packed, void* stream);

}  // namespace cuda
}  // namespace planet
