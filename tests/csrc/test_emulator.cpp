// The emulator itself: small kernels whose results are known.
#include <vector>

#include "cuda/intrinsics.cuh"
#include "cuda/launch.h"
#include "harness.h"
#include "memory.h"

namespace planet::tests {
namespace {

using namespace planet::cuda;

const char* shown(const char* error) {
  return error ? error : "";
}

// Sums of blocks: through shared memory and barriers, then by shuffles.
__global__ void sum_kernel(const int* values, int* sums) {
  int* shared = reinterpret_cast<int*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x), size = static_cast<int>(blockDim.x);
  shared[thread] = values[static_cast<int>(blockIdx.x) * size + thread];
  __syncthreads();
  for (int step = size / 2; step >= 32; step /= 2) {
    if (thread < step) shared[thread] += shared[thread + step];
    __syncthreads();
  }
  if (thread >= 32) return;
  int sum = shared[thread];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(kFullWarp, sum, step);
  if (thread == 0) atomicAdd(&sums[blockIdx.x % 2], sum);
}

// Every block of a cluster sends its 16 bytes to every block by bulk copies.
__global__ void gather_kernel(int* out) {
  int* shared = reinterpret_cast<int*>(shared_memory());
  int* gathered = shared + 4;
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared + 32);
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    barrier_init_fence();
    barrier_expect(barrier, 4 * 16);
  }
  if (threadIdx.x < 4) shared[threadIdx.x] = static_cast<int>(100 * blockIdx.x + threadIdx.x);
  bulk_copy_fence();
  cluster_arrive();
  cluster_wait();
  if (threadIdx.x < 4) {
    copy_to_peer(peer_address(gathered + 4 * cluster_rank(), threadIdx.x), shared, 16,
                 peer_address(barrier, threadIdx.x));
  }
  barrier_wait(barrier, 0);
  if (threadIdx.x < 16) out[blockIdx.x * 16 + threadIdx.x] = gathered[threadIdx.x];
  cluster_arrive();
  cluster_wait();
}

// All blocks wait for all others.
__global__ void grid_kernel(uint32_t* counter, int* values, int* out) {
  if (threadIdx.x == 0) {
    values[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
    add_release(counter, 1);
    while (load_acquire(counter) < gridDim.x) {
    }
    int sum = 0;
    for (unsigned int i = 0; i < gridDim.x; ++i) sum += values[i];
    out[blockIdx.x] = sum;
  }
}

}  // namespace

TEST("emulator: a block's sum by barriers and shuffles, in any order of threads") {
  std::vector<int> values(6 * 256);
  int expected[2] = {0, 0};
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<int>(i * i % 1000);
    expected[i / 256 % 2] += values[i];
  }
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const emulator::JitterScope jitter(seed);
    Fenced<int> sums(std::vector<int>{0, 0});
    CHECK_EQUAL(
        shown(launch({6, 256, 256 * sizeof(int), nullptr}, sum_kernel, values.data(), sums.data())),
        std::string());
    CHECK_EQUAL(sums.data()[0], expected[0]);
    CHECK_EQUAL(sums.data()[1], expected[1]);
  }
  CHECK_EQUAL(emulator::last_launch().blocks, 6);
}

TEST("emulator: blocks of a cluster exchange by bulk copies, in any order") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const emulator::JitterScope jitter(seed);
    Fenced<int> out(8 * 16);
    CHECK_EQUAL(shown(launch({8, 64, 256, nullptr, 4}, gather_kernel, out.data())), std::string());
    for (int block = 0; block < 8; ++block) {
      for (int i = 0; i < 16; ++i) {
        CHECK_EQUAL(out.data()[block * 16 + i], 100 * (block / 4 * 4 + i / 4) + i % 4);
      }
    }
    CHECK_EQUAL(emulator::last_launch().bulk_bytes, 8 * 4 * 16);
  }
}

TEST("emulator: blocks of a cooperative launch wait for each other, others cannot") {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const emulator::JitterScope jitter(seed);
    uint32_t counter = 0;
    std::vector<int> values(12), out(12);
    CHECK_EQUAL(shown(launch({12, 64, 0, nullptr, 1, true}, grid_kernel, &counter, values.data(),
                             out.data())),
                std::string());
    for (const int sum : out) CHECK_EQUAL(sum, 12 * 13 / 2);
  }
  uint32_t counter = 0;
  std::vector<int> values(12), out(12);
  const std::string error =
      shown(launch({12, 64, 0, nullptr}, grid_kernel, &counter, values.data(), out.data()));
  CHECK(error.find("deadlock") != std::string::npos);
  CHECK(error.find("load_acquire") != std::string::npos);
}

}  // namespace planet::tests
