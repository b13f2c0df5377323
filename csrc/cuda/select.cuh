// The K best of one problem's candidates, found by one block: a radix selection of the K-th order
// (csrc/order.h), digit by digit from the highest, then the candidates that come before it. No
// result depends on which thread runs first: counts are integers, positions follow the indices.
#pragma once

#include "../order.h"
#include "intrinsics.cuh"

namespace planet::cuda {

constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kPasses = 32 / kDigitBits;
constexpr int kLoadsInFlight = 4;  // returns that a thread asks for before it uses the first
constexpr int kMaxWarps = 32;

// Shared memory of a selection. Every pass has a histogram of its own, so that a warp that is ahead
// may count while others still read.
struct SelectionSpace {
  alignas(16) uint32_t histogram[kPasses][kDigits];
  uint32_t before[kMaxWarps], ties[kMaxWarps];  // in the segment of each warp
};

// The elites: all candidates whose order is below `last`, and of those at `last` the first `ties`.
struct Selection {
  uint32_t last, ties;
};

// The orders of candidates first + i * stride + lane: all loads before the first use. Behind the
// last candidate, the last one's.
template <class ReturnAt>
__device__ __forceinline__ void load_orders(ReturnAt return_at, int64_t first, int64_t stride,
                                            int64_t candidates, uint32_t (&order)[kLoadsInFlight]) {
  float value[kLoadsInFlight];
#pragma unroll
  for (int i = 0; i < kLoadsInFlight; ++i) {
    const int64_t j = first + i * stride + threadIdx.x % 32;
    value[i] = return_at(j < candidates ? j : candidates - 1);
  }
#pragma unroll
  for (int i = 0; i < kLoadsInFlight; ++i) order[i] = rank_order(__float_as_uint(value[i]));
}

// Counts in histogram [kDigits] the digits at `shift` of the orders whose higher digits are
// `prefix`.
//
// Additions to one counter wait for each other, and often most of a warp has the same digit:
// returns share sign and exponent, or are all equal, or NaN. So the lanes with the first lane's
// digit vote, and are added at once. Step by step for all loads, since each step waits for the one
// before.
template <class ReturnAt>
__device__ __forceinline__ void count_digits(ReturnAt return_at, int64_t candidates, int shift,
                                             uint32_t prefix, uint32_t* histogram) {
  const int lane = threadIdx.x % 32;
  const int64_t stride = blockDim.x;
  for (int64_t first = threadIdx.x - lane; first < candidates; first += kLoadsInFlight * stride) {
    uint32_t digit[kLoadsInFlight], lanes[kLoadsInFlight], same[kLoadsInFlight];
    load_orders(return_at, first, stride, candidates, digit);
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i) {
      digit[i] >>= shift;
      const bool present = first + i * stride + lane < candidates;
      lanes[i] = __ballot_sync(kFullWarp, present && digit[i] >> kDigitBits == prefix);
      digit[i] &= kDigits - 1;
    }
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i) {
      // Without any lane: whichever.
      same[i] = __shfl_sync(kFullWarp, digit[i], (__ffs(static_cast<int>(lanes[i])) - 1) & 31);
    }
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i) {
      same[i] = __ballot_sync(kFullWarp, digit[i] == same[i]) & lanes[i];
    }
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i) {
      if (lane == __ffs(static_cast<int>(same[i])) - 1) {
        atomicAdd(histogram + digit[i], static_cast<uint32_t>(__popc(same[i])));
      }
      if ((lanes[i] ^ same[i]) >> lane & 1) atomicAdd(histogram + digit[i], 1u);
    }
  }
}

// Where the element of `rank` (from 1) falls in a histogram: its digit, its rank among the elements
// with this digit, and how many those are.
struct Bucket {
  uint32_t digit, rank, size;
};

// Every warp computes it for itself, which saves a barrier.
__device__ __forceinline__ Bucket find_bucket(const uint32_t* histogram, uint32_t rank) {
  constexpr int kPerLane = kDigits / 32;
  const int lane = threadIdx.x % 32;
  uint32_t count[kPerLane], sum = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; i += 4) {
    const uint4 four = *reinterpret_cast<const uint4*>(histogram + lane * kPerLane + i);
    count[i] = four.x;
    count[i + 1] = four.y;
    count[i + 2] = four.z;
    count[i + 3] = four.w;
    sum += four.x + four.y + four.z + four.w;
  }
  uint32_t up_to = sum;  // elements in the digits of this lane and of those before it
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const uint32_t other = __shfl_up_sync(kFullWarp, up_to, offset);
    if (lane >= offset) up_to += other;
  }
  const int owner = __ffs(static_cast<int>(__ballot_sync(kFullWarp, up_to >= rank))) - 1;
  // The search means something in the owner only.
  Bucket found{static_cast<uint32_t>(lane * kPerLane), rank - (up_to - sum), count[0]};
#pragma unroll
  for (int i = 1; i < kPerLane; ++i) {
    if (found.rank > found.size) {
      found = {static_cast<uint32_t>(lane * kPerLane + i), found.rank - found.size, count[i]};
    }
  }
  return {__shfl_sync(kFullWarp, found.digit, owner), __shfl_sync(kFullWarp, found.rank, owner),
          __shfl_sync(kFullWarp, found.size, owner)};
}

// Selects the `topk` best of `candidates` (1 <= topk <= candidates < 2^32) by the whole block, of
// any number of full warps; return_at(j) is candidate j's return. `space` may hold anything. The
// same in all threads; no barrier at the end.
template <class ReturnAt>
__device__ __forceinline__ Selection select_elites(ReturnAt return_at, int64_t candidates,
                                                   int64_t topk, SelectionSpace& space) {
  constexpr uint32_t kAll = 0xFFFFFFFFu;
  if (topk == candidates) return {kAll, kAll};
  uint32_t* const counters = space.histogram[0];
  for (int i = threadIdx.x; i < kPasses * kDigits; i += blockDim.x) counters[i] = 0;
  __syncthreads();
  uint32_t prefix = 0, rank = static_cast<uint32_t>(topk);
  for (int pass = 0; pass < kPasses; ++pass) {
    const int shift = 32 - kDigitBits * (pass + 1);
    count_digits(return_at, candidates, shift, prefix, space.histogram[pass]);
    __syncthreads();
    const Bucket bucket = find_bucket(space.histogram[pass], rank);
    prefix = prefix << kDigitBits | bucket.digit;
    rank = bucket.rank;
    // All of the bucket are elites: their lower digits do not matter.
    if (rank == bucket.size) return {prefix << shift | ((1u << shift) - 1), kAll};
  }
  return {prefix, rank};
}

// Calls emit(position, j) for every elite j, by some thread; positions 0 .. topk - 1 follow the
// indices. Barriers lie between select_elites and the calls, none after them.
template <class ReturnAt, class Emit>
__device__ __forceinline__ void for_each_elite(ReturnAt return_at, int64_t candidates,
                                               Selection selection, SelectionSpace& space,
                                               Emit emit) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t warps = blockDim.x / 32;
  const uint32_t chunks = static_cast<uint32_t>((candidates + 31) / 32);
  // Each warp has a segment of consecutive candidates, so one exchange tells where it begins.
  const int64_t segment = static_cast<int64_t>((chunks + warps - 1) / warps) * 32;
  const int64_t begin = warp * segment;
  const int64_t end = begin + segment < candidates ? begin + segment : candidates;
  // Finds which of candidates `first` + lane come before the last order, and which have it.
  const auto vote = [&](int64_t first, uint32_t order, uint32_t& below, uint32_t& at) {
    const bool present = first + lane < end;
    below = __ballot_sync(kFullWarp, present && order < selection.last);
    at = __ballot_sync(kFullWarp, present && order == selection.last);
  };
  uint32_t before = 0, ties = 0, below, at, order[kLoadsInFlight];
  for (int64_t first = begin; first < end; first += kLoadsInFlight * 32) {
    load_orders(return_at, first, 32, candidates, order);
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i) {
      vote(first + i * 32, order[i], below, at);
      before += __popc(below);
      ties += __popc(at);
    }
  }
  if (lane == 0) {
    space.before[warp] = before;
    space.ties[warp] = ties;
  }
  __syncthreads();
  before = lane < warp ? space.before[lane] : 0;
  ties = lane < warp ? space.ties[lane] : 0;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    before += __shfl_xor_sync(kFullWarp, before, offset);
    ties += __shfl_xor_sync(kFullWarp, ties, offset);
  }
  const uint32_t earlier = (1u << lane) - 1;
  for (int64_t first = begin; first < end; first += kLoadsInFlight * 32) {
    load_orders(return_at, first, 32, candidates, order);
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i) {
      vote(first + i * 32, order[i], below, at);
      const uint32_t my_before = before + __popc(below & earlier);
      const uint32_t my_ties = ties + __popc(at & earlier);
      if (below >> lane & 1 || (at >> lane & 1 && my_ties < selection.ties)) {
        emit(my_before + (my_ties < selection.ties ? my_ties : selection.ties),
             static_cast<uint32_t>(first + i * 32 + lane));
      }
      before += __popc(below);
      ties += __popc(at);
    }
  }
}

}  // namespace planet::cuda
