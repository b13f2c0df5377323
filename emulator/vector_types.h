// CUDA's vector types, with its alignments.
#pragma once

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

#define PLANET_VECTOR_TYPES(name, scalar)                                     \
  struct alignas(2 * sizeof(scalar)) name##2 {                                \
    scalar x, y;                                                              \
  };                                                                          \
  struct name##3 {                                                            \
    scalar x, y, z;                                                           \
  };                                                                          \
  struct alignas(4 * sizeof(scalar) < 16 ? 4 * sizeof(scalar) : 16) name##4 { \
    scalar x, y, z, w;                                                        \
  };                                                                          \
  constexpr name##2 make_##name##2(scalar x, scalar y) {                      \
    return {x, y};                                                            \
  }                                                                           \
  constexpr name##3 make_##name##3(scalar x, scalar y, scalar z) {            \
    return {x, y, z};                                                         \
  }                                                                           \
  constexpr name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) {  \
    return {x, y, z, w};                                                      \
  }

PLANET_VECTOR_TYPES(char, signed char)
PLANET_VECTOR_TYPES(uchar, unsigned char)
PLANET_VECTOR_TYPES(short, short)
PLANET_VECTOR_TYPES(ushort, unsigned short)
PLANET_VECTOR_TYPES(int, int)
PLANET_VECTOR_TYPES(uint, unsigned int)
PLANET_VECTOR_TYPES(longlong, long long)
PLANET_VECTOR_TYPES(ulonglong, unsigned long long)
PLANET_VECTOR_TYPES(float, float)
PLANET_VECTOR_TYPES(double, double)
#undef PLANET_VECTOR_TYPES
