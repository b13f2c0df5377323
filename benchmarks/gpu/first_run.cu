// What a GPU does with the patterns that the planner's kernels are built of: one line of JSON per
// figure. `first_run SECTION`; first_run.py builds it and runs every section in a process of its
// own. Compiles for sm_90a and newer (clusters, bulk copies between shared memories).
// Every section checks what it computes; waits are bounded, so that a mistake ends the kernel.
#include "first_run.cuh"

#include <cooperative_groups.h>
#include <cuda_fp16.h>

#include <cstring>

#include "../../csrc/cuda/persistent/layout.h"

namespace cg = cooperative_groups;

namespace {

// Shared memory of a block of the persistent planner: the paper's sizes on cheetah-run.
constexpr planet::ModelSizes kPaper{200, 30, 6, 200, 3, {200, 200, 1}, false, false};
constexpr int kResident = planet::cuda::persistent_layout(kPaper, 13, 0).bytes;

__global__ __launch_bounds__(256, 1) void resident(float* out) {
  out[threadIdx.x] = shared[threadIdx.x];
}

void clusters() {
  check(cudaFuncSetAttribute(resident, cudaFuncAttributeMaxDynamicSharedMemorySize, kResident),
        "shared memory of the persistent planner");
  check(cudaFuncSetAttribute(resident, cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
        "clusters of 16");
  for (unsigned size : {1, 2, 3, 4, 5, 6, 7, 8, 16}) {
    cudaLaunchAttribute cluster{};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {size, 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(size * 256);
    config.blockDim = dim3(256);
    config.dynamicSmemBytes = kResident;
    config.attrs = &cluster;
    config.numAttrs = 1;
    int active = -1;
    const cudaError_t error = cudaOccupancyMaxActiveClusters(&active, resident, &config);
    std::printf(
        "{\"cluster\": %u, \"shared_bytes\": %d, \"active_clusters\": %d, \"status\": \"%s\"}\n",
        size, kResident, active, cudaGetErrorString(error));
    cudaGetLastError();
  }
}

// One block sends to the next and waits for its answer, over and over.
__global__ void ping_pong(int rounds, uint32_t bytes, long long* cycles) {
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared);
  unsigned char* from = shared + 128;
  unsigned char* to = from + bytes;
  cg::cluster_group cluster = cg::this_cluster();
  const uint32_t rank = cluster.block_rank();
  if (threadIdx.x == 0) {
    barrier_init(barrier);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  for (uint32_t i = threadIdx.x; i < bytes; i += blockDim.x) from[i] = 1 + rank;
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  cluster.sync();
  if (threadIdx.x == 0) {
    const long long began = clock64();
    for (int round = 0; round < rounds; ++round) {
      barrier_expect(barrier, bytes);
      if (rank == 0) copy_to(1, to, from, bytes, barrier);
      barrier_wait(barrier, round & 1);
      if (rank == 1) copy_to(0, to, from, bytes, barrier);
    }
    if (rank == 0) *cycles = clock64() - began;
    if (to[bytes - 1] != 2 - rank) __trap();
  }
  __syncthreads();
  cluster.sync();  // a block that has ended must not be written
}

// Every block sends pieces of 512 bytes to all others of its cluster and waits for theirs; two
// buffers by turns, so that nobody is overtaken: who sends round i + 2 has everybody's i + 1.
__global__ void all_gather(int rounds, int pieces, long long* cycles) {
  constexpr uint32_t kPiece = 512;
  uint64_t* barriers = reinterpret_cast<uint64_t*>(shared);
  cg::cluster_group cluster = cg::this_cluster();
  const uint32_t rank = cluster.block_rank(), size = cluster.num_blocks();
  unsigned char* from = shared + 128;
  unsigned char* gathered = from + pieces * kPiece;  // [2][size][pieces][512]
  if (threadIdx.x == 0) {
    barrier_init(barriers);
    barrier_init(barriers + 1);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  for (int i = threadIdx.x; i < pieces * static_cast<int>(kPiece); i += blockDim.x) {
    from[i] = static_cast<unsigned char>(1 + rank);
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  cluster.sync();
  const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const long long began = clock64();
  for (int round = 0; round < rounds; ++round) {
    uint64_t* barrier = barriers + (round & 1);
    unsigned char* to = gathered + ((round & 1) * size + rank) * pieces * kPiece;
    if (threadIdx.x == 0) barrier_expect(barrier, (size - 1) * pieces * kPiece);
    if (threadIdx.x % 32 == 0) {
      for (int piece = warp; piece < pieces; piece += warps) {
        for (uint32_t step = 1; step < size; ++step) {
          copy_to((rank + step) % size, to + piece * kPiece, from + piece * kPiece, kPiece,
                  barrier);
        }
      }
    }
    barrier_wait(barrier, (round >> 1) & 1);
    __syncthreads();
  }
  if (threadIdx.x == 0 && blockIdx.x == 0) *cycles = clock64() - began;
  for (uint32_t other = 0; other < size; ++other) {
    if (other == rank) continue;
    const unsigned char* got = gathered + other * pieces * kPiece;
    for (int i = threadIdx.x; i < pieces * static_cast<int>(kPiece); i += blockDim.x) {
      if (got[i] != 1 + other) __trap();
    }
  }
  cluster.sync();
}

void distributed_shared() {
  long long* cycles = device_array<long long>(1);
  const auto read = [&] {
    long long value = 0;
    check(cudaMemcpy(&value, cycles, sizeof value, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return static_cast<double>(value);
  };
  const int rounds = 2000;
  for (uint32_t bytes : {16u, 512u, 4096u}) {
    const double ms = milliseconds(
        [&] { launch(ping_pong, 2, 32, 128 + 2 * bytes, 2, false, rounds, bytes, cycles); });
    std::printf("{\"one_way_bytes\": %u, \"cycles\": %.0f, \"ns\": %.0f}\n", bytes,
                read() / rounds / 2, 1e6 * ms / rounds / 2);
  }
  const int sms = attribute(cudaDevAttrMultiProcessorCount);
  for (int size : {2, 4, 8}) {
    for (int pieces : {1, 4, 6, 7, 13}) {
      const size_t bytes = 128 + static_cast<size_t>(1 + 2 * size) * pieces * 512;
      for (int count : {1, sms / size * 9 / 10}) {  // alone, and with nearly all of the GPU
        const double ms = milliseconds([&] {
          launch(all_gather, count * size, 256, bytes, size, false, rounds, pieces, cycles);
        });
        const double received = (size - 1) * pieces * 512.0;
        std::printf(
            "{\"all_gather_cluster\": %d, \"clusters\": %d, \"bytes_received\": %.0f, "
            "\"cycles\": %.0f, \"ns\": %.0f, \"bytes_per_cycle\": %.2f}\n",
            size, count, received, read() / rounds, 1e6 * ms / rounds, received * rounds / read());
      }
    }
  }
}

__global__ void grid_barrier(int rounds, unsigned int* counter, unsigned int* seen) {
  for (int round = 0; round < rounds; ++round) {
    __syncthreads();
    if (threadIdx.x == 0) {
      const unsigned int target = (round + 1) * gridDim.x;
      asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
      unsigned int value = 0;
      for (int tries = 0; value < target && tries < (1 << 24); ++tries) {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(counter) : "memory");
      }
      if (value < target) __trap();
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) atomicAdd(seen, 1u);
}

void grid_barriers() {
  unsigned int* counters = device_array<unsigned int>(2);
  const int sms = attribute(cudaDevAttrMultiProcessorCount), rounds = 2000;
  for (int blocks : {32, sms - sms / 16, sms}) {
    const double ms = milliseconds([&] {
      check(cudaMemsetAsync(counters, 0, 2 * sizeof *counters), "cudaMemsetAsync");
      launch(grid_barrier, blocks, 256, 0, 1, true, rounds, counters, counters + 1);
    });
    unsigned int seen = 0;
    check(cudaMemcpy(&seen, counters + 1, sizeof seen, cudaMemcpyDeviceToHost), "cudaMemcpy");
    require(seen == static_cast<unsigned int>(blocks), "grid barrier: blocks are missing");
    std::printf("{\"grid_barrier_blocks\": %d, \"ns\": %.0f}\n", blocks, 1e6 * ms / rounds);
  }
}

// Products with all operands in registers: chains of `kChains` accumulators per warp.
template <int kChains>
__global__ void products(int rounds, float* out, long long* cycles) {
  float sums[kChains][4] = {};
  uint32_t a[4], b[kChains][2];
  const auto pair = [](uint32_t seed) {  // two numbers in (-1, 1), not zeros
    const float x = ((seed * 2654435761u >> 8) & 0xFFFF) / 32768.0f - 1.0f;
    const float y = ((seed * 2246822519u >> 8) & 0xFFFF) / 32768.0f - 1.0f;
    const __half2 both = __floats2half2_rn(x, y);
    return *reinterpret_cast<const uint32_t*>(&both);
  };
  for (int i = 0; i < 4; ++i) a[i] = pair(threadIdx.x * 4 + i + 1);
  for (int c = 0; c < kChains; ++c) {
    for (int i = 0; i < 2; ++i) b[c][i] = pair(threadIdx.x * 64 + c * 2 + i + 77);
  }
  __syncthreads();
  const long long began = clock64();
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int c = 0; c < kChains; ++c) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
          "{%8,%9}, {%0,%1,%2,%3};"
          : "+f"(sums[c][0]), "+f"(sums[c][1]), "+f"(sums[c][2]), "+f"(sums[c][3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[c][0]), "r"(b[c][1]));
    }
  }
  const long long spent = clock64() - began;
  if (threadIdx.x == 0 && blockIdx.x == 0) *cycles = spent;
  float total = 0.0f;
  for (int c = 0; c < kChains; ++c) total += sums[c][0] + sums[c][1] + sums[c][2] + sums[c][3];
  out[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

template <int kChains>
void product_rate(int warps) {
  const int sms = attribute(cudaDevAttrMultiProcessorCount), rounds = 20000;
  float* out = device_array<float>(static_cast<size_t>(sms) * warps * 32);
  long long* cycles = device_array<long long>(1);
  const double ms = milliseconds(
      [&] { launch(products<kChains>, sms, warps * 32, 0, 1, false, rounds, out, cycles); });
  long long spent = 0;
  check(cudaMemcpy(&spent, cycles, sizeof spent, cudaMemcpyDeviceToHost), "cudaMemcpy");
  float one = 0.0f;
  check(cudaMemcpy(&one, out, sizeof one, cudaMemcpyDeviceToHost), "cudaMemcpy");
  require(one == one && one != 0.0f, "products: the sums are missing");
  const double count = static_cast<double>(rounds) * kChains;
  std::printf(
      "{\"mma_warps\": %d, \"chains\": %d, \"tflops\": %.0f, \"cycles_per_mma_and_quarter\": "
      "%.2f}\n",
      warps, kChains, 4096e-9 * count * warps * sms / ms, spent / count * 4 / warps);
}

void matrix_units() {
  product_rate<1>(4);
  product_rate<4>(4);
  product_rate<8>(4);
  product_rate<4>(8);
  product_rate<8>(8);
  product_rate<8>(12);
  product_rate<8>(16);
}

// Every block reads all of `data` from L2, with 16-byte loads that leave no trace in L1, eight in
// flight per thread; `count` is a multiple of 512 * 8.
__global__ __launch_bounds__(512) void stream(const uint4* data, int count, int rounds,
                                              uint32_t* out) {
  uint32_t sum = 0;
  for (int round = 0; round < rounds; ++round) {
    for (int base = threadIdx.x; base < count; base += 512 * 8) {
      uint4 v[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(v[i].x), "=r"(v[i].y), "=r"(v[i].z), "=r"(v[i].w)
                     : "l"(data + base + i * 512));
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) sum += v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
    }
  }
  atomicAdd(out + blockIdx.x, sum);
}

void ingest() {
  const int count = 13 * 512 * 8, rounds = 50;  // 832 KB: the paper's weights in fp16, padded
  std::vector<uint32_t> host(count * 4);
  uint32_t expected = 0;
  for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<uint32_t>(i) * 2654435761u;
  for (int i = 0; i < count; ++i) {
    expected += host[4 * i] ^ host[4 * i + 1] ^ host[4 * i + 2] ^ host[4 * i + 3];
  }
  uint4* data = device_array<uint4>(count);
  check(cudaMemcpy(data, host.data(), host.size() * 4, cudaMemcpyHostToDevice), "cudaMemcpy");
  const int sms = attribute(cudaDevAttrMultiProcessorCount);
  uint32_t* out = device_array<uint32_t>(sms);
  for (int blocks : {1, 32, 63, sms}) {
    check(cudaMemset(out, 0, sms * sizeof *out), "cudaMemset");
    const double ms =
        milliseconds([&] { launch(stream, blocks, 512, 0, 1, false, data, count, rounds, out); });
    uint32_t sum = 0;
    check(cudaMemcpy(&sum, out, sizeof sum, cudaMemcpyDeviceToHost), "cudaMemcpy");
    require(sum == expected * rounds * 6, "stream: a wrong sum");  // six launches added to it
    const double bytes = static_cast<double>(count) * 16 * rounds;
    std::printf(
        "{\"l2_blocks\": %d, \"terabytes_per_second\": %.2f, \"gigabytes_per_second_and_sm\": "
        "%.1f, \"microseconds_per_pass\": %.2f}\n",
        blocks, 1e-9 * bytes * blocks / ms, 1e-6 * bytes / ms, 1e3 * ms / rounds);
  }
}

__global__ void nothing(int* out) {
  if (threadIdx.x == 0) atomicAdd(out, 1);
}

void graphs() {
  int* out = device_array<int>(1);
  for (int nodes : {1, 20, 200}) {
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    check(cudaStreamCreate(&stream), "cudaStreamCreate");
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    for (int i = 0; i < nodes; ++i) nothing<<<1, 32, 0, stream>>>(out);
    check(cudaStreamEndCapture(stream, &graph), "capture");
    check(cudaGraphInstantiate(&ready, graph, 0), "cudaGraphInstantiate");
    const int replays = 500;
    check(cudaMemset(out, 0, sizeof *out), "cudaMemset");
    const double ms = milliseconds([&] {
      for (int i = 0; i < replays; ++i) check(cudaGraphLaunch(ready, nullptr), "cudaGraphLaunch");
    });
    int ran = 0;
    check(cudaMemcpy(&ran, out, sizeof ran, cudaMemcpyDeviceToHost), "cudaMemcpy");
    require(ran == 6 * replays * nodes, "graph: kernels are missing");
    std::printf("{\"graph_nodes\": %d, \"us_per_replay\": %.2f, \"us_per_node\": %.2f}\n", nodes,
                1e3 * ms / replays, 1e3 * ms / replays / nodes);
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a section that hangs has given its figures till then
  const struct {
    const char* name;
    void (*run)();
  } sections[] = {{"clusters", clusters},          {"distributed_shared", distributed_shared},
                  {"grid_barrier", grid_barriers}, {"matrix_units", matrix_units},
                  {"l2_ingest", ingest},           {"graph_replay", graphs}};
  for (const auto& section : sections) {
    if (count != 2) {
      std::puts(section.name);
    } else if (std::strcmp(arguments[1], section.name) == 0) {
      section.run();
      check(cudaDeviceSynchronize(), section.name);
      return 0;
    }
  }
  return count == 2;
}
