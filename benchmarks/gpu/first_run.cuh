// Checked calls, timing, launches, and bulk copies between the shared memories of a cluster.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("{\"error\": \"%s: %s\"}\n", what, cudaGetErrorString(error));
  std::exit(1);
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::printf("{\"error\": \"%s\"}\n", what);
  std::exit(1);
}

int attribute(cudaDeviceAttr which) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, 0), "cudaDeviceGetAttribute");
  return value;
}

// Milliseconds of `work`, which enqueues on the default stream; the median of five.
template <class Work>
double milliseconds(const Work& work) {
  cudaEvent_t before, after;
  check(cudaEventCreate(&before), "cudaEventCreate");
  check(cudaEventCreate(&after), "cudaEventCreate");
  work();  // warms up
  check(cudaDeviceSynchronize(), "warm-up");
  std::vector<float> times(5);
  for (float& time : times) {
    check(cudaEventRecord(before), "cudaEventRecord");
    work();
    check(cudaGetLastError(), "launch");
    check(cudaEventRecord(after), "cudaEventRecord");
    check(cudaEventSynchronize(after), "kernel");
    check(cudaEventElapsedTime(&time, before, after), "cudaEventElapsedTime");
  }
  for (size_t i = 1; i < times.size(); ++i) {
    for (size_t j = i; j > 0 && times[j] < times[j - 1]; --j) std::swap(times[j], times[j - 1]);
  }
  return times[times.size() / 2];
}

template <class Kernel, class... Arguments>
void launch(Kernel* kernel, int blocks, int threads, size_t shared, int cluster, bool cooperative,
            Arguments... arguments) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared)),
        "shared memory");
  if (cluster > 8) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
          "cluster of 16");
  }
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.attrs = attributes;
  if (cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs].val.clusterDim.x = cluster;
    attributes[config.numAttrs].val.clusterDim.y = 1;
    attributes[config.numAttrs++].val.clusterDim.z = 1;
  }
  if (cooperative) {
    attributes[config.numAttrs].id = cudaLaunchAttributeCooperative;
    attributes[config.numAttrs++].val.cooperative = 1;
  }
  check(cudaLaunchKernelEx(&config, kernel, arguments...), "cudaLaunchKernelEx");
}

template <class Value>
Value* device_array(size_t count) {
  Value* array = nullptr;
  check(cudaMalloc(&array, count * sizeof(Value)), "cudaMalloc");
  check(cudaMemset(array, 0, count * sizeof(Value)), "cudaMemset");
  return array;
}

// ---- waiting for bulk copies ----

__device__ uint32_t address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ uint32_t address_in(uint32_t local, uint32_t rank) {
  uint32_t remote;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(local), "r"(rank));
  return remote;
}

__device__ void barrier_init(uint64_t* barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(address(barrier)) : "memory");
}

__device__ void barrier_expect(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address(barrier)),
               "r"(bytes)
               : "memory");
}

__device__ void barrier_wait(uint64_t* barrier, uint32_t parity) {
  for (int tries = 0; tries < (1 << 22); ++tries) {
    uint32_t done;
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; "
        "selp.u32 %0, 1, 0, p; }"
        : "=r"(done)
        : "r"(address(barrier)), "r"(parity)
        : "memory");
    if (done) return;
  }
  __trap();
}

// Copies to the same offset of another block's shared memory; its barrier counts the bytes.
__device__ void copy_to(uint32_t rank, void* to, const void* from, uint32_t bytes,
                        uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(address_in(address(to), rank)),
      "r"(address(from)), "r"(bytes), "r"(address_in(address(barrier), rank))
      : "memory");
}

extern __shared__ __align__(128) unsigned char shared[];

}  // namespace
