// The persistent planner: one launch runs all iterations of the cross-entropy method. Clusters of
// four blocks hold the model, the GRU in registers and the rest in shared memory; a cluster scores
// 32 candidates at a time. After each iteration the grid meets, its blocks refit the distribution
// value by value, and the grid meets again.
#pragma once

#include "cem_fit.cuh"
#include "persistent_steps.cuh"

namespace planet::cuda::persistent {

// The refit's shared memory, in the place of the panels.
struct FitScratch {
  SelectionSpace selection;
  FitSpace sums;
  uint64_t best[kPersistentWarps];
  float kept[kPersistentThreads / kFitMembers][kKeptActions];
  // uint32_t elites[topk] follow.
};

// Announces the bytes of the exchanges of step t; by the last warp, which has waited for all phases
// before.
__device__ __forceinline__ void announce(const PersistentJob& p, const Seat& seat, bool advances,
                                         uint64_t* barriers, uint64_t* reward_barrier) {
  if (seat.warp != kLastWarp || seat.lane != 0) return;
  const uint32_t bytes = static_cast<uint32_t>((p.at.octets - seat.own.count) * kOctetPanelBytes);
  if (advances) {
    barrier_expect(barriers + kBeliefBarrier, bytes);
    barrier_expect(barriers + kPriorBarrier, bytes);
  }
  if (reward_barrier != nullptr) barrier_expect(reward_barrier, bytes);
}

// All steps of a rollout; step t also computes the reward of step t - 1.
template <class Type, int Steps, bool kElu>
__device__ __forceinline__ void run_steps(const PersistentJob& p, const Tile& tile,
                                          unsigned char* shared, const Seat& seat,
                                          const GruWeights<Steps>& weights, Progress& now) {
  uint64_t* barriers = barriers_of(shared);
  const int64_t horizon = tile.arguments.horizon;
  const bool scores = seat.warp >= kPriorWarps && seat.has_pair;
  for (int64_t t = 0; t <= horizon; ++t) {
    const bool advances = t < horizon;
    // now.exchanges counts the steps of all rollouts so far, and so the phases of each barrier.
    const uint32_t parity = now.exchanges & 1, reward_parity = (now.exchanges - 1) >> 1 & 1;
    uint64_t* reward_barrier =
        t > 0 ? barriers + kRewardBarriers + ((now.exchanges - 1) & 1) : nullptr;
    announce(p, seat, advances, barriers, reward_barrier);
    if (advances) advance<Type, Steps, kElu>(p, tile, t, shared, seat, weights, now);
    if (t > 0 && scores) begin_reward<Type, Steps, kElu>(p, t, shared, seat, reward_barrier);
    if (advances) {
      barrier_wait(barriers + kBeliefBarrier, parity);
      if (seat.warp < kPriorWarps && seat.has_pair) {
        share_prior_hidden<Type, Steps, kElu>(p, t, shared, seat);
      }
      if (t + 1 < horizon && seat.has_octet) {
        begin_belief<Type, Steps>(p, t + 1, shared, weights, now);
      }
    }
    if (t > 0) {
      barrier_wait(reward_barrier, reward_parity);
      if (scores) {
        end_reward<Type, Steps, kElu>(p, t, shared, seat, tile.arguments.discount, now);
      };
    }
    if (!advances) break;
    barrier_wait(barriers + kPriorBarrier, parity);
    sample_state<Type, Steps>(p, tile, shared, seat, now);
    __syncthreads();
    ++now.exchanges;
  }
}

// Adds up a row's return within this block and tells the other blocks; lane = row in warp 0.
__device__ __forceinline__ void share_returns(const PersistentJob& p, unsigned char* shared,
                                              const Seat& seat, const Progress& now) {
  float* of_warps = floats_at(shared, p.at.warp_returns);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float sum = now.returns[i];
    sum += __shfl_xor_sync(kFullWarp, sum, 1);
    sum += __shfl_xor_sync(kFullWarp, sum, 2);
    if (seat.lane % 4 == 0) of_warps[seat.warp * kClusterRows + row_of(i / 2, i % 2)] = sum;
  }
  __syncthreads();
  uint64_t* barrier = barriers_of(shared) + kReturnsBarrier;
  if (seat.warp == 0) {
    RolloutShare* share = reinterpret_cast<RolloutShare*>(shared + p.at.shares) + seat.rank;
    float sum = 0.0f;
#pragma unroll
    for (int warp = kPriorWarps; warp < kPersistentWarps; ++warp) {
      sum += of_warps[warp * kClusterRows + seat.lane];
    }
    share->returns[seat.lane] = sum;
    share->flags[seat.lane] = flags_of(p, shared)[seat.lane];
    bulk_copy_fence();
    __syncwarp();
    if (seat.lane == 0) {
      copy_to_others(reinterpret_cast<unsigned char*>(share), sizeof(RolloutShare), barrier,
                     seat.rank);
      barrier_expect(barrier, (kClusterBlocks - 1) * sizeof(RolloutShare));
    }
    __syncwarp();
  }
}

// Writes the returns of a tile; rows that left the operands' range (the result's bits, the same in
// all blocks) are left out.
__device__ __forceinline__ uint32_t write_returns(const PersistentJob& p, const Tile& tile,
                                                  unsigned char* shared, const Seat& seat) {
  const RolloutShare* shares = reinterpret_cast<const RolloutShare*>(shared + p.at.shares);
  const int64_t candidates = tile.arguments.candidates;
  const int64_t candidate = tile.first + candidate_of_row(kClusterRows, seat.lane);
  float sum = 0.0f;
  uint32_t flag = 0;
#pragma unroll
  for (int rank = 0; rank < kClusterBlocks; ++rank) {
    sum += shares[rank].returns[seat.lane];
    flag |= shares[rank].flags[seat.lane];
  }
  const bool present = candidate < candidates;
  if (seat.rank == 0 && seat.warp == 0 && present && flag == 0) {
    tile.arguments.returns[tile.problem * candidates + candidate] = sum;
  }
  return __ballot_sync(kFullWarp, present && flag != 0);
}

// Rollouts of flagged rows by the exact path, each by one of the cluster's blocks. Uses the panels.
__device__ __forceinline__ void run_exactly(const PersistentJob& p, const Tile& tile,
                                            uint32_t flagged, unsigned char* shared,
                                            const Seat& seat) {
  static_assert(kClusterRows / kClusterBlocks <= kExactCandidates);
  ExactScratch& scratch = *reinterpret_cast<ExactScratch*>(shared + p.at.panels);
  const bool mine = flagged >> seat.lane & 1 && seat.lane % kClusterBlocks == seat.rank;
  const uint32_t of_block = __ballot_sync(kFullWarp, mine);
  if (threadIdx.x == 0) {
    scratch.job = p.job;
    scratch.job.arguments = tile.arguments;
  }
  if (seat.warp == 0 && mine) {
    scratch.list[__popc(of_block & ((1u << seat.lane) - 1))] =
        static_cast<uint32_t>(tile.first + candidate_of_row(kClusterRows, seat.lane));
  }
  __syncthreads();
  if (of_block != 0) {
    ExactRollout(scratch.job, tile.problem, scratch.list, __popc(of_block), scratch.memory).run();
  }
  // The others send to the panels in their next rollout.
  bulk_copy_fence();
  __syncthreads();
  cluster_arrive();
  cluster_wait();
}

// Waits until all blocks have come here for the `round`-th time (from 1); what they wrote to global
// memory before is visible afterwards.
__device__ __forceinline__ void meet(uint32_t* arrivals, uint32_t round) {
  __syncthreads();
  if (threadIdx.x == 0) {
    add_release(arrivals, 1);
    while (load_acquire(arrivals) < round * gridDim.x) {
    }
  }
  __syncthreads();
}

// Refits this block's share of all values of all problems; every block selects for itself.
__device__ __forceinline__ void refit(const PlanFit& fit, bool last, FitScratch& scratch) {
  constexpr int kGroups = kPersistentThreads / kFitMembers;
  uint32_t* elites = reinterpret_cast<uint32_t*>(&scratch + 1);
  const int group = static_cast<int>(threadIdx.x) / kFitMembers;
  const int64_t values = fit.horizon * fit.action_size, groups = (values + kGroups - 1) / kGroups;
  int64_t selected = -1;
  for (int64_t item = blockIdx.x; item < fit.batch * groups; item += gridDim.x) {
    const int64_t problem = item / groups, index = item % groups * kGroups + group;
    const float* returns = fit.returns + problem * fit.candidates;
    __syncthreads();  // the scratch is free again
    if (problem != selected) {
      const auto return_at = [returns](int64_t j) { return returns[j]; };
      const Selection found = select_elites(return_at, fit.candidates, fit.topk, scratch.selection);
      for_each_elite(return_at, fit.candidates, found, scratch.selection,
                     [elites](uint32_t position, uint32_t j) { elites[position] = j; });
      __syncthreads();
      selected = problem;
    }
    if (last && item % groups == 0) {
      const uint64_t best = best_key(returns, elites, fit.topk, scratch.best);
      if (threadIdx.x == 0) fit.best_return[problem] = returns[rank_index(best)];
    }
    fit_value(fit, problem, index, index < values, elites, scratch.kept[group], scratch.sums);
  }
}

// Blocks of kPersistentThreads in clusters of kClusterBlocks, all resident at once; shared memory
// of p.rollout.at.bytes. Steps: of 16 features, in the panels of the wide layers.
template <class Type, int Steps, bool kElu>
__global__ void __launch_bounds__(kPersistentThreads, 1) persistent_kernel(const PlanJob plan) {
#if !defined(__CUDA_ARCH__) || (__CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1200)
  const PersistentJob& p = plan.rollout;
  unsigned char* shared = shared_memory();
  const Seat seat = take_seat(p.at);
  GruWeights<Steps> weights;
  Progress now;
  now.exchanges = 0;
  const auto load_weights = [&] {
    if (seat.has_octet) load_gru(p.job.packed, p.job.layout.layer[kGruLayer], seat.octet, weights);
  };
  if (threadIdx.x == 0) init_barriers(barriers_of(shared), seat.own);
  load_model(p.job.packed, p.job.layout, p.at, Steps, seat.own, shared);
  load_weights();
  cluster_arrive();
  cluster_wait();

  RolloutArguments arguments = p.job.arguments;
  PlanFit fit = plan.fit;
  const int64_t tiles = (arguments.candidates + kClusterRows - 1) / kClusterRows;
  uint32_t rollouts = 0;
  for (int64_t i = 0; i < plan.iterations; ++i) {
    arguments.actions.iteration = arguments.noise.iteration = fit.actions.iteration =
        plan.fit.actions.iteration + static_cast<uint32_t>(i);
    for (int64_t item = blockIdx.x / kClusterBlocks; item < arguments.batch * tiles;
         item += gridDim.x / kClusterBlocks) {
      const Tile tile{arguments, item / tiles, item % tiles * kClusterRows};
      begin_rollout<Type, Steps>(p, tile, shared, seat, now);
      if (seat.has_octet) begin_belief<Type, Steps>(p, 0, shared, weights, now);
      run_steps<Type, Steps, kElu>(p, tile, shared, seat, weights, now);
      share_returns(p, shared, seat, now);
      barrier_wait(barriers_of(shared) + kReturnsBarrier, rollouts++ & 1);
      const uint32_t flagged = write_returns(p, tile, shared, seat);
      if (flagged != 0) {
        run_exactly(p, tile, flagged, shared, seat);
        load_weights();  // so that they need no registers meanwhile
      }
    }
    const uint32_t round = static_cast<uint32_t>(2 * i);
    meet(plan.arrivals, round + 1);
    refit(fit, i + 1 == plan.iterations, *reinterpret_cast<FitScratch*>(shared + p.at.panels));
    if (i + 1 < plan.iterations) meet(plan.arrivals, round + 2);
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
