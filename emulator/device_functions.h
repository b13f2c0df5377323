// CUDA's functions and variables of a thread among others: indices, barriers, warps, atomics.
#pragma once

#include <stdint.h>

#include <bit>
#include <type_traits>

#include "machine.h"
#include "warp_calls.h"

#define threadIdx (::planet::cuda::emulator::current->index)
#define blockIdx (::planet::cuda::emulator::current->block->index)
inline const dim3& blockDim = planet::cuda::emulator::machine.configuration.block;
inline const dim3& gridDim = planet::cuda::emulator::machine.configuration.grid;

// ---- barriers ----

inline void __syncthreads(std::source_location where = std::source_location::current()) {
  planet::cuda::emulator::synchronize_block(where);
}

inline void __syncwarp(unsigned int mask = 0xFFFFFFFFu,
                       std::source_location where = std::source_location::current()) {
  planet::cuda::emulator::synchronize_warp(mask, where);
}

inline void __nanosleep(unsigned int,
                        std::source_location where = std::source_location::current()) {
  planet::cuda::emulator::poll("__nanosleep", where);
}

inline void __trap(std::source_location where = std::source_location::current()) {
  planet::cuda::emulator::fail("__trap", where, "the kernel gave up");
}

// ---- warps ----

namespace planet::cuda::emulator {

template <class T>
T shuffle_value(const char* call, unsigned int mask, T value, int source,
                std::source_location where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = shuffle(call, mask, bits, source, where);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace planet::cuda::emulator

template <class T>
T __shfl_sync(unsigned int mask, T value, int source, int width = 32,
              std::source_location where = std::source_location::current()) {
  const int lane = planet::cuda::emulator::current_lane();
  return planet::cuda::emulator::shuffle_value("__shfl_sync", mask, value,
                                               (lane & -width) | (source & (width - 1)), where);
}

template <class T>
T __shfl_up_sync(unsigned int mask, T value, unsigned int delta, int width = 32,
                 std::source_location where = std::source_location::current()) {
  const int lane = planet::cuda::emulator::current_lane(), source = lane - static_cast<int>(delta);
  return planet::cuda::emulator::shuffle_value("__shfl_up_sync", mask, value,
                                               source < (lane & -width) ? lane : source, where);
}

template <class T>
T __shfl_xor_sync(unsigned int mask, T value, int lane_mask, int width = 32,
                  std::source_location where = std::source_location::current()) {
  const int lane = planet::cuda::emulator::current_lane(), source = lane ^ lane_mask;
  return planet::cuda::emulator::shuffle_value(
      "__shfl_xor_sync", mask, value, source > (lane | (width - 1)) ? lane : source, where);
}

inline unsigned int __ballot_sync(unsigned int mask, int predicate,
                                  std::source_location where = std::source_location::current()) {
  return planet::cuda::emulator::vote("__ballot_sync", mask, predicate != 0, where);
}

inline int __any_sync(unsigned int mask, int predicate,
                      std::source_location where = std::source_location::current()) {
  return planet::cuda::emulator::vote("__any_sync", mask, predicate != 0, where) != 0;
}

// ---- atomics ----

namespace planet::cuda::emulator {

// Replaces *p by change(*p) and returns what it was; relaxed, as on the device.
template <class T, class Change>
T atomic_update(T* p, const Change& change) {
  jitter();
  T before, after;
  __atomic_load(p, &before, __ATOMIC_RELAXED);
  do {
    after = change(before);
  } while (
      !__atomic_compare_exchange(p, &before, &after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  made_progress();
  return before;
}

}  // namespace planet::cuda::emulator

#define PLANET_ATOMIC(name, expression)                                                     \
  template <class T>                                                                        \
  T name(T* p, std::type_identity_t<T> value) {                                             \
    return planet::cuda::emulator::atomic_update(p, [value](T old) { return expression; }); \
  }
PLANET_ATOMIC(atomicAdd, static_cast<T>(old + value))
PLANET_ATOMIC(atomicMax, old < value ? value : old)
PLANET_ATOMIC(atomicOr, static_cast<T>(old | value))
#undef PLANET_ATOMIC
