// Bulk copies and the barriers that count them, each with a mistake that only order shows.
#include <vector>

#include "cuda/intrinsics.cuh"
#include "watched.h"

namespace planet::tests {
namespace {

using namespace planet::cuda;

// ---- the two kinds of access to shared memory ----

enum class Fence { kNone, kOther, kLate, kAll };

// All threads write what thread 0 then copies within the block, from [0, 16) to [16, 32) of the
// block's four floats; `target`: what they write is the copy's target. kOther: only thread 0 has a
// fence, behind the barrier. kLate: all have one, but behind the barrier.
__global__ void writes_then_copies(Fence fence, bool target) {
  float* shared = reinterpret_cast<float*>(shared_memory());
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared + 16);
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    barrier_init_fence();
  }
  if (threadIdx.x / 4 == 7) shared[threadIdx.x % 4 + (target ? 4 : 0)] = 1.0f;
  if (fence == Fence::kAll) bulk_copy_fence();
  __syncthreads();
  if (fence == Fence::kLate || (fence == Fence::kOther && threadIdx.x == 0)) bulk_copy_fence();
  if (threadIdx.x == 0) {
    barrier_expect(barrier, 16);
    copy_to_peer(peer_address(shared + 4, 0), shared, 16, peer_address(barrier, 0));
  }
  barrier_wait(barrier, 0);
}

// Block 1 writes its panel, and tells block 0, which then copies into it.
__global__ void copies_over_writes(bool fence) {
  float* shared = reinterpret_cast<float*>(shared_memory());
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared + 16);
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    barrier_init_fence();
    barrier_expect(barrier, cluster_rank() == 1 ? 16 : 0);
  }
  if (cluster_rank() == 1 && threadIdx.x < 4) shared[threadIdx.x] = 2.0f;
  if (fence) bulk_copy_fence();
  cluster_arrive();
  cluster_wait();
  if (cluster_rank() == 0 && threadIdx.x == 0) {
    copy_to_peer(peer_address(shared, 1), shared + 4, 16, peer_address(barrier, 1));
  }
  barrier_wait(barrier, 0);
}

// Reads need no fence before a copy overwrites what was read, but order.
__global__ void copies_over_reads(bool barrier_between, float* out) {
  float* shared = reinterpret_cast<float*>(shared_memory());
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared + 16);
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    barrier_init_fence();
    barrier_expect(barrier, 16);
  }
  __syncthreads();
  if (threadIdx.x == 63) *out = shared[4];
  if (barrier_between) __syncthreads();
  if (threadIdx.x == 0) {
    copy_to_peer(peer_address(shared + 4, 0), shared, 16, peer_address(barrier, 0));
  }
  barrier_wait(barrier, 0);
}

// ---- barriers that count ----

enum class Start { kRight, kNoFence, kNoCluster, kNoBlock };

// Every block copies to its neighbour, whose barrier must be initialised by then.
__global__ void starts_barriers(Start start) {
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared_memory());
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    if (start != Start::kNoFence) barrier_init_fence();
    barrier_expect(barrier, start == Start::kNoBlock ? 0 : 16);
  }
  if (start != Start::kNoCluster && start != Start::kNoBlock) {
    cluster_arrive();
    cluster_wait();
  } else if (start == Start::kNoCluster) {
    __syncthreads();
    for (int i = 0; i < 100; ++i) __nanosleep(1);  // long enough, here
  } else {
    for (int i = 0; i < 100; ++i) __nanosleep(1);
  }
  if (threadIdx.x == 0 && start != Start::kNoBlock) {
    const uint32_t next = (cluster_rank() + 1) % 2;
    copy_to_peer(peer_address(shared_memory() + 32, next), shared_memory() + 16, 16,
                 peer_address(barrier, next));
  }
  barrier_wait(barrier, 0);
}

// Two warps arrive in every phase, the second one without having waited for the phase before.
__global__ void arrives_early(bool early) {
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared_memory());
  if (threadIdx.x == 0) barrier_init(barrier, 2);
  __syncthreads();
  for (uint32_t round = 0; round < 2; ++round) {
    if (threadIdx.x % 32 == 0) barrier_arrive(barrier);
    if (threadIdx.x < 32 || !early) barrier_wait(barrier, round);
    if (!early) __syncthreads();
  }
}

// Thread 0 completes a phase while others may still wait for the one before.
__global__ void completes_unwaited(bool barrier_between) {
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared_memory());
  if (threadIdx.x == 0) barrier_init(barrier, 1);
  __syncthreads();
  for (uint32_t round = 0; round < 3; ++round) {
    if (threadIdx.x == 0) barrier_arrive(barrier);
    barrier_wait(barrier, round & 1);
    if (barrier_between) __syncthreads();
  }
}

}  // namespace

TEST("bulk copies behind ordinary writes need a fence by the writers and order behind it") {
  const Launch block{1, 64, 256, nullptr};
  for (const bool target : {false, true}) {
    const std::string what = target ? "writes its target" : "reads its source";
    for (const Fence fence : {Fence::kNone, Fence::kOther, Fence::kLate}) {
      check_named(said(block, writes_then_copies, fence, target),
                  {what, "without bulk_copy_fence", "writes (test_emulator_copies.cpp:"});
    }
    check_fine(said(block, writes_then_copies, Fence::kAll, target));
  }
  const Launch cluster{2, 32, 256, nullptr, 2};
  check_named(said(cluster, copies_over_writes, false), {"without bulk_copy_fence", "(1,0,0)"});
  check_fine(said(cluster, copies_over_writes, true));
  float out = 0.0f;
  check_named(said(block, copies_over_reads, false, &out), {"race", "copy"});
  check_fine(said(block, copies_over_reads, true, &out));
}

TEST("barriers that count are used behind their initialisation, phase behind phase") {
  const Launch cluster{2, 32, 256, nullptr, 2}, block{1, 64, 256, nullptr};
  check_named(said(cluster, starts_barriers, Start::kNoFence), {"no barrier_init_fence"});
  check_named(said(cluster, starts_barriers, Start::kNoCluster), {"no barrier_init_fence"});
  check_named(said(cluster, starts_barriers, Start::kNoBlock), {"barrier's initialisation"});
  check_fine(said(cluster, starts_barriers, Start::kRight));
  check_named(said(block, arrives_early, true),
              {"race", "arrives in a phase of a barrier without"});
  check_fine(said(block, arrives_early, false));
  check_named(said(block, completes_unwaited, false), {"phase"});
  check_fine(said(block, completes_unwaited, true));
}

}  // namespace planet::tests
