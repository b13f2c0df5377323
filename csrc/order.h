// The ranking of returns as an integer key. C++17, host and device.
#pragma once

#include <stdint.h>

#include "philox.h"

namespace planet {

// Ascending orders are descending returns, given by their bits: -0.0 equals 0.0, and every NaN
// comes last.
PLANET_HOST_DEVICE static inline uint32_t rank_order(uint32_t bits) {
  const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  if (bits == 0x80000000u) bits = 0;
  // Ascending in the value: negative numbers reversed, positive ones above them; then inverted.
  const uint32_t order = ~((bits >> 31) ? ~bits : bits | 0x80000000u);
  return nan ? 0xFFFFFFFFu : order;
}

// Composite key of candidate `index` with the return whose bits are `bits`: by order, and ties go
// to the lower index. Keys of one problem are distinct. index < 2^32.
PLANET_HOST_DEVICE static inline uint64_t rank_key(uint32_t bits, uint32_t index) {
  return static_cast<uint64_t>(rank_order(bits)) << 32 | index;
}

PLANET_HOST_DEVICE static inline uint32_t rank_index(uint64_t key) {
  return static_cast<uint32_t>(key);
}

}  // namespace planet
