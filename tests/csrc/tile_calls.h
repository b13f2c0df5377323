// Single tile instructions, for tests of them.
#pragma once

#include <stdint.h>

// Some assemblers ask the function whether it may.
#define PLANET_AMX __attribute__((target("amx-tile,amx-bf16")))

namespace planet::tests {

// What ldtilecfg reads.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  TileShapes& tile(int number, int rows_of, int bytes) {
    rows[number] = static_cast<uint8_t>(rows_of);
    row_bytes[number] = static_cast<uint16_t>(bytes);
    return *this;
  }
  bool operator==(const TileShapes&) const = default;
};

// Tile 0 [m][n] of float32, tile 1 [m][k] and tile 2 [k][n] of pairs of bf16.
inline TileShapes product_of(int m, int k, int n) {
  return TileShapes().tile(0, m, 4 * n).tile(1, m, 4 * k).tile(2, k, 4 * n);
}

inline TileShapes full() {
  TileShapes out;
  for (int t = 0; t < 8; ++t) out.tile(t, 16, 64);
  return out;
}

PLANET_AMX inline void configure(const TileShapes& shape) {
  asm volatile("ldtilecfg %0" ::"m"(shape));
}

PLANET_AMX inline TileShapes configuration() {
  TileShapes out;
  asm volatile("sttilecfg %0" : "=m"(out));
  return out;
}

PLANET_AMX inline void release() {
  asm volatile("tilerelease");
}

PLANET_AMX inline void load0(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm0" ::"r"(from), "r"(stride) : "memory");
}

PLANET_AMX inline void load1(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm1" ::"r"(from), "r"(stride) : "memory");
}

PLANET_AMX inline void load2(const void* from, int64_t stride) {
  asm volatile("tileloaddt1 (%0,%1,1), %%tmm2" ::"r"(from), "r"(stride) : "memory");
}

PLANET_AMX inline void store0(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm0, (%0,%1,1)" ::"r"(to), "r"(stride) : "memory");
}

PLANET_AMX inline void zero0() {
  asm volatile("tilezero %%tmm0" ::);
}

PLANET_AMX inline void multiply() {
  asm volatile("tdpbf16ps %%tmm2, %%tmm1, %%tmm0" ::);
}

}  // namespace planet::tests
