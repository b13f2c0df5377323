// The packing of tiles, which shares nothing with the others (pack.cpp, pack_tiles.cpp).
#pragma once

#include "panel.h"

namespace planet::cpu {

PackedLayout tile_layout(const ModelSizes& sizes, int rows);

// Writes tile_layout(...).total words.
void pack_tiles(const ModelSizes& sizes, const ModelWeights& weights, float* packed);

}  // namespace planet::cpu
