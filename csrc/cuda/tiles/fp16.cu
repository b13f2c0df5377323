// The rollout in tiles with products in fp16.
#include "kernel.cuh"
#include "precisions.h"

namespace planet::cuda {

const char* launch_tiles_fp16(const TileJob& job, void* stream) {
  return launch_tiles<Float16Products>(job, stream);
}

}  // namespace planet::cuda
