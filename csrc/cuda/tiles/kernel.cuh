// The rollout in tiles: one launch runs all steps of all candidates, a block those of 16, 32 or 64
// candidates of one problem. Included by one file per precision.
//
// Seen in the machine code (nvcc 13.0, sm_90a, 32 rows, fp16; compiled, not timed):
//   weights with .nc                       a round's six loads are issued together at its end
//   ... and __syncwarp, or never-taken exits    the loads still pass them
//   without .nc, with __syncwarp           each load follows the last use of its registers
//   pointers by select for every tile      15 instructions per tile besides the products; now whole
//                                          rounds use immediate offsets
//   one copy of the code per layer         15,152 instructions; one for all but the GRU: 10,696
// A step of 16 inputs is 2 LDSM, 4 HMMA, 1 LDG.128 (GRU: 2, 12, 3). A block of the paper's sizes
// has 6552 HMMA and reads 838,656 bytes of weights per time step.
#pragma once

#include "../exact.cuh"
#include "../launch.h"
#include "layers.cuh"
#include "stages.cuh"

namespace planet::cuda {

// All steps of the block's candidates; the returns of those that end up flagged are NaN.
template <class Block>
__device__ __forceinline__ void roll_out(const TileJob& job) {
  const Block start(job);
  clear_memory(start);
  typename Block::Weights weights = start_weights(start);
  start_latent(start);
  read_inputs(start, 0);
  __syncthreads();
  double weight = 1.0;
  const int horizon = static_cast<int>(job.rollout.arguments.horizon);
#pragma unroll 1
  for (int t = 0; t < horizon; ++t) {
#pragma unroll 1
    for (int layer = 0; layer < job.rollout.layout.layers; ++layer) {
      const Block b(job);  // anew: nothing that it is made of need stay in registers
      const int now = (layer > kGruLayer ? t + 1 : t) & 1;
      if (layer == kGruLayer) {
        gru_layer(b, weights, now);
      } else {
        linear_layer(b, weights, layer, now, t);
      }
      if (layer == kPriorLayer && t + 1 < horizon) read_inputs(b, t + 1);
      __syncthreads();
    }
    add_reward(start, static_cast<float>(weight), t);  // its next terms come after a barrier
    weight *= job.rollout.arguments.discount;
  }
}

template <class Products, int kRowTiles>
__global__ void __launch_bounds__(kRowTiles == 4 ? 256 : 512, 1)
    rollout_tiles(const __grid_constant__ TileJob job) {
  const RolloutBlock<Products, kRowTiles> block(job);
  if (block.problem() >= job.rollout.arguments.batch) return;
  roll_out<RolloutBlock<Products, kRowTiles>>(job);
  write_returns(block);
  if constexpr (Products::Element::kExactBeyond) {
    const uint32_t* flagged = list_flagged(block);
    const int count = static_cast<int>(flagged[0]);
    for (int i = 0; i < count; i += kExactCandidates) {
      const int left = count - i;
      ExactRollout<>(job.rollout, block.problem(), flagged + 1 + i,
                     left < kExactCandidates ? left : kExactCandidates, block.template at<float>(0))
          .run();
    }
  }
}

// Enqueues the rollout in blocks of job.shape.rows.
template <class Products>
const char* launch_tiles(const TileJob& job, void* stream) {
  const RolloutArguments& arguments = job.rollout.arguments;
  const Launch how{rollout_grid(arguments, job.shape.rows),
                   dim3(static_cast<unsigned int>(job.shape.warps) * 32),
                   static_cast<size_t>(job.shape.shared.bytes), stream};
  if (job.shape.rows == 16) return launch(how, rollout_tiles<Products, 1>, job);
  if (job.shape.rows == 32) return launch(how, rollout_tiles<Products, 2>, job);
  if constexpr (Products::kParts == 1) return launch(how, rollout_tiles<Products, 4>, job);
  return "rollout: no kernel has this tile";
}

}  // namespace planet::cuda
