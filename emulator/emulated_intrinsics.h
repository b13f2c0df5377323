// csrc/cuda/intrinsics.cuh on the CPU: the same functions, each called once per lane.
#pragma once

#include <bit>
#include <limits>
#include <source_location>

#include "approximations.h"
#include "machine.h"
#include "matrix_unit.h"
#include "warp_calls.h"

namespace planet::cuda {

using Where = std::source_location;

inline unsigned char* shared_memory() {
  return emulator::current->block->shared;
}

inline int opaque(int value) {
  return value;
}

inline uint32_t shared_address(const void* pointer, Where where = Where::current()) {
  return emulator::shared_address(pointer, where);
}

inline uint64_t nanoseconds() {
  return emulator::nanoseconds();
}

// ---- matrix units ----

template <class Type>
inline void multiply_accumulate(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                Where where = Where::current()) {
  emulator::Multiply part{d, a, {b0, b1}};
  if constexpr (std::is_same_v<Type, Float16>) {
    emulator::multiply_half(part, where);
  } else {
    static_assert(std::is_same_v<Type, Bfloat16>);
    emulator::multiply_bfloat(part, where);
  }
}

inline void load_matrix_x4(uint32_t (&r)[4], const void* row, Where where = Where::current()) {
  emulator::MatrixRow part{static_cast<const unsigned char*>(row), r};
  emulator::load_matrix(part, where);
}

// ---- conversions ----

template <class Type>
inline uint32_t pack2(float low, float high) {
  if constexpr (std::is_same_v<Type, Float16>) {
    return emulator::to_half(low) | static_cast<uint32_t>(emulator::to_half(high)) << 16;
  } else {
    static_assert(std::is_same_v<Type, Bfloat16>);
    return emulator::to_bfloat(low) | static_cast<uint32_t>(emulator::to_bfloat(high)) << 16;
  }
}

template <class Type>
inline void unpack2(uint32_t pair, float& low, float& high) {
  const uint16_t halves[2] = {static_cast<uint16_t>(pair), static_cast<uint16_t>(pair >> 16)};
  if constexpr (std::is_same_v<Type, Float16>) {
    low = emulator::from_half(halves[0]);
    high = emulator::from_half(halves[1]);
  } else {
    static_assert(std::is_same_v<Type, Bfloat16>);
    low = emulator::from_bfloat(halves[0]);
    high = emulator::from_bfloat(halves[1]);
  }
}

// ---- special functions ----

inline float fast_exp(float x) {
  return __expf(x);
}

// Subnormal numbers count as zero, before and after.
inline float fast_reciprocal(float x) {
  if (fabsf(x) < 0x1p-126f) x = copysignf(0.0f, x);
  const float out = 1.0f / x;
  return fabsf(out) < 0x1p-126f ? copysignf(0.0f, out) : out;
}

inline float approximate_exp2(float x) {
  return emulator::approximate_exp2(x);
}

inline float approximate_log2(float x) {
  return emulator::approximate_log2(x);
}

inline float approximate_tanh(float x) {
  return emulator::approximate_tanh(x);
}

inline float maximum(float x, float y) {
  return x != x || y != y ? std::numeric_limits<float>::quiet_NaN() : x < y ? y : x;
}

// ---- global memory ----

inline uint4 load_streaming(const uint4* pointer, Where where = Where::current()) {
  if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0) {
    emulator::fail("load_streaming", where, "address is not a multiple of 16");
  }
  emulator::count_streamed(16);
  return *pointer;
}

inline void add_release(uint32_t* counter, uint32_t value, Where where = Where::current()) {
  if (!emulator::left_out("add_release", where)) emulator::release(counter);
  atomicAdd(counter, value);
}

inline uint32_t load_acquire(const uint32_t* counter, Where where = Where::current()) {
  uint32_t value = __atomic_load_n(counter, __ATOMIC_RELAXED);
  if (emulator::spins(counter, value)) {
    emulator::poll("load_acquire", where);
    value = __atomic_load_n(counter, __ATOMIC_RELAXED);
  }
  if (!emulator::left_out("load_acquire", where)) emulator::acquire(counter);
  return value;
}

// ---- clusters, distributed shared memory, bulk copies ----

inline uint32_t cluster_rank() {
  return emulator::cluster_rank();
}

inline void cluster_arrive(Where where = Where::current()) {
  emulator::cluster_arrive(where);
}

inline void cluster_wait(Where where = Where::current()) {
  emulator::cluster_wait(where);
}

inline uint32_t peer_address(const void* pointer, uint32_t rank, Where where = Where::current()) {
  return emulator::peer_address(pointer, rank, where);
}

inline void barrier_init(uint64_t* barrier, uint32_t arrivals, Where where = Where::current()) {
  emulator::barrier_init(barrier, arrivals, where);
}

inline void barrier_init_fence(Where where = Where::current()) {
  if (!emulator::left_out("barrier_init_fence", where)) emulator::order_init_fence();
}

inline void barrier_expect(uint64_t* barrier, uint32_t bytes, Where where = Where::current()) {
  emulator::barrier_arrive(barrier, bytes, where);
}

inline void barrier_arrive(uint64_t* barrier, Where where = Where::current()) {
  emulator::barrier_arrive(barrier, 0, where);
}

inline void barrier_wait(uint64_t* barrier, uint32_t parity, Where where = Where::current()) {
  emulator::barrier_wait(barrier, parity, where);
}

inline void bulk_copy_fence(Where where = Where::current()) {
  if (!emulator::left_out("bulk_copy_fence", where)) emulator::order_fence();
}

inline void copy_to_peer(uint32_t peer_target, const void* source, uint32_t bytes,
                         uint32_t peer_barrier, Where where = Where::current()) {
  emulator::copy_to_peer(peer_target, source, bytes, peer_barrier, where);
}

}  // namespace planet::cuda
