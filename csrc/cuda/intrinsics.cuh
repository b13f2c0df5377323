// Machine instructions beyond CUDA C++: matrix fragments, conversions, loads that bypass the L1
// cache, clusters. Kernels are written against this header and CUDA's own functions
// (threadIdx, __syncthreads, __shfl_xor_sync, atomicAdd, ...) and keep all their shared memory in
// `shared_memory()`; so the same sources also run on the CPU, where emulator/ gives every one of
// these functions its meaning.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

namespace planet::cuda {

// Element types of the matrix units' operands. kExactBeyond: a candidate that has one beyond the
// format is left to the exact path; else its return is NaN.
struct Float16 {
  static constexpr bool kExactBeyond = true;
};
struct Bfloat16 {
  static constexpr bool kExactBeyond = false;
};

constexpr unsigned int kFullWarp = 0xFFFFFFFFu;

// ---- waiting ----
// A build with CUDAFLAGS=-DPLANET_BOUNDED_WAITS ends a kernel that hangs: whoever has waited for
// two seconds traps, and the launch fails. Other builds have no code for it. __syncthreads and
// cluster_wait cannot be bounded; but who waits there waits for others of the block or cluster, and
// one of them, in the end, waits here.
#ifdef PLANET_BOUNDED_WAITS
constexpr bool kBoundedWaits = true;
#else
constexpr bool kBoundedWaits = false;
#endif
constexpr uint64_t kLongestWait = 2'000'000'000;  // nanoseconds; a plan takes one or two million

// A clock of the device.
__device__ uint64_t nanoseconds();

// Asks ready() until it is true.
template <bool kBounded = kBoundedWaits, class Ready>
__device__ __forceinline__ void wait_until(const Ready& ready) {
  if constexpr (kBounded) {
    const uint64_t start = nanoseconds();
    while (!ready()) {
      if (nanoseconds() - start > kLongestWait) __trap();
    }
  } else {
    while (!ready()) {
    }
  }
}

}  // namespace planet::cuda

#ifndef __CUDACC__
#include "emulated_intrinsics.h"
#else

namespace planet::cuda {

extern __shared__ __align__(128) unsigned char planet_dynamic_shared[];

// The block's dynamic shared memory, aligned to 128 bytes.
__device__ __forceinline__ unsigned char* shared_memory() {
  return planet_dynamic_shared;
}

// Address of shared memory as instructions take it.
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// `value`, of which the compiler knows nothing: what is computed from it is computed here, not
// ahead of a loop, where it would occupy a register.
__device__ __forceinline__ int opaque(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

__device__ __forceinline__ uint64_t nanoseconds() {
  uint64_t out;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(out));
  return out;
}

// ---- matrix units (lane maps: fragments.h) ----

// d += a b: [16, 16] x [16, 8], operands fp16 or bf16, sums fp32. All lanes of the warp.
template <class Type>
__device__ __forceinline__ void multiply_accumulate(float (&d)[4], const uint32_t (&a)[4],
                                                    uint32_t b0, uint32_t b1);

template <>
__device__ __forceinline__ void multiply_accumulate<Float16>(float (&d)[4], const uint32_t (&a)[4],
                                                             uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ void multiply_accumulate<Bfloat16>(float (&d)[4], const uint32_t (&a)[4],
                                                              uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8x8 matrices of 16-bit elements: lane i gives the 16-byte row i % 8 of matrix i / 8 in
// shared memory; register r of lane l receives elements 2 (l % 4), + 1 of row l / 4 of matrix r.
__device__ __forceinline__ void load_matrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// ---- conversions, to nearest even ----

// Two elements in one register, `low` in the lower half; beyond fp16's range: infinite.
template <class Type>
__device__ __forceinline__ uint32_t pack2(float low, float high);

template <>
__device__ __forceinline__ uint32_t pack2<Float16>(float low, float high) {
  uint32_t out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}

template <>
__device__ __forceinline__ uint32_t pack2<Bfloat16>(float low, float high) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}

template <class Type>
__device__ __forceinline__ void unpack2(uint32_t pair, float& low, float& high);

template <>
__device__ __forceinline__ void unpack2<Float16>(uint32_t pair, float& low, float& high) {
  asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %2;\ncvt.f32.f16 %0, l;\ncvt.f32.f16 %1, h;\n}"
      : "=f"(low), "=f"(high)
      : "r"(pair));
}

template <>
__device__ __forceinline__ void unpack2<Bfloat16>(uint32_t pair, float& low, float& high) {
  low = __uint_as_float(pair << 16);
  high = __uint_as_float(pair & 0xFFFF0000u);
}

// ---- special functions, to a few units in the last place of max(|result|, 1) ----

__device__ __forceinline__ float fast_exp(float x) {
  return __expf(x);
}

__device__ __forceinline__ float fast_reciprocal(float x) {
  float out;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

// ---- special functions of half precision, one instruction each (PTX ISA) ----

// 2^x, to 2 units in the last place; 0 below 2^-126.
__device__ __forceinline__ float approximate_exp2(float x) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

// To 2^-22, absolute between 1/2 and 2 and relative elsewhere.
__device__ __forceinline__ float approximate_log2(float x) {
  float out;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

// To 2^-11 of itself; 1 and -1 at infinity.
__device__ __forceinline__ float approximate_tanh(float x) {
  float out;
  asm("tanh.approx.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

// The larger one, or NaN if either is, which fmaxf would lose.
__device__ __forceinline__ float maximum(float x, float y) {
  float out;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(out) : "f"(x), "f"(y));
  return out;
}

// ---- global memory ----

// 16 bytes that no kernel writes meanwhile, kept out of the L1 cache. (Without .nc, so that the
// compiler leaves the load before the next __syncwarp: it tends to issue late what is used late.)
__device__ __forceinline__ uint4 load_streaming(const uint4* pointer) {
  uint4 out;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(out.x), "=r"(out.y), "=r"(out.z), "=r"(out.w)
               : "l"(pointer));
  return out;
}

// Counters that blocks of a grid wait for.
__device__ __forceinline__ void add_release(uint32_t* counter, uint32_t value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(counter), "r"(value) : "memory");
}

__device__ __forceinline__ uint32_t load_acquire(const uint32_t* counter) {
  uint32_t out;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(out) : "l"(counter) : "memory");
  return out;
}

// ---- clusters, distributed shared memory, bulk copies ----
// The assembler refuses them in a kernel for older architectures than sm_90; such a kernel is to be
// left empty there.

__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t out;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(out));
  return out;
}

__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Address, as `copy_to_peer` takes it, of block `rank`'s copy of this block's shared `pointer`.
__device__ __forceinline__ uint32_t peer_address(const void* pointer, uint32_t rank) {
  uint32_t out;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(out)
               : "r"(shared_address(pointer)), "r"(rank));
  return out;
}

// Barriers in shared memory that count arrivals and bytes.
__device__ __forceinline__ void barrier_init(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}

// Makes initialised barriers visible to the cluster and to bulk copies; then cluster_arrive/wait.
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// One arrival that also announces `bytes` to come in this phase.
__device__ __forceinline__ void barrier_expect(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}

// Waits until the phase of this parity (0, 1, 0, ...) is complete. What the block's own threads
// have written before they arrived is then visible, and what bulk copies have written, who count
// their bytes on this very barrier. Nothing else is read behind it, no peer's ordinary write above
// all, so the block's scope suffices; the cluster's would invalidate the L1 cache each time.
__device__ __forceinline__ void barrier_wait(uint64_t* barrier, uint32_t parity) {
  wait_until([&] {
    uint32_t done;
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
    return done != 0;
  });
}

// Ordinary writes to shared memory before this are seen by bulk copies started after it.
__device__ __forceinline__ void bulk_copy_fence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Copies shared memory to a peer (addresses of peer_address), asynchronously; the bytes count
// towards the peer's barrier. `bytes` and all addresses are multiples of 16.
__device__ __forceinline__ void copy_to_peer(uint32_t peer_target, const void* source,
                                             uint32_t bytes, uint32_t peer_barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(peer_target),
      "r"(shared_address(source)), "r"(bytes), "r"(peer_barrier)
      : "memory");
}

}  // namespace planet::cuda
#endif
