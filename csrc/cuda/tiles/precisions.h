// The rollout in tiles, compiled once per precision.
#pragma once

#include "shape.h"

namespace planet::cuda {

const char* launch_tiles_fp16(const TileJob& job, void* stream);
const char* launch_tiles_bf16(const TileJob& job, void* stream);
const char* launch_tiles_fp32(const TileJob& job, void* stream);

}  // namespace planet::cuda
