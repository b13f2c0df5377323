// One rollout of 32 candidates by the four blocks of a cluster. What each warp does in a step t,
// and the exchanges (sent > received) between the blocks:
//
//            all warps             warps 0..3                        warps 4..7
//   x        input layer                                             (7: announces the exchanges)
//   --- __syncthreads ---
//   h'       GRU, x's half > h'                                      (7: draws the next actions)
//                                  draw the state's normals          reward's layer 1 of t - 1 > r
//            h' received
//                                  prior's hidden layer > p
//            GRU, h' half of t+1
//            r received                                              reward's layer 2 of t - 1
//            p received            prior, s'
//   --- __syncthreads ---
//
// Panels. A block may be overtaken by a block that has received all it waits for, so a panel must
// not be written before everybody has read it:
//   x, s, a  are this block's own; the two __syncthreads order them. s is read by the reward's
//            layer 1, too, which comes before r received, and that before s' is written.
//   p        is written again when h' of the next step has been received, which every block sends
//            after the __syncthreads behind its last use of p.
//   h        in turn: is written again two steps later. Its last reader is the reward's layer 1 in
//            the next step; the writer has received that layer's outputs by then.
//   r        in turn: is written again two steps later, after h' of the step between, which is sent
//            behind the last use.
// Barriers count the bytes of one phase only. The same arguments hold: who sends h' or p knows that
// every block has passed that barrier's previous phase, but for r that is true of the phase before
// the previous one; hence two barriers.
#pragma once

#include "../rollout_inputs.cuh"
#include "job.h"
#include "model.cuh"

namespace planet::cuda::persistent {

constexpr int kLastWarp = kPersistentWarps - 1;  // has no octet of the GRU

// Where a thread works. Phases take it anew from `thread` and `rank`, which the compiler must not
// know to be the same each time: it would keep every address that follows from them in a register.
struct Seat {
  unsigned char* shared;
  int warp, lane, rank;
  OctetShare own;  // octets of this block
  int octet;       // that of this warp in the GRU
  bool has_octet;
  int pair;  // octets 2 pair, 2 pair + 1 of this block, in the prior and the reward layers
  bool has_pair;
  int second;  // 1: the pair has both octets, 0: the first alone

  __device__ int thread() const { return 32 * warp + lane; }
  __device__ bool has_prior_pair() const { return has_pair && warp < kPairWarps; }
  __device__ bool has_reward_pair() const { return has_pair && warp >= kPairWarps; }
  __device__ float* floats(int offset) const { return reinterpret_cast<float*>(shared + offset); }
  __device__ uint64_t* barrier(int which) const {
    return reinterpret_cast<uint64_t*>(shared) + which;
  }
};

__device__ __forceinline__ Seat take_seat(const PersistentLayout& at, int thread, int rank) {
  Seat seat;
  seat.shared = shared_memory();
  seat.warp = thread / 32;
  seat.lane = thread % 32;
  seat.rank = rank;
  seat.own = share_of(at.octets, seat.rank);
  seat.octet = seat.own.first + seat.warp;
  seat.has_octet = seat.warp < seat.own.count;
  seat.pair = seat.warp % kPairWarps;
  seat.has_pair = 2 * seat.pair < seat.own.count;
  seat.second = 2 * seat.pair + 1 < seat.own.count ? 1 : 0;
  return seat;
}

__device__ __forceinline__ uint32_t* flags_of(const PersistentJob& p, const Seat& seat) {
  return reinterpret_cast<uint32_t*>(seat.shared + p.at.flags);
}

// Arrivals that a barrier waits for: this block's senders, and the announcement.
__device__ __forceinline__ void init_barriers(uint64_t* barriers, OctetShare own) {
  const uint32_t pairs = static_cast<uint32_t>(own.count + 1) / 2;
  barrier_init(barriers + kBeliefBarrier, static_cast<uint32_t>(own.count) + 1);
  barrier_init(barriers + kPriorBarrier, pairs + 1);
  barrier_init(barriers + kRewardBarriers, pairs + 1);
  barrier_init(barriers + kRewardBarriers + 1, pairs + 1);
  barrier_init(barriers + kReturnsBarrier, 1);
  barrier_init_fence();
}

// Copies this block's `bytes` at `source` to the same place of the others, where they count towards
// `barrier`. By one lane.
__device__ __forceinline__ void copy_to_others(const unsigned char* source, uint32_t bytes,
                                               const uint64_t* barrier, int rank) {
#pragma unroll
  for (int i = 1; i < kClusterBlocks; ++i) {
    const uint32_t peer = static_cast<uint32_t>((rank + i) % kClusterBlocks);
    copy_to_peer(peer_address(source, peer), source, bytes, peer_address(barrier, peer));
  }
}

// Gives octets that this warp has written to everybody, this block included.
__device__ __forceinline__ void share_octets(const unsigned char* panel, int first, int count,
                                             uint64_t* barrier, const Seat& seat) {
  bulk_copy_fence();
  __syncwarp();
  if (seat.lane == 0) {
    copy_to_others(panel + first * kOctetPanelBytes,
                   static_cast<uint32_t>(count * kOctetPanelBytes), barrier, seat.rank);
    barrier_arrive(barrier);
  }
  __syncwarp();
}

// Writes one feature of a row; beyond_range's bits go to `flags`.
template <class Type>
__device__ __forceinline__ void store_one(unsigned char* panel, int row, int feature, float value,
                                          uint32_t* flags) {
  const uint32_t bits = pack2<Type>(value, 0.0f);
  reinterpret_cast<uint16_t*>(panel)[activation_index(kClusterRows, row, feature)] =
      static_cast<uint16_t>(bits);
  if (const uint32_t beyond = beyond_range<Type>(bits)) atomicMax(flags + row, beyond);
}

// The candidates that a cluster works on, and the arguments of this iteration.
struct Tile {
  const RolloutArguments& arguments;
  int problem;
  uint32_t first;  // candidate, a multiple of 32
};

// The actions of time t, by `workers` threads of which this one is `worker`.
template <class Type>
__device__ __forceinline__ void draw_actions(const PersistentJob& p, const Tile& tile, int t,
                                             int worker, int workers, const Seat& seat) {
  constexpr int kQuads = kClusterRows / 4;
  const int size = p.job.sizes.action;
#pragma unroll 1
  for (int i = worker; i < size * kQuads; i += workers) {
    const int quad = i % kQuads, dim = i / kQuads;
    float actions[4];
    draw_action_quad(tile.arguments, size, t, tile.problem, tile.first / 4 + quad, dim, actions);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      store_one<Type>(seat.shared + p.at.action, row_of_candidate(kClusterRows, 4 * quad + c), dim,
                      actions[c], flags_of(p, seat));
    }
  }
}

// x, all of it: pairs of octets go round the warps.
template <class Type, bool kElu>
__device__ __forceinline__ void input_layer(const PersistentJob& p, const Seat& seat) {
  const int steps = p.at.state_steps + p.at.action_steps;
  const float unscale = seat.floats(p.at.unscale)[kInputLayer];
  const float* bias = seat.floats(p.at.input_bias);
  const uint2* weights =
      reinterpret_cast<const uint2*>(seat.shared + p.at.input_weights) + seat.lane;
  uint32_t* flags = flags_of(p, seat);
  for (int octet = 2 * seat.warp; octet < p.at.octets; octet += 2 * kPersistentWarps) {
    const int second = octet + 1 < p.at.octets ? octet + 1 : octet;
    Sums sums;
    clear(sums);
    multiply_few<Type>(sums, lane_of_panel(seat.shared + p.at.state, seat.lane),
                       weights + octet * steps * 32, weights + second * steps * 32, steps);
    store_hidden<Type, kElu>(sums, 0, unscale, columns(bias, octet, seat.lane),
                             seat.shared + p.at.input, octet, seat.lane, flags);
    if (second != octet) {
      store_hidden<Type, kElu>(sums, 1, unscale, columns(bias, second, seat.lane),
                               seat.shared + p.at.input, second, seat.lane, flags);
    }
  }
}

// A pair of octets of the prior's hidden layer or of one of the reward's: sums of a panel, and for
// the reward's first layer of the state besides.
template <class Type, int Steps>
__device__ __forceinline__ void multiply_pair(Sums& sums, const PersistentJob& p, const Seat& seat,
                                              int panel, int weights, int state_steps) {
  const int steps = Steps + state_steps;
  const uint2* first = reinterpret_cast<const uint2*>(seat.shared + weights) +
                       2 * seat.pair * steps * 32 + seat.lane;
  const uint2* second = first + seat.second * steps * 32;
  clear(sums);
  multiply<Type, Steps>(sums, lane_of_panel(seat.shared + panel, seat.lane), first, second);
  if (state_steps > 0) {
    multiply_few<Type>(sums, lane_of_panel(seat.shared + p.at.state, seat.lane), first + Steps * 32,
                       second + Steps * 32, state_steps);
  }
}

// Writes a pair of octets of a hidden layer and shares it.
template <class Type, bool kElu>
__device__ __forceinline__ void share_pair(const Sums& sums, const PersistentJob& p,
                                           const Seat& seat, Layer layer, int bias_at, int panel,
                                           uint64_t* barrier) {
  const float unscale = seat.floats(p.at.unscale)[layer];
  const float* bias = seat.floats(bias_at);
  uint32_t* flags = flags_of(p, seat);
  const int local = 2 * seat.pair, octet = seat.own.first + local;
  store_hidden<Type, kElu>(sums, 0, unscale, columns(bias, local, seat.lane), seat.shared + panel,
                           octet, seat.lane, flags);
  if (seat.second) {
    store_hidden<Type, kElu>(sums, 1, unscale, columns(bias, local + 1, seat.lane),
                             seat.shared + panel, octet + 1, seat.lane, flags);
  }
  share_octets(seat.shared + panel, octet, 1 + seat.second, barrier, seat);
}

}  // namespace planet::cuda::persistent
