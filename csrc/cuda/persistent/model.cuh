// Brings a model into the blocks of a cluster: what a block keeps in shared memory, and what a warp
// keeps in registers.
#pragma once

#include "layers.cuh"

namespace planet::cuda::persistent {

// One octet's half of a packed tile: operand b of this lane, or zeros where the layer has no tile.
__device__ __forceinline__ uint2 packed_operand(const unsigned char* packed,
                                                const LayerLayout& layer, int octet, int tile,
                                                int lane) {
  const int tiles = tiles_per_block(layer, 1);
  const int64_t offset = layer.tiles +
                         (static_cast<int64_t>(octet / 2) * tiles + tile) * kTileBytes + lane * 16 +
                         octet % 2 * 8;
  return *reinterpret_cast<const uint2*>(packed + offset);
}

// Copies the weights of `count` octets from `first` to target [octet][step][lane] of `steps` steps;
// the layer's second operand begins at step `second_at`.
__device__ __forceinline__ void copy_weights(const unsigned char* packed, const LayerLayout& layer,
                                             int first, int count, int steps, int second_at,
                                             unsigned char* target) {
  for (int i = threadIdx.x; i < count * steps * 32; i += kPersistentThreads) {
    const int lane = i % 32, to = i / 32 % steps, octet = first + i / 32 / steps;
    const bool second = to >= second_at;
    const int step = second ? to - second_at : to;
    const bool present = step < layer.steps[second] && octet / 2 < layer.blocks;
    const int tile = (second ? layer.steps[0] : 0) + step;
    reinterpret_cast<uint2*>(target)[i] =
        present ? packed_operand(packed, layer, octet, tile, lane) : make_uint2(0, 0);
  }
}

// Copies a packed vector [block][slot][16] to target [octet][slot][8].
__device__ __forceinline__ void copy_vector(const unsigned char* packed, int source, int slots,
                                            int first, int count, unsigned char* target) {
  const float* values = reinterpret_cast<const float*>(packed + source);
  for (int i = threadIdx.x; i < count * slots * kOctet; i += kPersistentThreads) {
    const int column = i % kOctet, slot = i / kOctet % slots, octet = first + i / kOctet / slots;
    reinterpret_cast<float*>(target)[i] =
        values[(octet / 2 * slots + slot) * kTile + octet % 2 * kOctet + column];
  }
}

// Loads this block's part of the model into shared memory. `steps`: of the wide layers' panels.
__device__ __forceinline__ void load_model(const unsigned char* packed, const PackedLayout& pack,
                                           const PersistentLayout& at, int steps, OctetShare own,
                                           unsigned char* shared) {
  const PackedHeader& header = *reinterpret_cast<const PackedHeader*>(packed);
  if (threadIdx.x < kMaxLayers) {
    reinterpret_cast<float*>(shared + at.unscale)[threadIdx.x] = header.unscale[threadIdx.x];
  }
  const LayerLayout &input = pack.layer[kInputLayer], &gru = pack.layer[kGruLayer],
                    &prior_hidden = pack.layer[kPriorHiddenLayer], &prior = pack.layer[kPriorLayer],
                    &reward0 = pack.layer[kRewardLayer], &reward1 = pack.layer[kRewardLayer + 1];
  const int all = at.octets, input_steps = at.state_steps + at.action_steps;
  copy_vector(packed, gru.bias, 4, own.first, own.count, shared + at.gru_bias);
  copy_vector(packed, input.bias, 1, 0, all, shared + at.input_bias);
  copy_vector(packed, prior_hidden.bias, 1, own.first, own.count, shared + at.prior_hidden_bias);
  copy_vector(packed, prior.bias, 1, 0, at.prior_octets, shared + at.prior_bias);
  copy_vector(packed, reward0.bias, 1, own.first, own.count, shared + at.reward_bias[0]);
  copy_vector(packed, reward1.bias, 1, own.first, own.count, shared + at.reward_bias[1]);
  copy_vector(packed, pack.reward_row[0], 1, own.first, own.count, shared + at.reward_row);
  copy_weights(packed, input, 0, all, input_steps, at.state_steps, shared + at.input_weights);
  copy_weights(packed, prior_hidden, own.first, own.count, steps, steps,
               shared + at.prior_hidden_weights);
  copy_weights(packed, prior, 0, at.prior_octets, steps, steps, shared + at.prior_weights);
  copy_weights(packed, reward0, own.first, own.count, steps + at.state_steps, steps,
               shared + at.reward_weights[0]);
  copy_weights(packed, reward1, own.first, own.count, steps, steps, shared + at.reward_weights[1]);
}

// The GRU's weights of `octet`, this lane's.
template <int Steps>
__device__ __forceinline__ void load_gru(const unsigned char* packed, const LayerLayout& gru,
                                         int octet, GruWeights<Steps>& weights) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int operand = 0; operand < 2; ++operand) {
#pragma unroll
    for (int step = 0; step < Steps; ++step) {
#pragma unroll
      for (int gate = 0; gate < 3; ++gate) {
        const int tile = ((operand == 0 ? 0 : gru.steps[0]) + step) * 3 + gate;
        const uint2 b = step < gru.steps[operand] ? packed_operand(packed, gru, octet, tile, lane)
                                                  : make_uint2(0, 0);
        auto& target = operand == 0 ? weights.input[step][gate] : weights.belief[step][gate];
        target[0] = b.x;
        target[1] = b.y;
      }
    }
  }
}

}  // namespace planet::cuda::persistent
