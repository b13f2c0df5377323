// Filters the newest camera frame: advances latents by the executed action, and samples the
// posterior of the frame. Section 3 of Hafner et al. (ICML 2019), with the model of model.h:
//
//   frame -> images.h -> convolutions -> embedding e      h' = GRU(act(W_in [s, a] + b_in), h)
//   q = act(W_q [h', e] + b_q)    mean, raw = W_s q + b_s    s' = mean + stddev(raw) * normal
//
// Every convolution is without padding and followed by the activation. The embedding is the last
// map, flattened as [channels, h, w]. The dither of a frame and the normals of its sample are those
// of the row's seed (images.h at time 0; philox.h, stream 3, candidate 0, time 0).
#pragma once

#include <stdint.h>

#include "model.h"
#include "parallel.h"
#include "timeline.h"

namespace planet {

constexpr int kMaxEncoderLayers = 16;
constexpr int kMaxChannels = 4096;
constexpr int kMaxImageSize = 1024;

struct EncoderLayer {
  int channels;  // of its outputs, 1 to kMaxChannels
  int kernel;    // pixels per side, 1 to its inputs' side
  int stride;    // pixels, >= 1
};

// An encoder of square frames of three colours.
struct EncoderSizes {
  int image_size;  // pixels per side, 1 to kMaxImageSize
  int bit_depth;   // 1 to 8
  int layers;      // 0 to kMaxEncoderLayers; with 0 the embedding is the image
  EncoderLayer layer[kMaxEncoderLayers];
};

// Pixels per side of layer i's outputs; of the frame for i = -1.
inline int encoder_side(const EncoderSizes& sizes, int i) {
  int side = sizes.image_size;
  for (int k = 0; k <= i; ++k) side = (side - sizes.layer[k].kernel) / sizes.layer[k].stride + 1;
  return side;
}

inline int encoder_channels(const EncoderSizes& sizes, int i) {
  return i < 0 ? 3 : sizes.layer[i].channels;
}

// E, the numbers of the embedding.
inline int64_t embedding_size(const EncoderSizes& sizes) {
  const int side = encoder_side(sizes, sizes.layers - 1);
  return int64_t{1} * side * side * encoder_channels(sizes, sizes.layers - 1);
}

// Row-major float32 as PyTorch holds them; read only, needed during `pack_filter`.
struct FilterWeights {
  const float* encoder_weights[kMaxEncoderLayers];  // [C', C, k, k]
  const float* encoder_biases[kMaxEncoderLayers];   // [C']
  const float* posterior_hidden_weight;             // [M, D+E], belief first
  const float* posterior_hidden_bias;               // [M]
  const float* posterior_weight;                    // [2S, M], mean rows, then raw stddev rows
  const float* posterior_bias;                      // [2S]
};

// One step of B rows. Row-major, contiguous; needed during the call only. Outputs overlap nothing.
struct FilterStep {
  int64_t batch;          // B
  const uint8_t* frames;  // [B, h, w, 3]
  const int64_t* seeds;   // [B], of the step
  const float* action;    // [B, A], executed since the last frame
  const float* belief;    // [B, D], after the last frame
  const float* state;     // [B, S]
  float* next_belief;     // [B, D], written
  float* next_state;      // [B, S], written
};

namespace cpu {

// Packed weights, in the order in which the kernels use them; of one instruction set.
struct FilterModel {
  ModelSizes sizes;  // belief > 0
  EncoderSizes encoder;
  float min_stddev;
  Isa isa;             // supported by this machine
  const void* packed;  // filter_packed_bytes(...) bytes, aligned to 64, written by pack_filter()
};

// Bytes of the packed weights.
int64_t filter_packed_bytes(const ModelSizes& sizes, const EncoderSizes& encoder, Isa isa);

// Writes as many bytes to `packed`, which is aligned to 64 bytes and overlaps nothing. The weights
// are not needed afterwards; of `model` input layer and GRU are read.
void pack_filter(const ModelSizes& sizes, const EncoderSizes& encoder, const ModelWeights& model,
                 const FilterWeights& weights, Isa isa, void* packed);

// Bytes of workspace for filter_step with at most `workers` workers; -1 if that overflows.
int64_t filter_step_workspace(const FilterModel& model, int64_t batch, int workers);

// Filters. Rows are independent of each other, and of the number of workers, bit for bit.
// workspace  filter_step_workspace(...) bytes, contents undefined before and after.
// timeline   where stages are marked, or null.
// Allocates nothing, throws nothing.
void filter_step(const FilterModel& model, const FilterStep& step, void* workspace,
                 const Parallel& parallel, Timeline* timeline);

}  // namespace cpu
}  // namespace planet
