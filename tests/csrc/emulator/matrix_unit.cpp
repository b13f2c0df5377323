#include "matrix_unit.h"

#include <bit>
#include <cmath>
#include <limits>

namespace planet::cuda::emulator {
namespace {

constexpr int kRows = 16, kColumns = 8, kDepth = 16;

// Four columns at once; the compiler maps it to what the processor has.
typedef float Floats __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(16)));

Floats absolute(Floats x) {
  return std::bit_cast<Floats>(std::bit_cast<Integers>(x) & 0x7FFFFFFF);
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

// Four elements of a row; false if an exponent is outside what float arithmetic holds exactly.
bool add_products(Floats& sum, const float* a, const float* b, int count, int extra_bits) {
  Floats products[kDepth];
  Floats largest = absolute(sum);
  for (int k = 0; k < count; ++k) {
    Floats column;
    __builtin_memcpy(&column, b + k * kColumns, sizeof column);
    products[k] = a[k] * column;
    const Floats size = absolute(products[k]);
    largest = size > largest ? size : largest;
  }
  constexpr int32_t kLeast = (127 - 90) << 23, kMost = (127 + 120) << 23;
  const Integers bits = std::bit_cast<Integers>(largest);
  const Integers odd = (bits > kMost) | ((bits < kLeast) & (bits != 0));
  if (odd[0] | odd[1] | odd[2] | odd[3]) return false;
  Integers exponent = bits & 0x7F800000;
  exponent = exponent < kLeast ? Integers{} + kLeast : exponent;
  // 2^(23 + extra_bits - exponent), and its inverse.
  const Floats scale = std::bit_cast<Floats>(((254 + 23 + extra_bits) << 23) - exponent);
  const Floats quantum = std::bit_cast<Floats>(exponent - ((23 + extra_bits) << 23));
  Integers units = __builtin_convertvector(sum * scale, Integers);
  for (int k = 0; k < count; ++k) units += __builtin_convertvector(products[k] * scale, Integers);
  // To 24 bits, towards zero: a float to nearest, one unit less where that was upwards.
  const Integers negative = units < 0;
  const Integers size = (units ^ negative) - negative;
  Floats rounded = __builtin_convertvector(size, Floats);
  const Integers upwards = __builtin_convertvector(rounded, Integers) > size;
  rounded = std::bit_cast<Floats>(std::bit_cast<Integers>(rounded) + upwards);
  sum = std::bit_cast<Floats>(std::bit_cast<Integers>(rounded * quantum) |
                              (negative & std::numeric_limits<int32_t>::min()));
  return true;
}

}  // namespace

float from_half(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, rest = bits & 0x7FFFu;
  if (rest >= 0x7C00u) return std::bit_cast<float>(sign | 0x7F800000u | (rest & 0x3FFu) << 13);
  return std::bit_cast<float>(sign | rest << 13) * 0x1p112f;
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

void multiply_accumulate(float* d, const float* a, const float* b, int products_at_once,
                         int extra_bits) {
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; column += 4) {
      float* out = d + row * kColumns + column;
      for (int k = 0; k < kDepth; k += products_at_once) {
        const float* left = a + row * kDepth + k;
        const float* right = b + k * kColumns + column;
        Floats sum;
        __builtin_memcpy(&sum, out, sizeof sum);
        if (add_products(sum, left, right, products_at_once, extra_bits)) {
          __builtin_memcpy(out, &sum, sizeof sum);
        } else {
          for (int i = 0; i < 4; ++i) {
            out[i] = add_products(out[i], left, right + i, products_at_once, extra_bits);
          }
        }
      }
    }
  }
}

}  // namespace planet::cuda::emulator
