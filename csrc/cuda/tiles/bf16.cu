// The rollout in tiles with products in bf16.
#include "kernel.cuh"
#include "precisions.h"

namespace planet::cuda {

const char* launch_tiles_bf16(const TileJob& job, void* stream) {
  return launch_tiles<Bfloat16Products>(job, stream);
}

}  // namespace planet::cuda
