// The steps of a rollout by a cluster, and how its parts become returns.
#pragma once

#include "../exact.cuh"
#include "rollout.cuh"

namespace planet::cuda::persistent {

// A thread keeps this in registers between two phases of a rollout.
struct Progress {
  GruSums sums;        // of the step to come
  uint32_t exchanges;  // phases of the barriers that are complete: one per step
};

// And this in shared memory, where it uses it alone.
__device__ __forceinline__ float4* belief_of(const PersistentJob& p, const Seat& seat) {
  return reinterpret_cast<float4*>(seat.shared + p.at.beliefs) + seat.warp * 64 + seat.lane;
}
__device__ __forceinline__ float4& noise_of(const PersistentJob& p, const Seat& seat, int half) {
  float4* noise = reinterpret_cast<float4*>(seat.shared + p.at.noise);
  return noise[(2 * seat.pair + half) * 32 + seat.lane];
}
__device__ __forceinline__ float4& returns_of(const PersistentJob& p, const Seat& seat) {
  return reinterpret_cast<float4*>(seat.shared + p.at.returns)[seat.pair * 32 + seat.lane];
}

__device__ __forceinline__ void clear_sums(GruSums& sums) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    sums.r[i / 4][i % 4] = sums.z[i / 4][i % 4] = 0.0f;
    sums.n_input[i / 4][i % 4] = sums.n_belief[i / 4][i % 4] = 0.0f;
  }
}

// Panels that are used in turn.
__device__ __forceinline__ int in_turn(const int (&panels)[2], int64_t t) {
  return t % 2 == 0 ? panels[0] : panels[1];
}

// The row of the latent's arrays where the candidate of `row` starts; rows beyond the last
// candidate repeat it.
__device__ __forceinline__ int64_t start_of(const Tile& tile, int row) {
  const int64_t candidate = int64_t{tile.first} + candidate_of_row(kClusterRows, row);
  const int64_t last = tile.arguments.candidates - 1;
  return start_row(tile.arguments, tile.problem, candidate < last ? candidate : last);
}

// Fills `octets` octets of a panel with operand values [rows, size] of global memory, zeros behind.
template <class Type>
__device__ __forceinline__ void fill_panel(const Tile& tile, const Seat& seat, const float* values,
                                           int size, int octets, unsigned char* panel,
                                           uint32_t* flags) {
#pragma unroll 1
  for (int i = seat.thread(); i < octets * kClusterRows * kOctet; i += kPersistentThreads) {
    const int row = i / kOctet % kClusterRows, feature = i / kOctet / kClusterRows * kOctet + i % 8;
    const float value = feature < size ? values[start_of(tile, row) * size + feature] : 0.0f;
    store_one<Type>(panel, row, feature, value, flags);
  }
}

// The exact path's shared memory, in the place of the panels.
struct ExactScratch {
  RolloutJob job;  // with the arguments of this iteration
  uint32_t list[kExactCandidates];
  alignas(16) float memory[1];  // exact_shared_bytes(...)
};

// Everything that a rollout finds before its first step.
template <class Type, int Steps>
__device__ __forceinline__ void begin_rollout(const PersistentJob& p, const Tile& tile,
                                              const Seat& seat) {
  uint32_t* flags = flags_of(p, seat);
  if (seat.thread() < kClusterRows) flags[seat.thread()] = 0;
  __syncthreads();
  constexpr int kOctets = 2 * Steps;
  const Latent& latent = tile.arguments.latent;
  fill_panel<Type>(tile, seat, latent.belief, p.job.sizes.belief, kOctets,
                   seat.shared + p.at.belief[0], flags);
  fill_panel<Type>(tile, seat, latent.state, p.job.sizes.state, 2 * p.at.state_steps,
                   seat.shared + p.at.state, flags);
  // Features behind the last octet of a layer, and behind the last action, are zeros.
  const int tail = (kOctets - p.at.octets) * kOctetPanelBytes / 4;
#pragma unroll 1
  for (int i = seat.thread(); i < tail; i += kPersistentThreads) {
    const int at = p.at.octets * kOctetPanelBytes + 4 * i;
    for (const int panel :
         {p.at.input, p.at.prior, p.at.belief[1], p.at.reward[0], p.at.reward[1]}) {
      *reinterpret_cast<uint32_t*>(seat.shared + panel + at) = 0;
    }
  }
  const int behind = 2 * p.at.action_steps * kOctet - p.job.sizes.action;
#pragma unroll 1
  for (int i = seat.thread(); i < behind * kClusterRows; i += kPersistentThreads) {
    store_one<Type>(seat.shared + p.at.action, i % kClusterRows,
                    p.job.sizes.action + i / kClusterRows, 0.0f, flags);
  }
  draw_actions<Type>(p, tile, 0, seat.thread(), kPersistentThreads, seat);
  bulk_copy_fence();  // what the others will write here comes behind these writes
  __syncthreads();
  if (seat.warp >= kPairWarps) returns_of(p, seat) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (!seat.has_octet) return;
#pragma unroll 1
  for (int tile_of_rows = 0; tile_of_rows < 2; ++tile_of_rows) {
    float values[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t row = start_of(tile, row_of(seat.lane, tile_of_rows, i / 2));
      const int unit = seat.octet * kOctet + 2 * (seat.lane % 4) + i % 2;
      values[i] = unit < p.job.sizes.belief ? latent.belief[row * p.job.sizes.belief + unit] : 0.0f;
    }
    belief_of(p, seat)[32 * tile_of_rows] = make_float4(values[0], values[1], values[2], values[3]);
  }
}

// x, then h' of this block's octets, which go to all.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void advance(const PersistentJob& p, const Tile& tile, int t,
                                        const Seat& seat, const GruWeights<Steps>& weights,
                                        Progress& now) {
  input_layer<Type, kElu>(p, seat);
  __syncthreads();
  if (seat.has_octet) {
    multiply_gates<Type>(now.sums.r, now.sums.z, now.sums.n_input,
                         lane_of_panel(seat.shared + p.at.input, seat.lane), weights.input);
    unsigned char* panel = seat.shared + in_turn(p.at.belief, t + 1);
    const float* bias = seat.floats(p.at.gru_bias);
    advance_belief<Type>(now.sums, seat.floats(p.at.unscale)[kGruLayer],
                         bias + seat.warp * 4 * kOctet, belief_of(p, seat), panel, seat.octet,
                         seat.lane, flags_of(p, seat));
    share_octets(panel, seat.octet, 1, seat.barrier(kBeliefBarrier), seat);
  }
  if (seat.warp == kLastWarp && t + 1 < tile.arguments.horizon) {
    draw_actions<Type>(p, tile, t + 1, seat.lane, 32, seat);
    __syncwarp();
  }
  if (tile.arguments.noise.seeds != nullptr && 2 * seat.warp < p.at.prior_octets) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int dim = 8 * seat.warp + 4 * half + seat.lane % 4;
      float normals[4];
      draw_noise_quad(tile.arguments, t, tile.problem, tile.first / 4 + seat.lane / 4, dim,
                      normals);
      noise_of(p, seat, half) = make_float4(normals[0], normals[1], normals[2], normals[3]);
    }
  }
}

// p of this warp's pair of octets.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void share_prior_hidden(const PersistentJob& p, int t,
                                                   const Seat& seat) {
  if (!seat.has_prior_pair()) return;
  Sums sums;
  multiply_pair<Type, Steps>(sums, p, seat, in_turn(p.at.belief, t + 1), p.at.prior_hidden_weights,
                             0);
  share_pair<Type, kElu>(sums, p, seat, kPriorHiddenLayer, p.at.prior_hidden_bias, p.at.prior,
                         seat.barrier(kPriorBarrier));
}

// The half of the GRU of step t that reads h.
template <class Type, int Steps>
__device__ __forceinline__ void begin_belief(const PersistentJob& p, int t, const Seat& seat,
                                             const GruWeights<Steps>& weights, Progress& now) {
  if (!seat.has_octet) return;
  clear_sums(now.sums);
  multiply_gates<Type>(now.sums.r, now.sums.z, now.sums.n_belief,
                       lane_of_panel(seat.shared + in_turn(p.at.belief, t), seat.lane),
                       weights.belief);
}

// The prior's outputs and the next state, by the warps that have a part of it.
template <class Type, int Steps>
__device__ __forceinline__ void sample_state(const PersistentJob& p, const Tile& tile,
                                             const Seat& seat) {
  if (2 * seat.warp >= p.at.prior_octets) return;
  const float unscale = seat.floats(p.at.unscale)[kPriorLayer];
  const float* bias = seat.floats(p.at.prior_bias);
  const uint2* weights = reinterpret_cast<const uint2*>(seat.shared + p.at.prior_weights) +
                         seat.lane + 2 * seat.warp * Steps * 32;
  Sums sums;
  clear(sums);
  multiply<Type, Steps>(sums, lane_of_panel(seat.shared + p.at.prior, seat.lane), weights,
                        weights + Steps * 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int dim = 8 * seat.warp + 4 * half + seat.lane % 4;
    const float2 of_dim = columns(bias, 2 * seat.warp + half, seat.lane);
    if (dim >= p.job.sizes.state) continue;
    const bool noisy = tile.arguments.noise.seeds != nullptr;
    const float4 four = noisy ? noise_of(p, seat, half) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const float noise[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* sum = sums[i / 2][half] + i % 2 * 2;
      float state = fmaf(sum[0], unscale, of_dim.x);
      if (noisy) {
        const float stddev = half_stddev(fmaf(sum[1], unscale, of_dim.y), p.job.stddev_floor);
        state = fmaf(stddev, noise[i], state);
      }
      store_one<Type>(seat.shared + p.at.state, row_of(seat.lane, i / 2, i % 2), dim, state,
                      flags_of(p, seat));
    }
  }
}

__device__ __forceinline__ float last_reward_bias(const PersistentJob& p) {
  const int at = p.job.layout.arrays.reward_biases[kPersistentRewardLayers - 1];
  return *reinterpret_cast<const float*>(p.job.packed + at);
}

// The barrier of the reward that is computed while `exchanges` steps of all rollouts are complete,
// and the parity of its phase.
__device__ __forceinline__ uint64_t* reward_barrier(const Seat& seat, uint32_t exchanges) {
  return seat.barrier(kRewardBarriers + static_cast<int>((exchanges - 1) & 1));
}
__device__ __forceinline__ uint32_t reward_parity(uint32_t exchanges) {
  return (exchanges - 1) >> 1 & 1;
}

// The reward of time t - 1: its first layer.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void begin_reward(const PersistentJob& p, int t, const Seat& seat,
                                             uint32_t exchanges) {
  if (!seat.has_reward_pair()) return;
  Sums sums;
  multiply_pair<Type, Steps>(sums, p, seat, in_turn(p.at.belief, t), p.at.reward_weights[0],
                             p.at.state_steps);
  share_pair<Type, kElu>(sums, p, seat, kRewardLayer, p.at.reward_bias[0], in_turn(p.at.reward, t),
                         reward_barrier(seat, exchanges));
}

// Its second layer, and this lane's part of the return.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void end_reward(const PersistentJob& p, int t, const Seat& seat,
                                           float weight, uint32_t exchanges) {
  barrier_wait(reward_barrier(seat, exchanges), reward_parity(exchanges));
  if (!seat.has_reward_pair()) return;
  Sums sums;
  multiply_pair<Type, Steps>(sums, p, seat, in_turn(p.at.reward, t), p.at.reward_weights[1], 0);
  const float unscale = seat.floats(p.at.unscale)[kRewardLayer + 1];
  const float* bias = seat.floats(p.at.reward_bias[1]);
  const float* row = seat.floats(p.at.reward_row);
  float rewards[4] = {};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (half > seat.second) break;
    const int octet = 2 * seat.pair + half;
    add_rewards<kElu>(sums, half, unscale, columns(bias, octet, seat.lane),
                      columns(row, octet, seat.lane), rewards);
  }
  // One lane of each row adds the bias.
  const bool first = seat.rank == 0 && seat.pair == 0 && seat.lane % 4 == 0;
  const float last = first ? last_reward_bias(p) : 0.0f;
  float4& returns = returns_of(p, seat);
  const float4 before = returns;
  returns = make_float4(
      fmaf(weight, rewards[0] + last, before.x), fmaf(weight, rewards[1] + last, before.y),
      fmaf(weight, rewards[2] + last, before.z), fmaf(weight, rewards[3] + last, before.w));
}

}  // namespace planet::cuda::persistent
