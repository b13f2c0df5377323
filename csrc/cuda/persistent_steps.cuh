// The steps of a rollout by a cluster, and how its parts become returns.
#pragma once

#include "general.cuh"
#include "persistent_rollout.cuh"

namespace planet::cuda::persistent {

// The state of a warp between two phases of a rollout.
struct Progress {
  GruSums sums;        // of the step to come
  float belief[2][4];  // h of this warp's octet, not rounded
  float noise[2][4];   // normals of this lane's dimension in each octet, by candidate
  float returns[4];    // this lane's part, by row
  double weight;       // discount^t of the reward that comes next
  uint32_t exchanges;  // phases of the barriers that are complete: one per step
};

__device__ __forceinline__ void clear_sums(GruSums& sums) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    sums.r[i / 4][i % 4] = sums.z[i / 4][i % 4] = 0.0f;
    sums.n_input[i / 4][i % 4] = sums.n_belief[i / 4][i % 4] = 0.0f;
  }
}

__device__ __forceinline__ uint64_t* barriers_of(unsigned char* shared) {
  return reinterpret_cast<uint64_t*>(shared);
}

// Panels that are used in turn.
__device__ __forceinline__ int in_turn(const int (&panels)[2], int64_t t) {
  return t % 2 == 0 ? panels[0] : panels[1];
}

// The row of the latent's arrays where the candidate of `row` starts; rows beyond the last
// candidate repeat it.
__device__ __forceinline__ int64_t start_of(const Tile& tile, int row) {
  const int64_t candidate = tile.first + candidate_of_row(kClusterRows, row);
  const int64_t last = tile.arguments.candidates - 1;
  return start_row(tile.arguments, tile.problem, candidate < last ? candidate : last);
}

// Fills `octets` octets of a panel with operand values [rows, size] of global memory, zeros behind.
template <class Type>
__device__ __forceinline__ void fill_panel(const Tile& tile, const float* values, int size,
                                           int octets, unsigned char* panel, uint32_t* flags) {
  for (int i = threadIdx.x; i < octets * kClusterRows * kOctet; i += kPersistentThreads) {
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
                                              unsigned char* shared, const Seat& seat,
                                              Progress& now) {
  uint32_t* flags = flags_of(p, shared);
  if (threadIdx.x < kClusterRows) flags[threadIdx.x] = 0;
  __syncthreads();
  constexpr int kOctets = 2 * Steps;
  const Latent& latent = tile.arguments.latent;
  fill_panel<Type>(tile, latent.belief, p.job.sizes.belief, kOctets, shared + p.at.belief[0],
                   flags);
  fill_panel<Type>(tile, latent.state, p.job.sizes.state, 2 * p.at.state_steps, shared + p.at.state,
                   flags);
  // Features behind the last octet of a layer, and behind the last action, are zeros.
  const int tail = (kOctets - p.at.octets) * kOctetPanelBytes / 4;
  for (int i = threadIdx.x; i < tail; i += kPersistentThreads) {
    const int at = p.at.octets * kOctetPanelBytes + 4 * i;
    for (const int panel :
         {p.at.input, p.at.prior, p.at.belief[1], p.at.reward[0], p.at.reward[1]}) {
      *reinterpret_cast<uint32_t*>(shared + panel + at) = 0;
    }
  }
  const int behind = 2 * p.at.action_steps * kOctet - p.job.sizes.action;
  for (int i = threadIdx.x; i < behind * kClusterRows; i += kPersistentThreads) {
    store_one<Type>(shared + p.at.action, i % kClusterRows, p.job.sizes.action + i / kClusterRows,
                    0.0f, flags);
  }
  draw_actions<Type>(p, tile, 0, static_cast<int>(threadIdx.x), kPersistentThreads, shared);
  bulk_copy_fence();  // what the others will write here comes behind these writes
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 4; ++i) now.returns[i] = 0.0f;
  now.weight = 1.0;
  if (!seat.has_octet) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int row = row_of(i / 4, i % 4 / 2);
    const int unit = seat.octet * kOctet + 2 * (seat.lane % 4) + i % 2;
    now.belief[i / 4][i % 4] = unit < p.job.sizes.belief
                                   ? latent.belief[start_of(tile, row) * p.job.sizes.belief + unit]
                                   : 0.0f;
  }
}

// x, then h' of this block's octets, which go to all.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void advance(const PersistentJob& p, const Tile& tile, int64_t t,
                                        unsigned char* shared, const Seat& seat,
                                        const GruWeights<Steps>& weights, Progress& now) {
  input_layer<Type, kElu>(p, shared, seat);
  __syncthreads();
  if (seat.has_octet) {
    multiply_gates<Type>(now.sums.r, now.sums.z, now.sums.n_input,
                         lane_of_panel(shared + p.at.input), weights.input);
    unsigned char* panel = shared + in_turn(p.at.belief, t + 1);
    const float* bias = floats_at(shared, p.at.gru_bias);
    advance_belief<Type>(now.sums, floats_at(shared, p.at.unscale)[kGruLayer],
                         bias + seat.warp * 4 * kOctet, now.belief, panel, seat.octet,
                         flags_of(p, shared));
    share_octets(panel, seat.octet, 1, barriers_of(shared) + kBeliefBarrier, seat);
  }
  if (seat.warp == kLastWarp && t + 1 < tile.arguments.horizon) {
    draw_actions<Type>(p, tile, t + 1, seat.lane, 32, shared);
    __syncwarp();
  }
  if (tile.arguments.noise.seeds != nullptr && 2 * seat.warp < p.at.prior_octets) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int dim = 8 * seat.warp + 4 * half + seat.lane % 4;
      draw_noise_quad(tile.arguments, t, tile.problem,
                      static_cast<uint32_t>(tile.first / 4) + seat.lane / 4, dim, now.noise[half]);
    }
  }
}

// p of this warp's pair of octets.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void share_prior_hidden(const PersistentJob& p, int64_t t,
                                                   unsigned char* shared, const Seat& seat) {
  Sums sums;
  multiply_pair<Type, Steps>(sums, p, shared, seat, in_turn(p.at.belief, t + 1),
                             p.at.prior_hidden_weights, 0);
  share_pair<Type, kElu>(sums, p, shared, seat, kPriorHiddenLayer, p.at.prior_hidden_bias,
                         p.at.prior, barriers_of(shared) + kPriorBarrier);
}

// The half of the GRU of step t that reads h.
template <class Type, int Steps>
__device__ __forceinline__ void begin_belief(const PersistentJob& p, int64_t t,
                                             unsigned char* shared,
                                             const GruWeights<Steps>& weights, Progress& now) {
  clear_sums(now.sums);
  multiply_gates<Type>(now.sums.r, now.sums.z, now.sums.n_belief,
                       lane_of_panel(shared + in_turn(p.at.belief, t)), weights.belief);
}

// The prior's outputs and the next state, by the warps that have a part of it.
template <class Type, int Steps>
__device__ __forceinline__ void sample_state(const PersistentJob& p, const Tile& tile,
                                             unsigned char* shared, const Seat& seat,
                                             const Progress& now) {
  if (2 * seat.warp >= p.at.prior_octets) return;
  const float unscale = floats_at(shared, p.at.unscale)[kPriorLayer];
  const float* bias = floats_at(shared, p.at.prior_bias);
  const uint2* weights = reinterpret_cast<const uint2*>(shared + p.at.prior_weights) + seat.lane +
                         2 * seat.warp * Steps * 32;
  Sums sums;
  clear(sums);
  multiply<Type, Steps>(sums, lane_of_panel(shared + p.at.prior), weights, weights + Steps * 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int dim = 8 * seat.warp + 4 * half + seat.lane % 4;
    const float2 of_dim = columns(bias, 2 * seat.warp + half);
    if (dim >= p.job.sizes.state) continue;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* sum = sums[i / 2][half] + i % 2 * 2;
      float state = fmaf(sum[0], unscale, of_dim.x);
      if (tile.arguments.noise.seeds != nullptr) {
        const float stddev = softplus(fmaf(sum[1], unscale, of_dim.y)) + p.job.min_stddev;
        state = fmaf(stddev, now.noise[half][i], state);
      }
      store_one<Type>(shared + p.at.state, row_of(i / 2, i % 2), dim, state, flags_of(p, shared));
    }
  }
}

__device__ __forceinline__ float last_reward_bias(const PersistentJob& p) {
  const int at = p.job.layout.arrays.reward_biases[kPersistentRewardLayers - 1];
  return *reinterpret_cast<const float*>(p.job.packed + at);
}

// The reward of time t - 1: its first layer.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void begin_reward(const PersistentJob& p, int64_t t,
                                             unsigned char* shared, const Seat& seat,
                                             uint64_t* barrier) {
  Sums sums;
  multiply_pair<Type, Steps>(sums, p, shared, seat, in_turn(p.at.belief, t), p.at.reward_weights[0],
                             p.at.state_steps);
  share_pair<Type, kElu>(sums, p, shared, seat, kRewardLayer, p.at.reward_bias[0],
                         in_turn(p.at.reward, t), barrier);
}

// Its second layer, and this lane's part of the return.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void end_reward(const PersistentJob& p, int64_t t, unsigned char* shared,
                                           const Seat& seat, double discount, Progress& now) {
  Sums sums;
  multiply_pair<Type, Steps>(sums, p, shared, seat, in_turn(p.at.reward, t), p.at.reward_weights[1],
                             0);
  const float unscale = floats_at(shared, p.at.unscale)[kRewardLayer + 1];
  const float* bias = floats_at(shared, p.at.reward_bias[1]);
  const float* row = floats_at(shared, p.at.reward_row);
  float rewards[4] = {};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (half > seat.second) break;
    const int octet = 2 * seat.pair + half;
    add_rewards<kElu>(sums, half, unscale, columns(bias, octet), columns(row, octet), rewards);
  }
  // One lane of each row adds the bias.
  const bool first = seat.rank == 0 && seat.pair == 0 && seat.lane % 4 == 0;
  const float last = first ? last_reward_bias(p) : 0.0f;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    now.returns[i] = fmaf(static_cast<float>(now.weight), rewards[i] + last, now.returns[i]);
  }
  now.weight *= discount;
}

}  // namespace planet::cuda::persistent
