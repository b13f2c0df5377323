// The ranking of returns as an integer key. C++17, host and device.
#pragma once

#include <stdint.h>

#include "philox.h"

namespace planet {

// Composite key of candidate `index` with the return whose bits are `bits`: ascending keys are
// descending returns, -0.0 equals 0.0, every NaN comes last, and ties go to the lower index. Keys
// of one problem are distinct. index < 2^32.
PLANET_HOST_DEVICE static inline uint64_t rank_key(uint32_t bits, uint32_t index) {
  uint32_t order;
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) {
    order = 0xFFFFFFFFu;  // NaN
  } else {
    if (bits == 0x80000000u) bits = 0;
    // Ascending in the value: negative numbers reversed, positive ones above them; then inverted.
    order = ~((bits >> 31) ? ~bits : bits | 0x80000000u);
  }
  return static_cast<uint64_t>(order) << 32 | index;
}

PLANET_HOST_DEVICE static inline uint32_t rank_index(uint64_t key) {
  return static_cast<uint32_t>(key);
}

}  // namespace planet
