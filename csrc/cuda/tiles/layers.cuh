// The layers of the model on one block of candidates.
//
// Every layer's outputs are cut into blocks of 16; warp w computes blocks w, w + warps, ... of
// every layer. A thread finishes the sums that its lane holds (fragments.h) and stores them as the
// operand of the next layer. Warps then wait for each other, not for weights: those of the next
// layer are on their way.
#pragma once

#include "../activations.cuh"
#include "block.cuh"

namespace planet::cuda {

// Where this lane reads operand a, step by step.
template <class Block>
struct OperandReader {
  static constexpr int kStepBytes = Block::kRows * kTile * 2;
  static constexpr int kTileBytes = kTile * kTile;  // from one row tile to the next
  // In float32 the registers are too few for a step's fragments: they are read where they are used.
  static constexpr bool kLate = Block::kParts == 2;
  static constexpr int kStepsAhead = kLate ? 0 : 1;

  struct Fragments {
    uint32_t a[kLate ? 1 : Block::kRowTiles][Block::kParts][4];
    const unsigned char* from;
  };

  const unsigned char* at;
  int low;

  __device__ __forceinline__ OperandReader(const Block& b, const Panel& panel)
      : at(panel.base + a_matrix_index(Block::kRows, 0, 0, b.lane) * 2), low(panel.low) {}

  __device__ __forceinline__ void advance(int steps) { at += steps * kStepBytes; }

  __device__ __forceinline__ void read(int step, Fragments& out) const {
    out.from = at + step * kStepBytes;
    if constexpr (!kLate) {
#pragma unroll
      for (int tile = 0; tile < Block::kRowTiles; ++tile) read_tile(out.from, tile, out.a[tile]);
    }
  }

  // Runs body(row tile, fragment) for all row tiles.
  template <class Body>
  __device__ __forceinline__ void for_each_tile(Fragments& fragments, const Body& body) const {
#pragma unroll
    for (int tile = 0; tile < Block::kRowTiles; ++tile) {
      if constexpr (kLate) read_tile(fragments.from, tile, fragments.a[0]);
      body(tile, fragments.a[kLate ? 0 : tile]);
    }
  }

  __device__ __forceinline__ void read_tile(const unsigned char* from, int tile,
                                            uint32_t (&a)[Block::kParts][4]) const {
#pragma unroll
    for (int part = 0; part < Block::kParts; ++part) {
      load_matrix_x4(a[part], from + part * low + tile * kTileBytes);
    }
  }
};

// sums += weights [16, inputs] times panel
template <class Block>
__device__ __forceinline__ void add_products(const Block& b, typename Block::Weights& weights,
                                             const Panel& panel, int steps,
                                             typename Block::Sums& sums) {
  using Products = typename Block::Products;
  const OperandReader<Block> reader(b, panel);
  weights.template run<Block::kParts>(steps, reader, [&](auto& fragments, const uint4* tiles) {
    reader.for_each_tile(fragments, [&](int i, const uint32_t (&a)[Block::kParts][4]) {
      multiply_tile<Products>(sums[i], a, tiles);
    });
  });
}

// add_products for the three gates.
template <class Block>
__device__ __forceinline__ void add_gates(const Block& b, typename Block::Weights& weights,
                                          const Panel& panel, int steps, typename Block::Sums& r,
                                          typename Block::Sums& z, typename Block::Sums& n) {
  using Products = typename Block::Products;
  constexpr int kParts = Block::kParts;
  const OperandReader<Block> reader(b, panel);
  weights.template run<3 * kParts>(steps, reader, [&](auto& fragments, const uint4* tiles) {
    reader.for_each_tile(fragments, [&](int i, const uint32_t (&a)[kParts][4]) {
      multiply_tile<Products>(r[i], a, tiles);
      multiply_tile<Products>(z[i], a, tiles + kParts);
      multiply_tile<Products>(n[i], a, tiles + 2 * kParts);
    });
  });
}

// Runs body(row, row tile, i) for the rows of this lane's fragments; their sums are elements
// i, i + 1, those of two neighbouring outputs.
template <class Block, class Body>
__device__ __forceinline__ void for_each_row(const Block& b, const Body& body) {
#pragma unroll
  for (int tile = 0; tile < Block::kRowTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) body(16 * tile + sum_row(b.lane, i), tile, i);
  }
}

// Leaves a term of the reward: the sum over the four lanes that share a row.
template <class Block>
__device__ __forceinline__ void leave_term(const Block& b, int group, int row, float term) {
  term = __fadd_rn(term, __shfl_xor_sync(kFullWarp, term, 1));
  term = __fadd_rn(term, __shfl_xor_sync(kFullWarp, term, 2));
  if (b.lane % 4 == 0) b.template at<float>(b.shared.partial)[group * Block::kRows + row] = term;
}

// With continuation, leaves a term of the logit likewise: that of inputs n and n + 1 of operand 0.
// Its weights are read here, lest they occupy registers.
template <class Block>
__device__ __forceinline__ void leave_logit_term(const Block& b, int group, int row, int n,
                                                 float value0, float value1) {
  const int logit_row = b.job.layout.logit_row[0];
  if (logit_row == 0) return;
  const float2 factor = *reinterpret_cast<const float2*>(b.floats(logit_row) + n);
  leave_term(b, b.shape.reward_groups + group, row,
             fmaf(value1, factor.y, __fmul_rn(value0, factor.x)));
}

// One block of act(sums + bias): the next layer's operand, or terms of the reward.
template <bool kElu, class Block>
__device__ __forceinline__ void finish_hidden(const Block& b, int layer, int block,
                                              const typename Block::Sums& sums, int out) {
  const float unscale = b.unscale(layer);
  const bool last = layer - kRewardLayer + 2 == b.job.sizes.reward_layers;
  const float* biases = b.floats(b.job.layout.layer[layer].bias);
  const float* reward_row = b.floats(b.job.layout.reward_row[0]);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int n = block * kTile + 8 * half + sum_column(b.lane, 0);
    const float2 bias = *reinterpret_cast<const float2*>(biases + n);
    const float2 factor = last ? *reinterpret_cast<const float2*>(reward_row + n) : float2{};
    for_each_row(b, [&](int row, int tile, int i) {
      const float value0 = activate<kElu>(fmaf(sums[tile][half][i], unscale, bias.x));
      const float value1 = activate<kElu>(fmaf(sums[tile][half][i + 1], unscale, bias.y));
      if (b.out_of_range(value0) || b.out_of_range(value1)) b.flag(row);
      if (last) {
        const float term = fmaf(value1, factor.y, __fmul_rn(value0, factor.x));
        leave_term(b, block * 2 + half, row, term);
        leave_logit_term(b, block * 2 + half, row, n, value0, value1);
      } else {
        store_pair<typename Block::Products>(b.panel(out), Block::kRows, row, n, value0, value1);
      }
    });
  }
}

// One block of h' = n + z (h - n).
template <class Block>
__device__ __forceinline__ void finish_gru(const Block& b, int block,
                                           const typename Block::Sums& r_sums,
                                           const typename Block::Sums& z_sums,
                                           const typename Block::Sums& x_sums,
                                           const typename Block::Sums& h_sums, int out) {
  const float unscale = b.unscale(kGruLayer);
  const float gate_unscale = Block::kHalf ? 0.5f * unscale : unscale;  // see half_belief
  const bool last = b.job.sizes.reward_layers == 1;
  const float* biases = b.floats(b.job.layout.layer[kGruLayer].bias) + block * 4 * kTile;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int column = 8 * half + sum_column(b.lane, 0), n = block * kTile + column;
    float bias[4][2];  // r, z, n of x, n of h
#pragma unroll
    for (int slot = 0; slot < 4; ++slot) {
      const float2 pair = *reinterpret_cast<const float2*>(biases + slot * kTile + column);
      bias[slot][0] = Block::kHalf && slot < 2 ? 0.5f * pair.x : pair.x;
      bias[slot][1] = Block::kHalf && slot < 2 ? 0.5f * pair.y : pair.y;
    }
    for_each_row(b, [&](int row, int tile, int i) {
      float* belief = b.belief_exact(row, n);
      float value[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float of_r = fmaf(r_sums[tile][half][i + j], gate_unscale, bias[0][j]);
        const float of_z = fmaf(z_sums[tile][half][i + j], gate_unscale, bias[1][j]);
        const float from_h = fmaf(h_sums[tile][half][i + j], unscale, bias[3][j]);
        const float from_x = fmaf(x_sums[tile][half][i + j], unscale, bias[2][j]);
        if constexpr (Block::kHalf) {
          value[j] = half_belief(of_r, of_z, from_x, from_h, belief[j]);
        } else {
          float r, z;
          sigmoid_pair(of_r, of_z, r, z);
          const float candidate = tanh_of(fmaf(r, from_h, from_x));
          value[j] = fmaf(z, __fsub_rn(belief[j], candidate), candidate);
        }
        belief[j] = value[j];
      }
      if (b.out_of_range(value[0]) || b.out_of_range(value[1])) b.flag(row);
      store_pair<typename Block::Products>(b.panel(out), Block::kRows, row, n, value[0], value[1]);
      if (last) {
        const float2 factor =
            *reinterpret_cast<const float2*>(b.floats(b.job.layout.reward_row[0]) + n);
        leave_term(b, block * 2 + half, row,
                   fmaf(value[1], factor.y, __fmul_rn(value[0], factor.x)));
        leave_logit_term(b, block * 2 + half, row, n, value[0], value[1]);
      }
    });
  }
}

// Reads belief panel `now`, writes the other one.
template <class Block>
__device__ void gru_layer(const Block& b, typename Block::Weights& weights, int now) {
  const LayerLayout& layer = b.job.layout.layer[kGruLayer];
  for (int block = b.warp; block < layer.blocks; block += b.shape.warps) {
    typename Block::Sums r = {}, z = {}, n_x = {}, n_h = {};
    add_gates(b, weights, b.panel(b.shared.wide[0]), layer.steps[0], r, z, n_x);
    add_gates(b, weights, b.panel(b.shared.belief[now]), layer.steps[1], r, z, n_h);
    finish_gru(b, block, r, z, n_x, n_h, b.shared.belief[now ^ 1]);
  }
}

// One block of s' = mean + stddev(raw) noise: 8 states.
template <class Block>
__device__ __forceinline__ void finish_prior(const Block& b, int block,
                                             const typename Block::Sums& sums, const float* noise) {
  const float unscale = b.unscale(kPriorLayer);
  const bool last = b.job.sizes.reward_layers == 1;
  const float* biases = b.floats(b.job.layout.layer[kPriorLayer].bias);
  const int belief_groups = b.job.layout.layer[kGruLayer].blocks * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int n = block * kTile + 8 * half + sum_column(b.lane, 0), j = n / 2;
    const float2 bias = *reinterpret_cast<const float2*>(biases + n);
    const float factor = last ? b.floats(b.job.layout.reward_row[1])[j] : 0.0f;
    for_each_row(b, [&](int row, int tile, int i) {
      const float mean = fmaf(sums[tile][half][i], unscale, bias.x);
      const float raw = fmaf(sums[tile][half][i + 1], unscale, bias.y);
      const float floor = b.job.stddev_floor;
      const float stddev = Block::kHalf ? half_stddev(raw, floor) : stddev_of(raw, floor);
      const float value = fmaf(stddev, noise[j * b.shared.noise_stride + row], mean);
      b.store_operand(b.shared.state, row, j, value);
      if (last) {
        const int group = belief_groups + block * 2 + half, logit_row = b.job.layout.logit_row[1];
        leave_term(b, group, row, __fmul_rn(value, factor));
        if (logit_row > 0) {
          leave_term(b, b.shape.reward_groups + group, row,
                     __fmul_rn(value, b.floats(logit_row)[j]));
        }
      }
    });
  }
}

// The panel that operand 0 or 1 of a layer reads. `now` is the belief panel of the latest belief.
template <class Block>
__device__ __forceinline__ int operand_panel(const Block& b, int layer, int operand, int now) {
  const bool ssm = b.job.sizes.belief == 0;
  if (layer == kInputLayer || operand == 1) return b.shared.state;
  if (layer == kPriorHiddenLayer) return ssm ? b.shared.wide[0] : b.shared.belief[now];
  if (layer == kPriorLayer) return b.shared.wide[ssm ? 1 : 0];
  return layer == kRewardLayer ? b.shared.belief[now]
                               : b.shared.wide[(layer - kRewardLayer - 1) & 1];
}

// The panel that a hidden layer writes.
template <class Block>
__device__ __forceinline__ int output_panel(const Block& b, int layer) {
  if (layer < kRewardLayer) {
    return b.shared.wide[layer == kPriorHiddenLayer && b.job.sizes.belief == 0 ? 1 : 0];
  }
  return b.shared.wide[(layer - kRewardLayer) & 1];
}

// Every layer but the GRU: products with one or two operands, then the prior's state or an
// activation. They share one copy of the code, which ought to stay in the instruction cache.
template <class Block>
__device__ __forceinline__ void linear_layer(const Block& b, typename Block::Weights& weights,
                                             int layer, int now, int t) {
  const LayerLayout& layout = b.job.layout.layer[layer];
  const bool contiguous = layer == kInputLayer;  // state and actions are one operand
  for (int block = b.warp; block < layout.blocks; block += b.shape.warps) {
    typename Block::Sums sums = {};
#pragma unroll 1
    for (int operand = 0; operand < (contiguous ? 1 : 2); ++operand) {
      const int steps = contiguous ? layout.steps[0] + layout.steps[1] : layout.steps[operand];
      if (steps == 0) continue;
      add_products(b, weights, b.panel(operand_panel(b, layer, operand, now)), steps, sums);
    }
    if (layer == kPriorLayer) {
      finish_prior(b, block, sums, b.template at<const float>(b.shared.noise[t & 1]));
    } else if (b.job.sizes.elu) {
      finish_hidden<true>(b, layer, block, sums, output_panel(b, layer));
    } else {
      finish_hidden<false>(b, layer, block, sums, output_panel(b, layer));
    }
  }
}

}  // namespace planet::cuda
