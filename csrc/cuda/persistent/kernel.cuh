// The persistent planner: one launch runs all iterations of the cross-entropy method. Clusters of
// four blocks hold the model, the GRU in registers and the rest in shared memory; a cluster scores
// 32 candidates at a time. After each iteration the grid meets, its blocks refit the distribution
// value by value, and the grid meets again.
#pragma once

#include <string.h>

#include "../cem_fit.cuh"
#include "steps.cuh"

namespace planet::cuda::persistent {

// The refit's shared memory, in the place of the panels.
struct FitScratch {
  SelectionSpace selection;
  FitSpace sums;
  uint64_t best[kPersistentWarps];
  float held[kPersistentThreads / kFitMembers][kHeldActions];
  // uint32_t elites[topk] follow.
};

// Announces the bytes of the exchanges of a step; by the last warp, which has waited for all phases
// before.
__device__ __forceinline__ void announce(const PersistentJob& p, const Seat& seat,
                                         uint32_t exchanges, bool advances, bool scores) {
  if (seat.warp != kLastWarp || seat.lane != 0) return;
  const uint32_t bytes = static_cast<uint32_t>((p.at.octets - seat.own.count) * kOctetPanelBytes);
  if (advances) {
    barrier_expect(seat.barrier(kBeliefBarrier), bytes);
    barrier_expect(seat.barrier(kPriorBarrier), bytes);
  }
  if (scores) barrier_expect(reward_barrier(seat, exchanges), bytes);
}

// All steps of a rollout; step t also computes the reward of step t - 1.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void run_steps(const PersistentJob& p, const Tile& tile, int thread,
                                          int rank, const GruWeights<Steps>& weights,
                                          Progress& now) {
  const int horizon = static_cast<int>(tile.arguments.horizon);
  const auto seat = [&] { return take_seat(p.at, opaque(thread), opaque(rank)); };
  double weight = 1.0;  // of the next reward
  for (int t = 0; t <= horizon; ++t) {
    const bool advances = t < horizon;
    announce(p, seat(), now.exchanges, advances, t > 0);
    if (advances) advance<Type, Steps, kElu>(p, tile, t, seat(), weights, now);
    if (t > 0) begin_reward<Type, Steps, kElu>(p, t, seat(), now.exchanges);
    if (advances) {
      barrier_wait(seat().barrier(kBeliefBarrier), now.exchanges & 1);
      share_prior_hidden<Type, Steps, kElu>(p, t, seat());
      if (t + 1 < horizon) begin_belief<Type, Steps>(p, t + 1, seat(), weights, now);
    }
    if (t > 0) {
      end_reward<Type, Steps, kElu>(p, t, seat(), static_cast<float>(weight), now.exchanges);
      weight *= tile.arguments.discount;
    }
    if (!advances) break;
    barrier_wait(seat().barrier(kPriorBarrier), now.exchanges & 1);
    sample_state<Type, Steps>(p, tile, seat());
    __syncthreads();
    ++now.exchanges;
  }
}

// Adds up the rows' returns within this block and tells the other blocks; by warp 0, lane = row.
__device__ __forceinline__ void share_returns(const PersistentJob& p, const Seat& seat) {
  __syncthreads();
  if (seat.warp != 0) return;
  // A row's parts lie in the four lanes whose sums hold it, in one of their four values.
  const int half = seat.lane / 8 % 2, tile = seat.lane / 16, group = seat.lane % 8;
  const float* parts = seat.floats(p.at.returns) + group * 16 + tile * 2 + half;
  float sum = 0.0f;
#pragma unroll
  for (int pair = 0; pair < kPairWarps; ++pair) {
#pragma unroll
    for (int lane = 0; lane < 4; ++lane) sum += parts[pair * 128 + lane * 4];
  }
  RolloutShare* share = reinterpret_cast<RolloutShare*>(seat.shared + p.at.shares) + seat.rank;
  share->returns[seat.lane] = sum;
  share->flags[seat.lane] = flags_of(p, seat)[seat.lane];
  bulk_copy_fence();
  __syncwarp();
  if (seat.lane == 0) {
    uint64_t* barrier = seat.barrier(kReturnsBarrier);
    copy_to_others(reinterpret_cast<unsigned char*>(share), sizeof(RolloutShare), barrier,
                   seat.rank);
    barrier_expect(barrier, (kClusterBlocks - 1) * sizeof(RolloutShare));
  }
  __syncwarp();
}

// Writes the returns of a tile. Rows that left the operands' range are NaN, or with kExactBeyond
// left out: the result's bits, the same in all blocks.
template <class Type>
__device__ __forceinline__ uint32_t write_returns(const PersistentJob& p, const Tile& tile,
                                                  const Seat& seat) {
  const RolloutShare* shares = reinterpret_cast<const RolloutShare*>(seat.shared + p.at.shares);
  const int64_t candidates = tile.arguments.candidates;
  const int64_t candidate = int64_t{tile.first} + candidate_of_row(kClusterRows, seat.lane);
  float sum = 0.0f;
  uint32_t flag = 0;
#pragma unroll
  for (int rank = 0; rank < kClusterBlocks; ++rank) {
    sum += shares[rank].returns[seat.lane];
    flag |= shares[rank].flags[seat.lane];
  }
  const bool present = candidate < candidates;
  const bool left_out = Type::kExactBeyond && flag != 0;
  if (seat.rank == 0 && seat.warp == 0 && present && !left_out) {
    tile.arguments.returns[tile.problem * candidates + candidate] = flag == 0 ? sum : NAN;
  }
  return __ballot_sync(kFullWarp, present && left_out);
}

// Rollouts of flagged rows of a tile by the exact path, each by one of the cluster's blocks. Uses
// the panels. A function of its own: what it computes must not take registers from the kernel.
inline __device__ __attribute__((noinline)) void run_exactly(const PersistentJob& p,
                                                             uint32_t iteration, int problem,
                                                             uint32_t first, uint32_t flagged,
                                                             int rank) {
  static_assert(kClusterRows / kClusterBlocks <= kExactCandidates);
  ExactScratch& scratch = *reinterpret_cast<ExactScratch*>(shared_memory() + p.at.panels);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const bool mine = flagged >> lane & 1 && lane % kClusterBlocks == rank;
  const uint32_t of_block = __ballot_sync(kFullWarp, mine);
  constexpr int kWords = sizeof(RolloutJob) / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kWords; i += kPersistentThreads) {
    memcpy(reinterpret_cast<unsigned char*>(&scratch.job) + 4 * i,
           reinterpret_cast<const unsigned char*>(&p.job) + 4 * i, 4);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    scratch.job.arguments.actions.iteration = iteration;
    scratch.job.arguments.noise.iteration = iteration;
  }
  if (threadIdx.x < 32 && mine) {
    scratch.list[__popc(of_block & ((1u << lane) - 1))] =
        first + static_cast<uint32_t>(candidate_of_row(kClusterRows, lane));
  }
  __syncthreads();
  if (of_block != 0) {
    ExactRollout<false>(scratch.job, problem, scratch.list, __popc(of_block), scratch.memory).run();
  }
  // The others send to the panels in their next rollout.
  bulk_copy_fence();
  cluster_arrive();
  cluster_wait();
}

// Waits until all blocks have come here for the `round`-th time (from 1); what they wrote to global
// memory before is visible afterwards.
__device__ __forceinline__ void meet(uint32_t* arrivals, uint32_t round) {
  __syncthreads();
  if (threadIdx.x == 0) {
    add_release(arrivals, 1);
    wait_until([&] { return load_acquire(arrivals) >= round * gridDim.x; });
  }
  __syncthreads();
}

// Parts 0 .. parts - 1 of problem 0, of problem 1, ..., dealt out in turn to `players`, of which
// this is one. Without divisions.
struct Turn {
  int problem, part, parts;

  __device__ Turn(unsigned int player, int64_t parts)
      : problem(0), part(static_cast<int>(player)), parts(static_cast<int>(parts)) {
    carry();
  }
  __device__ void next(unsigned int players) {
    part += static_cast<int>(players);
    carry();
  }

 private:
  __device__ void carry() {
    for (; part >= parts; part -= parts) ++problem;
  }
};

// Refits this block's share of all values of all problems; every block selects for itself. Behind
// meet(); the barriers of a selection and of a fit keep one turn's use of the scratch apart from
// the next one's.
__device__ __forceinline__ void refit(const PlanFit& fit, bool last, FitScratch& scratch) {
  constexpr int kGroups = kPersistentThreads / kFitMembers;
  uint32_t* elites = reinterpret_cast<uint32_t*>(&scratch + 1);
  const int group = static_cast<int>(threadIdx.x) / kFitMembers;
  const int64_t values = fit.horizon * fit.action_size, groups = (values + kGroups - 1) / kGroups;
  int64_t selected = -1;
  for (Turn turn(blockIdx.x, groups); turn.problem < fit.batch; turn.next(gridDim.x)) {
    const int64_t problem = turn.problem, index = int64_t{turn.part} * kGroups + group;
    const float* returns = fit.returns + problem * fit.candidates;
    if (problem != selected) {
      const auto return_at = [returns](int64_t j) { return returns[j]; };
      const Selection found = select_elites(return_at, fit.candidates, fit.topk, scratch.selection);
      for_each_elite(return_at, fit.candidates, found, scratch.selection,
                     [elites](uint32_t position, uint32_t j) { elites[position] = j; });
      __syncthreads();
      selected = problem;
    }
    if (last && turn.part == 0) {
      const uint64_t best = best_key(returns, elites, fit.topk, scratch.best);
      if (threadIdx.x == 0) fit.best_return[problem] = returns[rank_index(best)];
    }
    fit_value(fit, problem, index, index < values, elites, scratch.held[group], scratch.sums);
  }
  bulk_copy_fence();  // the others send to the panels in their next rollout
}

// Blocks of kPersistentThreads in clusters of kClusterBlocks, all resident at once; shared memory
// of p.rollout.at.bytes. Steps: of 16 features, in the panels of the wide layers.
template <class Type, int Steps, bool kElu>
__global__ void __launch_bounds__(kPersistentThreads, 1)
    persistent_kernel(const __grid_constant__ PlanJob plan) {
#if !defined(__CUDA_ARCH__) || PLANET_PERSISTENT_BODY(__CUDA_ARCH__)
  const PersistentJob& p = plan.rollout;
  const int thread = static_cast<int>(threadIdx.x), rank = static_cast<int>(cluster_rank());
  const auto take = [&] { return take_seat(p.at, opaque(thread), opaque(rank)); };
  GruWeights<Steps> weights;
  Progress now;
  now.exchanges = 0;
  const auto load_weights = [&](const Seat& seat) {
    // Warps without an octet read one as well: nothing of before is then needed afterwards.
    const int octet = seat.has_octet ? seat.octet : seat.own.first;
    load_gru(p.job.packed, p.job.layout.layer[kGruLayer], octet, weights);
  };
  if (thread == 0) init_barriers(take().barrier(0), take().own);
  load_model(p.job.packed, p.job.layout, p.at, Steps, take().own, shared_memory());
  load_weights(take());
  cluster_arrive();
  cluster_wait();

  RolloutArguments arguments = p.job.arguments;
  PlanFit fit = plan.fit;
  const int64_t tiles = (arguments.candidates + kClusterRows - 1) / kClusterRows;
  const uint32_t iterations = static_cast<uint32_t>(plan.iterations);
  uint32_t rollouts = 0;
  for (uint32_t i = 0; i < iterations; ++i) {
    arguments.actions.iteration = arguments.noise.iteration = fit.actions.iteration =
        plan.fit.actions.iteration + i;
    Turn turn(blockIdx.x / kClusterBlocks, tiles);
    for (; turn.problem < arguments.batch; turn.next(gridDim.x / kClusterBlocks)) {
      const Tile tile{arguments, turn.problem, static_cast<uint32_t>(turn.part) * kClusterRows};
      begin_rollout<Type, Steps>(p, tile, take());
      begin_belief<Type, Steps>(p, 0, take(), weights, now);
      run_steps<Type, Steps, kElu>(p, tile, thread, rank, weights, now);
      share_returns(p, take());
      barrier_wait(take().barrier(kReturnsBarrier), rollouts++ & 1);
      const uint32_t left_out = write_returns<Type>(p, tile, take());
      if (Type::kExactBeyond && left_out != 0) {
        run_exactly(p, arguments.actions.iteration, tile.problem, tile.first, left_out, rank);
        load_weights(take());  // so that they need no registers meanwhile
      }
    }
    meet(plan.arrivals, 2 * i + 1);
    refit(fit, i + 1 == iterations, *reinterpret_cast<FitScratch*>(shared_memory() + p.at.panels));
    if (i + 1 < iterations) meet(plan.arrivals, 2 * i + 2);
  }
  cluster_arrive();  // nobody leaves while others may still send to it
  cluster_wait();
#endif
}

template <class Type>
Kernel kernel_of(int steps, bool elu) {
  if (steps == 4) return elu ? persistent_kernel<Type, 4, true> : persistent_kernel<Type, 4, false>;
  return elu ? persistent_kernel<Type, 13, true> : persistent_kernel<Type, 13, false>;
}

}  // namespace planet::cuda::persistent
