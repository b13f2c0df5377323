// Mistakes that the emulator must find, each planted in a small kernel.
#include <cmath>
#include <string>
#include <vector>

#include "cuda/fragments.h"
#include "cuda/intrinsics.cuh"
#include "cuda/launch.h"
#include "harness.h"
#include "memory.h"

namespace planet::tests {
namespace {

using namespace planet::cuda;

// Runs `kernel` and returns what the launch said.
template <class... Parameters, class... Arguments>
std::string said(const Launch& how, void (*kernel)(Parameters...), Arguments... arguments) {
  const char* error = launch(how, kernel, arguments...);
  return error ? error : "nothing";
}

// Each part of `parts` occurs in what was said.
void check_said(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    if (text.find(part) == std::string::npos) {
      report_failure(__FILE__, __LINE__, "expected '" + part + "' in: " + text);
    }
  }
}

__device__ int lane() {
  return static_cast<int>(threadIdx.x % 32);
}

__device__ uint64_t* barrier_at(int offset) {
  return reinterpret_cast<uint64_t*>(shared_memory() + offset);
}

// ---- warps ----

__device__ void multiply() {
  float d[4] = {};
  const uint32_t a[4] = {};
  multiply_accumulate<Float16>(d, a, 0, 0);
}

__global__ void missing_lane() {
  if (lane() != 7) multiply();
}

__global__ void other_place() {
  float d[4] = {};
  const uint32_t a[4] = {};
  if (lane() < 16) {
    multiply_accumulate<Float16>(d, a, 0, 0);
  } else {
    multiply_accumulate<Float16>(d, a, 0, 0);
  }
}

__global__ void other_call() {
  if (lane() == 3) {
    __syncwarp();
  } else {
    multiply();
  }
}

__global__ void barrier_in_branch() {
  if (lane() == 5) __syncthreads();
  multiply();
}

__global__ void not_in_mask() {
  __shfl_sync(0xFFFFu, 1, 0);
}

__global__ void reads_outside_mask(int* out) {
  if (lane() < 16) out[lane()] = __shfl_sync(0xFFFFu, 1, 20);
}

__global__ void other_mask() {
  __any_sync(lane() == 0 ? 0x3u : 0x7u, 1);
}

__global__ void two_branches(int* out) {
  const unsigned int low = 0x0000FFFFu, high = 0xFFFF0000u;
  if (lane() < 16) {
    out[lane()] = __shfl_sync(low, lane(), 3);
  } else {
    out[lane()] = __shfl_sync(high, lane(), 20);
  }
}

// ---- blocks ----

__global__ void barrier_of_some() {
  if (threadIdx.x < 32) __syncthreads();
}

__global__ void barrier_after_return() {
  if (threadIdx.x >= 32) return;
  __syncthreads();
}

__global__ void two_barriers() {
  if (lane() < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void spins(uint32_t* counter) {
  while (load_acquire(counter) == 0) {
  }
}

// ---- memory ----

__global__ void reads_new_shared(float* out) {
  out[threadIdx.x] = reinterpret_cast<float*>(shared_memory())[threadIdx.x];
}

__global__ void writes_beside_shared(int offset) {
  if (threadIdx.x == 0) shared_memory()[offset] = 1;
}

__global__ void loads_matrix_at(int offset) {
  uint32_t r[4];
  load_matrix_x4(r, shared_memory() + offset + 16 * lane());
}

__global__ void loads_streaming_at(const unsigned char* data, int offset, uint4* out) {
  out[threadIdx.x] = load_streaming(reinterpret_cast<const uint4*>(data + offset) + threadIdx.x);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
__global__ void leaves_arrays(const int* data, int64_t offset, int* out) {
  *out = data[offset];
}

__global__ void overflows_stack(int depth, float* out) {
  volatile float frame[2048];
  for (int i = 0; i < 2048; ++i) frame[i] = static_cast<float>(i);
  if (depth > 0) overflows_stack(depth - 1, out);
  *out = frame[depth];
}
#endif

// ---- clusters and bulk copies ----

struct CopyMistake {
  uint32_t bytes, expected, target_offset, source_offset;
  bool wait, twice;
};

// A block of one copies within its own shared memory, from offset 256 on.
__global__ void copies(CopyMistake m) {
  uint64_t* barrier = barrier_at(0);
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    barrier_expect(barrier, m.expected);
    if (m.twice) barrier_expect(barrier, m.expected);
    copy_to_peer(peer_address(shared_memory(), 0) + m.target_offset,
                 shared_memory() + 256 + m.source_offset, m.bytes, peer_address(barrier, 0));
  }
  __syncthreads();
  if (m.wait) barrier_wait(barrier, 0);
}

__global__ void waits_uninitialised() {
  barrier_wait(barrier_at(0), 0);
}

__global__ void waits_wrong_parity(int* out) {
  uint64_t* barrier = barrier_at(0);
  if (threadIdx.x == 0) barrier_init(barrier, 1);
  __syncthreads();
  if (threadIdx.x == 0) {
    barrier_arrive(barrier);
  } else {
    barrier_wait(barrier, 0);  // complete
    barrier_wait(barrier, 1);  // never
  }
  *out = 1;
}

// Thread 1 waits for the first phase; thread 0 completes the second one as well, which thread 1
// should have allowed first.
__global__ void overruns_waiter() {
  uint64_t* barrier = barrier_at(0);
  if (threadIdx.x == 0) barrier_init(barrier, 1);
  __syncthreads();
  if (threadIdx.x == 1) {
    barrier_wait(barrier, 0);
  } else if (threadIdx.x == 0) {
    __nanosleep(1);
    barrier_arrive(barrier);
    barrier_arrive(barrier);
  }
}

__global__ void waits_without_arrival() {
  cluster_wait();
}

__global__ void leaves_cluster_early() {
  if (cluster_rank() != 1) {
    cluster_arrive();
    cluster_wait();
  }
}

// Block 0 copies to block 1, which does not wait for it.
__global__ void copies_to_ended_peer() {
  uint64_t* barrier = barrier_at(0);
  if (threadIdx.x == 0) barrier_init(barrier, 1);
  barrier_init_fence();
  cluster_arrive();
  cluster_wait();
  if (cluster_rank() == 0 && threadIdx.x == 0) {
    for (int i = 0; i < 100; ++i) __nanosleep(1);
    copy_to_peer(peer_address(shared_memory() + 64, 1), shared_memory() + 64, 16,
                 peer_address(barrier, 1));
  }
}

__global__ void nothing() {}

}  // namespace

TEST("emulator finds lanes that go different ways") {
  const Launch warp{1, 32, 512, nullptr};
  check_said(said(warp, missing_lane), {"lane 7", "the kernel's end", "multiply_accumulate"});
  check_said(said(warp, other_place), {"lane 16", "lanes 0-15 wait for this one", "test_emulator"});
  check_said(said(warp, other_call), {"lane 3", "__syncwarp", "multiply_accumulate"});
  check_said(said(warp, barrier_in_branch), {"lane 5 ", "__syncthreads", "lanes 0-4 wait"});
  check_said(said(warp, not_in_mask), {"lane 16", "not in its own mask 0x0000FFFF"});
  int out[32];
  check_said(said(warp, reads_outside_mask, out), {"reads lane 20"});
  check_said(said(warp, other_mask), {"lane 1 ", "__any_sync", "0x00000003"});
  check_said(said({1, 16, 0, nullptr}, multiply), {"lanes 16-31 of the mask do not exist"});
  CHECK_EQUAL(said(warp, two_branches, out), std::string("nothing"));
  CHECK_EQUAL(out[0], 3);
  CHECK_EQUAL(out[31], 20);
}

TEST("emulator finds barriers that not all threads come to") {
  const Launch block{1, 64, 0, nullptr};
  check_said(said(block, barrier_of_some), {"left the kernel while other threads"});
  check_said(said({2, 64, 0, nullptr}, barrier_after_return), {"block (0,0,0)", "__syncthreads"});
  check_said(said(block, two_barriers), {"lane 16", "lane 0 of the warp came to the one at"});
  uint32_t counter = 0;
  check_said(said(block, spins, &counter), {"deadlock", "warp 1 lanes 0-31 at load_acquire"});
}

TEST("emulator finds memory that is new, misaligned or not the block's") {
  std::vector<float> floats(32);
  CHECK_EQUAL(said({1, 32, 128, nullptr}, reads_new_shared, floats.data()), std::string("nothing"));
  for (const float x : floats) CHECK(std::isnan(x));
  check_said(said({1, 32, 104, nullptr}, writes_beside_shared, 104), {"beside its shared memory"});
  check_said(said({1, 32, 104, nullptr}, writes_beside_shared, -1), {"beside its shared memory"});
  CHECK_EQUAL(said({1, 32, 104, nullptr}, writes_beside_shared, 103), std::string("nothing"));
  check_said(said({1, 32, 1024, nullptr}, loads_matrix_at, 8), {"lane 0", "multiple of 16"});
  check_said(said({1, 32, 512, nullptr}, loads_matrix_at, 16), {"lane 31", "outside the block's"});
  CHECK_EQUAL(said({1, 32, 512, nullptr}, loads_matrix_at, 0), std::string("nothing"));
  alignas(16) unsigned char data[33 * 16] = {};
  uint4 out[32];
  check_said(said({1, 32, 0, nullptr}, loads_streaming_at, data, 8, out), {"multiple of 16"});
  CHECK_EQUAL(said({1, 32, 0, nullptr}, loads_streaming_at, data, 16, out), std::string("nothing"));
  CHECK_EQUAL(emulator::last_launch().streamed_bytes, 512);
}

TEST("emulator counts bank conflicts of matrix loads") {
  CHECK(launch({1, 32, 8192, nullptr}, loads_matrix_at, 0) == nullptr);
  CHECK_EQUAL(emulator::last_launch().load_matrix_conflicts, 0);
  const auto strided = +[](int stride) {
    uint32_t r[4];
    load_matrix_x4(r, shared_memory() + stride * lane());
  };
  for (const auto& [stride, conflicts] : {std::pair{32, 1}, {64, 3}, {128, 7}, {256, 7}, {0, 0}}) {
    CHECK(launch({1, 32, 8192, nullptr}, strided, stride) == nullptr);
    CHECK_EQUAL(emulator::last_launch().load_matrix_conflicts, 4 * conflicts);
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they stop at once
TEST("emulator names the thread that meets a page without access") {
  float value;
  check_said(said({1, 40, 0, nullptr}, overflows_stack, 9, &value), {"lane 0 ", "stack overflow"});
  int out;
  const Fenced<int> fenced(100);
  const int* data = fenced.data();
  CHECK_EQUAL(said({1, 1, 0, nullptr}, leaves_arrays, data, 99, &out), std::string("nothing"));
  check_said(said({1, 1, 0, nullptr}, leaves_arrays, data, 100, &out),
             {"block (0,0,0) warp 0 lane 0", "without access"});
  check_said(said({1, 1, 1024, nullptr}, writes_beside_shared, 1024), {"0 bytes beyond", "shared"});
  check_said(said({1, 1, 1024, nullptr}, writes_beside_shared, 1124), {"100 bytes beyond"});
}
#endif

TEST("emulator finds bulk copies whose bytes, addresses or barriers are wrong") {
  const Launch block{1, 32, 512, nullptr};
  const auto copied = [&](const CopyMistake& m) { return said(block, copies, m); };
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const emulator::JitterScope jitter(seed);
    CHECK_EQUAL(copied({64, 64, 16, 0, true, false}), std::string("nothing"));
    check_said(copied({64, 80, 16, 0, true, false}), {"deadlock", "barrier_wait", "16 bytes"});
    check_said(copied({64, 48, 16, 0, true, false}), {"deadlock", "barrier_wait", "-16 bytes"});
    check_said(copied({64, 64, 16, 0, true, true}), {"more arrivals in a phase than"});
    check_said(copied({60, 60, 16, 0, true, false}), {"60 bytes: not a multiple of 16"});
    check_said(copied({64, 64, 24, 0, true, false}), {"multiple of 16"});
    check_said(copied({64, 64, 16, 8, true, false}), {"multiple of 16"});
    check_said(copied({64, 64, 464, 0, true, false}), {"beyond the peer's shared memory"});
    check_said(copied({64, 64, 16, 208, true, false}), {"outside the block's shared memory"});
    // The block ends while the copy is under way, or before the bytes that it expects.
    check_said(copied({64, 128, 16, 0, false, false}), {"when the blocks"});
  }
  check_said(said(block, waits_uninitialised), {"not an initialised barrier"});
  int out;
  check_said(said({1, 2, 256, nullptr}, waits_wrong_parity, &out),
             {"deadlock", "lanes 1 at barrier_wait", "awaits 1 of 1 arrivals"});
  check_said(said({1, 2, 256, nullptr}, overruns_waiter), {"lane 1 ", "a whole phase ahead"});
}

TEST("emulator finds blocks of a cluster that leave each other") {
  const Launch cluster{4, 32, 256, nullptr, 4};
  check_said(said(cluster, waits_without_arrival), {"without cluster_arrive"});
  check_said(said(cluster, leaves_cluster_early), {"deadlock", "cluster_wait"});
  check_said(said({2, 32, 256, nullptr, 2}, copies_to_ended_peer), {"peer have left the kernel"});
}

TEST("emulator refuses what a device would") {
  check_said(said({1, 2048, 0, nullptr}, nothing), {"more than 1024 threads"});
  check_said(said({0, 32, 0, nullptr}, nothing), {"empty grid"});
  check_said(said({6, 32, 0, nullptr, 4}, nothing), {"multiple"});
  CHECK_EQUAL(said({1, 32, 232448, nullptr}, nothing), std::string("nothing"));
  check_said(said({1, 32, 232449, nullptr}, nothing), {"232449 bytes of shared memory"});
  check_said(said({133, 32, 200000, nullptr, 1, true}, nothing), {"too many blocks"});
  const emulator::DeviceScope small(emulator::Device::sm_120());
  check_said(said({1, 32, 101377, nullptr}, nothing), {"101377 bytes of shared memory"});
  const emulator::DeviceScope old(emulator::Device::sm_80());
  check_said(said({4, 32, 0, nullptr, 4}, nothing), {"sm_90"});
}

}  // namespace planet::tests
