// Between the portable files of the CPU backend and the kernels compiled per instruction set.
//
// A kernels_*.cpp is compiled for instructions that the machine may lack, so nothing of it may be
// shared with other files: it includes no header of the C++ library, everything in it is in an
// anonymous namespace or static, and it exports one symbol, its KernelSet.
//
// A panel is up to max_vectors * lanes candidates of one problem, one candidate per SIMD lane;
// activations are stored as [feature][panel]. A candidate's arithmetic does not depend on its lane
// or on the width of its panel.
#pragma once

#include <stdint.h>

#include "../model.h"
#include "../normals.h"
#include "../rollout.h"
#include "encoder_job.h"
#include "filter_job.h"
#include "network_kernels.h"

namespace planet::cpu {

// Offsets into the packed weights, in words of four bytes. A layer is cut into tiles of `rows`
// features, the last one padded with zeros. A tile is [bias[rows]] and one part per operand:
// exact      weight[inputs][rows]
// quantised  step[rows], sum of zero points[rows] (int32), weight[ceil(inputs / 4)][rows][4] (int8)
// rounded    weight[ceil(inputs / 2)][rows][2] (bf16)
// An operand without inputs has no part. A tile of the GRU is r [bias, belief, x], z likewise, the
// hidden part of n [bias, belief] and the input part of n [bias, x]. The action's part is exact
// where others are int8. The last reward layer, one row [bias, weight[inputs]] without padding, or
// two with continuation, is always exact.
struct PackedLayout {
  int rows;
  int64_t input, gru, prior_hidden, prior_mean, prior_raw;
  int64_t reward[kMaxRewardLayers];
  int64_t total;
  // Sums that all candidates of a problem share when they share the start:
  // input [tile][rows], then GRU [tile][r, z, n][rows]; biases included.
  int64_t prefix_gru, prefix_total;
};

struct KernelSet;
PackedLayout packed_layout(const ModelSizes& sizes, const KernelSet& kernels);

// Of bf16, two inputs lie together.
static inline constexpr int pairs_of(int inputs) {
  return (inputs + 1) / 2;
}

// How a set's products read their weights.
enum class Packing {
  kExact,  // float32
  kQuads,  // int8, four inputs together (quantised.inc)
  kPairs,  // bf16, two inputs together (pairs.inc)
  kTiles,  // bf16 in tiles (tile_layers.inc)
};

// One call of rollout_returns, or one iteration of cem_plan.
struct RolloutJob {
  ModelSizes sizes;
  PackedLayout layout;
  const float* packed;
  float stddev_floor;  // as the function of this name gives it
  int64_t horizon, batch, candidates;
  Latent latent;
  const float* prefix;          // [B, prefix_total]; null when every candidate has its own start
  const float* actions;         // [H, B, J, A], or null: they are drawn as follows
  const float* mean;            // [H, B, A], without actions
  const float* stddev;          // [H, B, A], without actions
  const float* low;             // [B, A], without actions
  const float* high;            // [B, A], without actions
  const int64_t* action_seeds;  // [B], without actions
  uint32_t action_iteration;    // without actions
  StateNoise noise;
  double discount;
  float* returns;  // [B, J], written
};

struct KernelSet {
  const char* name;
  Packing packing;
  int lanes;        // candidates per vector, a multiple of 4
  int max_vectors;  // vectors per panel
  int rows;         // features per tile
  // Floats of scratch for one worker; scratch is aligned to 64 bytes.
  int64_t (*scratch)(const ModelSizes& sizes);
  // Fills the shared prefix [prefix_total] of one problem; null where there are none.
  void (*prefix)(const RolloutJob& job, int64_t problem, float* prefix, float* scratch);
  // out [dims][lanes] = the normals of candidates [first, first + lanes); first is a multiple of 4.
  // Up to 4 * lanes floats behind `out` are overwritten, too.
  void (*normals)(int64_t seed, const NormalsCounter& counter, int64_t first, int dims, float* out);
  // out [values] = one image, of the seed at that time (images.h).
  void (*image)(const uint8_t* observation, int64_t seed, uint32_t time, int64_t values,
                int bit_depth, float* out);
  // Rolls out candidates [first, first + vectors * lanes) of one problem; first is a multiple of 4.
  void (*panel)(const RolloutJob& job, int64_t problem, int64_t first, int vectors, float* scratch);
  // out [H, B, total, A]: the actions that `panel` would draw of candidates begin to end - 1, as
  // far as they lie in [first, first + lanes), with normals that are mixed along time (cem.h) where
  // `mix` is not null. first is a multiple of 4. normals: (H A + 4) lanes floats of workspace,
  // aligned to 64 bytes.
  void (*draw)(const RolloutJob& job, int64_t problem, int64_t first, int64_t begin, int64_t end,
               const float* mix, int64_t total, float* normals, float* out);
  // out [count][A]: the actions at time t of some candidates, drawn again as `panel` draws them.
  void (*redraw)(const RolloutJob& job, int64_t problem, int64_t t, const int64_t* candidates,
                 int64_t count, float* out);
  FilterKernels filter;  // empty in sets of quantised kernels, as are the next two
  EncoderKernels encoder;
  NetworkKernels network;
};

extern const KernelSet kernels_baseline;
extern const KernelSet kernels_avx2;
extern const KernelSet kernels_avx512;
extern const KernelSet kernels_avx512vnni;  // int8
extern const KernelSet kernels_avx512bf16;  // bf16
extern const KernelSet kernels_amx;         // bf16
extern const KernelSet kernels_amx_double;  // bf16, for tests

// precision: one that the instruction set has.
const KernelSet& kernel_set(Isa isa, Precision precision);

inline const KernelSet& kernel_set(const Model& model) {
  return kernel_set(model.isa, model.precision);
}

}  // namespace planet::cpu
