// The rollout in tiles with products in float32 class, from fp16 parts.
#include "kernel.cuh"
#include "precisions.h"

namespace planet::cuda {

const char* launch_tiles_fp32(const TileJob& job, void* stream) {
  return launch_tiles<Float32Products>(job, stream);
}

}  // namespace planet::cuda
