// Between the packing of tiles and that of everything else (pack_tiles.cpp, pack.cpp).
#pragma once

#include <bit>

#include "panel.h"

namespace planet::cpu {

// The nearest bf16, ties to even, infinite only where x is; NaN stays NaN, whatever its bits.
inline uint16_t to_bf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7FFFFFFF;
  if (magnitude >= 0x7F800000) return static_cast<uint16_t>(bits >> 16 | (x != x ? 0x40 : 0));
  const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  const bool infinite = (rounded & 0x7FFF) == 0x7F80;
  return static_cast<uint16_t>(infinite ? rounded - 1 : rounded);
}

// The last reward layer as panel.h has it: its words, and the words.
int64_t last_reward_words(const ModelSizes& sizes);
void pack_last_reward(const ModelSizes& sizes, const ModelWeights& weights, float* out);

PackedLayout tile_layout(const ModelSizes& sizes, int rows);

// Writes tile_layout(...).total words.
void pack_tiles(const ModelSizes& sizes, const ModelWeights& weights, float* packed);

}  // namespace planet::cpu
