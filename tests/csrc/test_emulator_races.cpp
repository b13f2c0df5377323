// Missing order, planted in small kernels: each mistake is named, and what is ordered is not.
#include <vector>

#include "cuda/intrinsics.cuh"
#include "cuda/launch.h"
#include "watched.h"

namespace planet::tests {
namespace {

using namespace planet::cuda;

// Which barrier a kernel has; kNone plants the race.
enum class Order { kNone, kWarp, kBlock, kCopy, kRelease, kAcquire };

// Threads write, then read what their neighbour wrote.
__global__ void exchange_in_block(Order order, int* out) {
  int* shared = reinterpret_cast<int*>(shared_memory());
  const unsigned int thread = threadIdx.x, neighbour = (thread + 1) % blockDim.x;
  shared[thread] = static_cast<int>(thread);
  if (order == Order::kWarp) __syncwarp();
  if (order == Order::kBlock) __syncthreads();
  out[thread] = shared[neighbour];
}

// The second barrier is missing: the next round overwrites what others still read.
__global__ void rounds_in_block(bool second_barrier, int* out) {
  int* shared = reinterpret_cast<int*>(shared_memory());
  const unsigned int thread = threadIdx.x, neighbour = (thread + 1) % blockDim.x;
  for (int round = 0; round < 3; ++round) {
    shared[thread] = round;
    __syncthreads();
    out[thread] += shared[neighbour];
    if (second_barrier) __syncthreads();
  }
}

// A shuffle orders no memory.
__global__ void exchange_by_shuffle(int* out) {
  int* shared = reinterpret_cast<int*>(shared_memory());
  shared[threadIdx.x] = 1;
  __shfl_xor_sync(kFullWarp, 1, 1);
  out[threadIdx.x] = shared[threadIdx.x ^ 1];
}

__global__ void loads_matrix_of(Order order, uint32_t* out) {
  uint16_t* shared = reinterpret_cast<uint16_t*>(shared_memory());
  for (int i = 0; i < 8; ++i) shared[8 * threadIdx.x + static_cast<unsigned>(i)] = 1;
  if (order == Order::kWarp) __syncwarp();
  uint32_t r[4];
  load_matrix_x4(r, shared + 8 * (threadIdx.x ^ 1));
  out[threadIdx.x] = r[0];
}

// Thread 0 of each block sends 16 bytes to the next block, which reads them.
__global__ void exchange_in_cluster(Order order, int* out) {
  int* shared = reinterpret_cast<int*>(shared_memory());
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared + 16);
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    barrier_expect(barrier, 16);
    for (int i = 0; i < 4; ++i) shared[i] = i;
  }
  barrier_init_fence();
  bulk_copy_fence();
  cluster_arrive();
  cluster_wait();
  if (threadIdx.x == 0) {
    const uint32_t next = (cluster_rank() + 1) % 2;
    copy_to_peer(peer_address(shared + 4, next), shared, 16, peer_address(barrier, next));
  }
  if (order == Order::kCopy) barrier_wait(barrier, 0);
  out[blockIdx.x * 32 + threadIdx.x] = shared[4 + threadIdx.x % 4];
  cluster_arrive();
  cluster_wait();
  if (order == Order::kNone) barrier_wait(barrier, 0);
}

// The source of a copy is overwritten before the copy is known to be complete.
__global__ void overwrites_source(Order order) {
  int* shared = reinterpret_cast<int*>(shared_memory());
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared + 16);
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    barrier_init_fence();
    barrier_expect(barrier, 16);
    shared[0] = 1;
    bulk_copy_fence();
    copy_to_peer(peer_address(shared + 4, 0), shared, 16, peer_address(barrier, 0));
    if (order == Order::kCopy) barrier_wait(barrier, 0);
    shared[0] = 2;
    barrier_wait(barrier, 0);
  }
}

// Blocks hand on a value in global memory; kRelease and kAcquire lack the other half.
__global__ void exchange_in_grid(Order order, uint32_t* counter, int* values, int* out) {
  if (threadIdx.x != 0) return;
  values[blockIdx.x] = 1;
  if (order == Order::kAcquire) {
    atomicAdd(counter, 1u);
  } else {
    add_release(counter, 1);
  }
  if (order == Order::kRelease) {
    while (atomicAdd(counter, 0u) < gridDim.x) __nanosleep(1);
  } else {
    while (load_acquire(counter) < gridDim.x) {
    }
  }
  out[blockIdx.x] = values[(blockIdx.x + 1) % gridDim.x];
}

// Blocks that run one after another here, but at the same time on a device.
__global__ void every_block_writes(int stride, int* out) {
  out[static_cast<int>(blockIdx.x) * stride] = 1;
}

__global__ void counts(int* out) {
  atomicAdd(out, 1);
}

// ---- workspaces ----

// Blocks use a list in global memory.
__global__ void uses_workspace(int stride, int* workspace, int* out) {
  int* list = workspace + static_cast<int>(blockIdx.x) * stride;
  list[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = list[(threadIdx.x + 1) % blockDim.x];
}

const std::vector<std::string> kRace = {"race: not ordered with", "test_emulator_races.cpp:"};

}  // namespace

TEST("races in a block are found where a barrier is missing, and nowhere else") {
  std::vector<int> out(256);
  const Launch warp{1, 32, 1024, nullptr}, block{1, 64, 1024, nullptr};
  check_named(said(warp, exchange_in_block, Order::kNone, out.data()), kRace);
  check_fine(said(warp, exchange_in_block, Order::kWarp, out.data()));
  check_named(said(block, exchange_in_block, Order::kWarp, out.data()), kRace);
  check_fine(said(block, exchange_in_block, Order::kBlock, out.data()));
  check_named(said(block, rounds_in_block, false, out.data()), kRace);
  check_fine(said(block, rounds_in_block, true, out.data()));
  check_named(said(warp, exchange_by_shuffle, out.data()), kRace);
  std::vector<uint32_t> words(32);
  check_named(said(warp, loads_matrix_of, Order::kNone, words.data()), kRace);
  check_fine(said(warp, loads_matrix_of, Order::kWarp, words.data()));
}

TEST("races in a cluster are found where a copy is not waited for, and nowhere else") {
  std::vector<int> out(128);
  const Launch cluster{4, 32, 256, nullptr, 2}, warp{1, 32, 256, nullptr};
  check_named(said(cluster, exchange_in_cluster, Order::kNone, out.data()), {"race", "copy"});
  check_fine(said(cluster, exchange_in_cluster, Order::kCopy, out.data()));
  check_named(said(warp, overwrites_source, Order::kNone), {"race", "copy"});
  check_fine(said(warp, overwrites_source, Order::kCopy));
}

TEST("races in a grid are found between blocks, and nowhere else") {
  std::vector<int> values(8), out(8);
  const Launch grid{8, 32, 0, nullptr, 1, true};
  for (const Order order : {Order::kNone, Order::kRelease, Order::kAcquire}) {
    uint32_t counter = 0;
    const auto run = [&] {
      counter = 0;
      const char* error =
          launch(grid, exchange_in_grid, order, &counter, values.data(), out.data());
      return std::string(error ? error : "nothing");
    };
    if (order == Order::kNone) {
      check_fine(run());
      check_fine(run());  // launches follow one another
    } else {
      check_named(run(), kRace);
    }
  }
  check_named(said({8, 1, 0, nullptr}, every_block_writes, 0, out.data()), kRace);
  check_fine(said({8, 1, 0, nullptr}, every_block_writes, 1, out.data()));
  check_fine(said({8, 32, 0, nullptr}, counts, out.data()));
}

TEST("a workspace that blocks, or launches on two streams, use at the same time is a race") {
  std::vector<int> workspace(4 * 64), out(4 * 64);
  const auto run = [&](void* stream, int stride, int* at) {
    const char* error = launch({4, 64, 0, stream}, uses_workspace, stride, at, out.data());
    return std::string(error ? error : "nothing");
  };
  check_fine(run(nullptr, 64, workspace.data()));
  check_named(run(nullptr, 63, workspace.data()), {"race", "block number 0 or one"});
  check_named(run(nullptr, 0, workspace.data()), {"race", "block number 0 or one"});
  int streams[2];
  check_fine(run(streams, 64, workspace.data()));
  check_fine(run(streams, 64, workspace.data()));
  check_named(run(streams + 1, 64, workspace.data()), {"race", "a launch on another stream"});
  emulator::synchronize();
  check_fine(run(streams + 1, 64, workspace.data()));
  check_fine(run(nullptr, 64, workspace.data()));  // comes behind all others
}

}  // namespace planet::tests
