// Races planted in small kernels, for ThreadSanitizer: each is found, and what is ordered is not.
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "cuda/intrinsics.cuh"
#include "cuda/launch.h"
#include "harness.h"
#include "memory.h"

#ifdef __SANITIZE_THREAD__

namespace planet::tests {
namespace {

using namespace planet::cuda;

constexpr int kClean = 0, kRace = 42, kOther = 1;
bool exit_on_report = false;

// Runs `body` in a process of its own: kRace if ThreadSanitizer reports one.
template <class Body>
int outcome(bool quiet, const Body& body) {
  fflush(nullptr);
  emulator::forget_threads();
  const pid_t child = fork();
  if (child == 0) {
    exit_on_report = true;
    if (quiet && freopen("/dev/null", "w", stderr) == nullptr) _exit(kOther);
    body();
    _exit(kClean);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : kOther;
}

// Which barrier a kernel has; kNone plants the race.
enum class Order { kNone, kWarp, kBlock, kCluster, kCopy, kRelease };

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
    barrier_expect(barrier, 16);
    shared[0] = 1;
    copy_to_peer(peer_address(shared + 4, 0), shared, 16, peer_address(barrier, 0));
    if (order == Order::kCopy) barrier_wait(barrier, 0);
    shared[0] = 2;
    barrier_wait(barrier, 0);
  }
}

// Blocks hand on a value in global memory.
__global__ void exchange_in_grid(Order order, uint32_t* counter, int* values, int* out) {
  if (threadIdx.x != 0) return;
  values[blockIdx.x] = 1;
  if (order == Order::kRelease) {
    add_release(counter, 1);
  } else {
    atomicAdd(counter, 1u);
  }
  while (load_acquire(counter) < gridDim.x) {
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

void run_or_exit(const char* error) {
  if (error == nullptr) return;
  fprintf(stderr, "%s\n", error);
  _exit(kOther);
}

// Runs a kernel in order and in random orders.
template <class... Arguments>
int outcome_of(bool quiet, const Launch& how, Arguments... arguments) {
  return outcome(quiet, [&] {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      const emulator::JitterScope jitter(seed);
      run_or_exit(launch(how, arguments...));
    }
  });
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void __tsan_on_report(void*) {
  if (exit_on_report) _exit(kRace);
}

TEST("races in a block are found where a barrier is missing, and nowhere else") {
  std::vector<int> out(256);
  const Launch warp{1, 32, 1024, nullptr};
  CHECK_EQUAL(outcome_of(true, warp, exchange_in_block, Order::kNone, out.data()), kRace);
  CHECK_EQUAL(outcome_of(false, warp, exchange_in_block, Order::kWarp, out.data()), kClean);
  CHECK_EQUAL(outcome_of(true, {1, 64, 1024, nullptr}, exchange_in_block, Order::kWarp, out.data()),
              kRace);
  CHECK_EQUAL(
      outcome_of(false, {1, 64, 1024, nullptr}, exchange_in_block, Order::kBlock, out.data()),
      kClean);
  CHECK_EQUAL(outcome_of(true, {1, 64, 1024, nullptr}, rounds_in_block, false, out.data()), kRace);
  CHECK_EQUAL(outcome_of(false, {1, 64, 1024, nullptr}, rounds_in_block, true, out.data()), kClean);
  CHECK_EQUAL(outcome_of(true, warp, exchange_by_shuffle, out.data()), kRace);
  std::vector<uint32_t> words(32);
  CHECK_EQUAL(outcome_of(true, warp, loads_matrix_of, Order::kNone, words.data()), kRace);
  CHECK_EQUAL(outcome_of(false, warp, loads_matrix_of, Order::kWarp, words.data()), kClean);
}

TEST("races in a cluster are found where a copy is not waited for, and nowhere else") {
  std::vector<int> out(128);
  const Launch cluster{4, 32, 256, nullptr, 2};
  CHECK_EQUAL(outcome_of(true, cluster, exchange_in_cluster, Order::kNone, out.data()), kRace);
  CHECK_EQUAL(outcome_of(false, cluster, exchange_in_cluster, Order::kCopy, out.data()), kClean);
  CHECK_EQUAL(outcome_of(true, {1, 32, 256, nullptr}, overwrites_source, Order::kNone), kRace);
  CHECK_EQUAL(outcome_of(false, {1, 32, 256, nullptr}, overwrites_source, Order::kCopy), kClean);
}

TEST("races in a grid are found between blocks, and nowhere else") {
  std::vector<int> values(8), out(8);
  const Launch grid{8, 32, 0, nullptr, 1, true};
  const auto exchanged = [&](Order order) {
    return outcome(order == Order::kNone, [&] {
      uint32_t counter = 0;
      for (int i = 0; i < 2; ++i) {
        run_or_exit(launch(grid, exchange_in_grid, order, &counter, values.data(), out.data()));
        counter = 0;  // launches follow one another
      }
    });
  };
  CHECK_EQUAL(exchanged(Order::kNone), kRace);
  CHECK_EQUAL(exchanged(Order::kRelease), kClean);
  CHECK_EQUAL(outcome_of(true, {8, 1, 0, nullptr}, every_block_writes, 0, out.data()), kRace);
  CHECK_EQUAL(outcome_of(false, {8, 1, 0, nullptr}, every_block_writes, 1, out.data()), kClean);
  CHECK_EQUAL(outcome_of(false, {8, 32, 0, nullptr}, counts, out.data()), kClean);
}

}  // namespace planet::tests

#endif
