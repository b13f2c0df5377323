// One block of candidates on its way through the model: what its threads share. Candidates are the
// rows of all products.
#pragma once

#include "../rollout_inputs.cuh"
#include "../rollout_job.h"
#include "products.cuh"
#include "shape.h"

namespace planet::cuda {

template <class ProductsOf, int kRowTilesOf>
struct RolloutBlock {
  using Products = ProductsOf;
  static constexpr int kRowTiles = kRowTilesOf, kRows = 16 * kRowTiles;
  static constexpr int kParts = Products::kParts;
  static constexpr bool kHalf = kParts == 1;  // fp16 and bf16
  // Tiles of weights that a warp has on their way: as many as the registers hold beside the sums of
  // the GRU.
  static constexpr int kDepth = kRowTiles == 2 || kParts == 2 ? 6 : 12;
  using Weights = WeightStreams<kDepth>;
  using Sums = float[kRowTiles][2][4];  // of 16 outputs: row tile, half of the outputs, fragment

  const RolloutJob& job;
  const TileShape& shape;
  const SharedLayout& shared;
  unsigned char* memory;
  int lane, warp;

  __device__ explicit RolloutBlock(const TileJob& tile_job)
      : job(tile_job.rollout),
        shape(tile_job.shape),
        shared(tile_job.shape.shared),
        memory(shared_memory()),
        lane(static_cast<int>(threadIdx.x % 32)),
        warp(__shfl_sync(kFullWarp, static_cast<int>(threadIdx.x / 32), 0)) {
  }  // known to be uniform

  // Functions of the index, lest they occupy registers.
  __device__ int64_t problem() const {
    return static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y;
  }
  __device__ int64_t first() const {  // candidate of row 0
    return static_cast<int64_t>(blockIdx.x) * kRows;
  }

  template <class Value>
  __device__ Value* at(int offset) const {
    return reinterpret_cast<Value*>(memory + offset);
  }
  __device__ Panel panel(int offset) const { return {memory + offset, shared.low}; }

  // Reads the packed weights.
  __device__ const float* floats(int offset) const {
    return reinterpret_cast<const float*>(job.packed + offset);
  }
  __device__ float unscale(int layer) const {
    return reinterpret_cast<const PackedHeader*>(job.packed)->unscale[layer];
  }

  __device__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  // Counts from the last thread: what few threads do is not left to the busiest warps.
  __device__ int thread_from_last() const { return threads() - 1 - thread(); }

  // The candidate of a row; rows beyond the last candidate repeat it.
  __device__ int64_t candidate(int row) const {
    const int64_t here = first() + candidate_of_row(kRows, row),
                  last = job.arguments.candidates - 1;
    return here < last ? here : last;
  }

  // The float32 belief of a row, units n and, if n is even, n + 1. Only the lane that has their
  // sums reads them again; the eight rows of an access are on different banks.
  __device__ float* belief_exact(int row, int n) const {
    return at<float>(shared.belief_exact) + activation_index(kRows, row, n);
  }

  // Notes that a row has an operand beyond the format; see kExactBeyond.
  __device__ void flag(int row) const { atomicOr(at<uint32_t>(shared.flags) + row, 1u); }
  __device__ static bool out_of_range(float value) { return !(fabsf(value) <= Products::kLimit); }

  __device__ void store_operand(int panel_offset, int row, int k, float value) const {
    if (out_of_range(value)) flag(row);
    store_one<Products>(panel(panel_offset), kRows, row, k, value);
  }
};

}  // namespace planet::cuda
