// CUDA's vector types, with its alignments.
#pragma once

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

struct uint3 {
  unsigned int x, y, z;
};

#define PLANET_VECTOR_TYPES(name, scalar)                                    \
  struct alignas(8) name##2 {                                                \
    scalar x, y;                                                             \
  };                                                                         \
  struct alignas(16) name##4 {                                               \
    scalar x, y, z, w;                                                       \
  };                                                                         \
  constexpr name##2 make_##name##2(scalar x, scalar y) {                     \
    return {x, y};                                                           \
  }                                                                          \
  constexpr name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { \
    return {x, y, z, w};                                                     \
  }

PLANET_VECTOR_TYPES(uint, unsigned int)
PLANET_VECTOR_TYPES(float, float)
#undef PLANET_VECTOR_TYPES
