#include "matrix_unit.h"

#include <bit>
#include <cmath>
#include <limits>

#include "matrix_unit_row.h"

namespace planet::cuda::emulator {

#define PLANET_COLUMNS 4
#define PLANET_ADD_ROW add_row_portable
#include "matrix_unit_row.inc"

namespace {

constexpr int kRows = 16, kColumns = 8, kDepth = 16;

bool add_row(float* out, const float* a, const float* b, int count, int extra_bits) {
#ifdef __x86_64__
  static const bool avx2 = __builtin_cpu_supports("avx2");
  if (avx2) return add_row_avx2(out, a, b, count, extra_bits);
#endif
  return add_row_portable(out, a, b, count, extra_bits);
}

inline float finite_half(uint32_t bits) {
  return std::bit_cast<float>((bits & 0x8000u) << 16 | (bits & 0x7FFFu) << 13) * 0x1p112f;
}

float cut_off(double value) {  // towards zero, to a float
  const float nearest = static_cast<float>(value);
  if (std::abs(value) >= 0x1p128) return nearest;
  if (std::isinf(nearest)) return std::copysign(std::numeric_limits<float>::max(), nearest);
  return std::abs(static_cast<double>(nearest)) > std::abs(value) ? std::nextafter(nearest, 0.0f)
                                                                  : nearest;
}

// One element, for every value and exponent.
float add_products(float sum, const float* a, const float* b, int count, int extra_bits) {
  double terms[kDepth + 1], plain = 0.0, largest = 0.0;
  terms[count] = static_cast<double>(sum);
  for (int k = 0; k < count; ++k) {
    terms[k] = static_cast<double>(a[k]) * static_cast<double>(b[k * kColumns]);
  }
  for (int k = 0; k <= count; ++k) {
    plain += terms[k];
    largest = std::fmax(largest, std::abs(terms[k]));
  }
  if (!std::isfinite(plain)) {
    return std::isnan(plain) ? std::bit_cast<float>(0x7FFFFFFF) : static_cast<float>(plain);
  }
  if (largest == 0.0) return 0.0f;
  const double quantum = std::ldexp(1.0, std::ilogb(largest) - 23 - extra_bits);
  double units = 0.0;
  for (int k = 0; k <= count; ++k) units += std::trunc(terms[k] / quantum);
  return cut_off(units * quantum);
}

// The floats of both halves of each word; whether all are finite.
bool unpack(MatrixType type, const uint32_t* words, int count, float* out) {
  if (type == MatrixType::kBfloat) {
    uint32_t odd = 0;
    for (int i = 0; i < count; ++i) {
      const uint32_t low = words[i] << 16, high = words[i] & 0xFFFF0000u;
      odd |= ((low & 0x7F800000u) == 0x7F800000u) | ((high & 0x7F800000u) == 0x7F800000u);
      out[2 * i] = std::bit_cast<float>(low);
      out[2 * i + 1] = std::bit_cast<float>(high);
    }
    return odd == 0;
  }
  // Adding 1 to an exponent of ones carries into the sign's place.
  uint32_t carry = 0;
  for (int i = 0; i < count; ++i) carry |= (words[i] & 0x7C007C00u) + 0x04000400u;
  if (carry & 0x80008000u) {
    for (int i = 0; i < count; ++i) {
      out[2 * i] = from_half(static_cast<uint16_t>(words[i]));
      out[2 * i + 1] = from_half(static_cast<uint16_t>(words[i] >> 16));
    }
    return false;
  }
  for (int i = 0; i < count; ++i) {
    out[2 * i] = finite_half(words[i] & 0xFFFFu);
    out[2 * i + 1] = finite_half(words[i] >> 16);
  }
  return true;
}

}  // namespace

float from_half(uint16_t bits) {
  if ((bits & 0x7C00u) != 0x7C00u) return finite_half(bits);
  return std::bit_cast<float>((bits & 0x8000u) << 16 | 0x7F800000u | (bits & 0x3FFu) << 13);
}

float from_bfloat(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

uint16_t to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000u;
  const float size = std::abs(value);
  if (std::isnan(value)) return 0x7FFFu;
  if (size >= 65520.0f) return static_cast<uint16_t>(sign | 0x7C00u);
  if (size < 0x1p-14f) {  // adding 2^-1 leaves the multiples of 2^-24 in the last bits
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(size + 0.5f) - 0x3F000000u));
  }
  const uint32_t rest = bits & 0x7FFFFFFFu;
  return static_cast<uint16_t>(sign | (((rest + 0xFFFu + (rest >> 13 & 1)) >> 13) - (112u << 10)));
}

uint16_t to_bfloat(float value) {
  if (std::isnan(value)) return 0x7FFFu;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

void multiply_accumulate(MatrixType type, float* d, const uint32_t* a, const uint32_t* b,
                         int products_at_once, int extra_bits) {
  float left[kRows * kDepth], columns[kColumns * kDepth], right[kDepth * kColumns];
  const bool finite =
      unpack(type, a, kRows * kDepth / 2, left) & unpack(type, b, kColumns * kDepth / 2, columns);
  for (int k = 0; k < kDepth; ++k) {
    for (int column = 0; column < kColumns; ++column) {
      right[k * kColumns + column] = columns[column * kDepth + k];
    }
  }
  for (int row = 0; row < kRows; ++row) {
    float* out = d + row * kColumns;
    for (int k = 0; k < kDepth; k += products_at_once) {
      const float* x = left + row * kDepth + k;
      const float* y = right + k * kColumns;
      if (finite && add_row(out, x, y, products_at_once, extra_bits)) continue;
      for (int i = 0; i < kColumns; ++i) {
        out[i] = add_products(out[i], x, y + i, products_at_once, extra_bits);
      }
    }
  }
}

}  // namespace planet::cuda::emulator
