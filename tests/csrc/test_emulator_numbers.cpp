// Numbers of the emulated device: sums of matrix units, conversions, functions, normals.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "cuda/activations.cuh"
#include "cuda/intrinsics.cuh"
#include "cuda/launch.h"
#include "cuda/normals.cuh"
#include "harness.h"
#include "matrix_unit.h"
#include "matrix_unit_row.h"
#include "oracle.h"

namespace planet::tests {
namespace {

using namespace planet::cuda;
using emulator::MatrixType;

// One element: 1 x 1 of a product whose row of a and column of b are given, fp16.
float dot(float sum, const std::vector<float>& a, const std::vector<float>& b, int products_at_once,
          int extra_bits) {
  uint32_t left[16 * 8] = {}, right[8 * 8] = {};
  for (size_t k = 0; k < a.size(); ++k) {
    left[k / 2] |= static_cast<uint32_t>(emulator::to_half(a[k])) << (k % 2 * 16);
    right[k / 2] |= static_cast<uint32_t>(emulator::to_half(b[k])) << (k % 2 * 16);
  }
  float d[16 * 8] = {};
  d[0] = sum;
  emulator::multiply_accumulate(MatrixType::kHalf, d, left, right, products_at_once, extra_bits);
  return d[0];
}

// The model of matrix_unit.h in integers, for terms of one exponent range.
float dot_by_integers(float sum, const std::vector<float>& a, const std::vector<float>& b,
                      int extra_bits) {
  double largest = std::abs(static_cast<double>(sum));
  for (size_t k = 0; k < a.size(); ++k) {
    largest = std::max(largest, std::abs(static_cast<double>(a[k]) * static_cast<double>(b[k])));
  }
  if (largest == 0.0) return 0.0f;
  const int shift = 23 + extra_bits - std::ilogb(largest);
  const auto units = [shift](double x) { return static_cast<int64_t>(std::ldexp(x, shift)); };
  int64_t total = units(static_cast<double>(sum));
  for (size_t k = 0; k < a.size(); ++k) {
    total += units(static_cast<double>(a[k]) * static_cast<double>(b[k]));
  }
  const uint64_t size = static_cast<uint64_t>(std::abs(total));
  const int drop = std::max(0, 64 - std::countl_zero(size) - 24);
  const double kept = std::ldexp(static_cast<double>(size >> drop << drop), -shift);
  return static_cast<float>(total < 0 ? -kept : kept);
}

std::vector<float> random_halves(Random& random, size_t count, int exponents) {
  std::vector<float> out(count);
  for (float& x : out) {
    x = emulator::from_half(emulator::to_half(static_cast<float>(
        std::ldexp(random.uniform(-2.0, 2.0), static_cast<int>(random.integer(-exponents, 3))))));
  }
  return out;
}

__global__ void pairs_kernel(const uint32_t* words, int count, float* out) {
  for (int i = static_cast<int>(threadIdx.x); i < count * count;
       i += static_cast<int>(blockDim.x)) {
    normal_pair(words[i / count], words[i % count], out[2 * i], out[2 * i + 1]);
  }
}

}  // namespace

TEST("matrix units: what is below the kept bits of the largest term is cut off") {
  // 2^24 keeps multiples of 2, 1 and 1/2 with 0, 1 and 2 extra bits before the sum is cut off.
  const std::vector<float> ones(4, 1.0f), halves(4, 0.5f);
  CHECK_EQUAL(dot(0x1p24f, {1, 1}, {1, 1}, 16, 0), 0x1p24f);
  CHECK_EQUAL(dot(0x1p24f, {1, 1}, {1, 1}, 16, 1), 0x1p24f + 2);
  CHECK_EQUAL(dot(0x1p24f, ones, halves, 16, 1), 0x1p24f);
  CHECK_EQUAL(dot(0x1p24f, ones, halves, 16, 2), 0x1p24f + 2);
  // The sum is cut off, not rounded, and towards zero.
  CHECK_EQUAL(dot(0x1p24f, {1, 1, 1}, {1, 1, 1}, 16, 2), 0x1p24f + 2);
  CHECK_EQUAL(dot(-0x1p24f, {-1, -1, -1}, {1, 1, 1}, 16, 2), -0x1p24f - 2);
  CHECK_EQUAL(dot(-0x1p24f, {1}, {1}, 16, 2), -0x1p24f + 1);
  // Eight at a time: the second half meets a sum that the first has cut off.
  std::vector<float> a(16, 0.0f), b(16, 1.0f);
  a[0] = a[8] = 1.0f;
  CHECK_EQUAL(dot(0x1p24f, a, b, 16, 1), 0x1p24f + 2);
  CHECK_EQUAL(dot(0x1p24f, a, b, 8, 1), 0x1p24f);
}

TEST("matrix units: sums equal the model in integers") {
  Random random(options().seed);
  int wrong = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    const int exponents = trial % 12, extra_bits = trial % 3;
    const std::vector<float> a = random_halves(random, 16, exponents);
    const std::vector<float> b = random_halves(random, 16, exponents);
    const float sum = static_cast<float>(random.uniform(-4.0, 4.0)) * (trial % 5 ? 1.0f : 1e4f);
    const float got = dot(sum, a, b, 16, extra_bits);
    wrong += got != dot_by_integers(sum, a, b, extra_bits);
  }
  CHECK_EQUAL(wrong, 0);
}

TEST("matrix units: every instruction set gives the same bits") {
  Random random(options().seed);
  int refused = 0;
  for (int trial = 0; trial < 5000; ++trial) {
    const int count = trial % 2 ? 16 : 8;
    const std::vector<float> a = random_halves(random, 16, 20), b = random_halves(random, 128, 20);
    std::vector<float> sums(8);
    for (float& x : sums) x = static_cast<float>(random.normal());
    if (trial % 50 == 0) sums[3] = std::numeric_limits<float>::infinity();
    std::vector<float> portable = sums, wide = sums;
    const bool done = emulator::add_row_portable(portable.data(), a.data(), b.data(), count, 2);
    refused += !done;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
      CHECK(done == emulator::add_row_avx2(wide.data(), a.data(), b.data(), count, 2));
      CHECK(wide == portable);
    }
#endif
    if (!done) CHECK(portable == sums);
  }
  CHECK_EQUAL(refused, 100);
}

TEST("matrix units: tiny, huge, infinite and NaN") {
  const float infinite = std::numeric_limits<float>::infinity();
  CHECK_EQUAL(dot(0.0f, {0x1p-24f}, {0x1p-24f}, 16, 2), 0x1p-48f);
  CHECK_EQUAL(dot(0x1p-140f, {0.0f}, {1.0f}, 16, 2), 0x1p-140f);
  CHECK_EQUAL(dot(0x1p120f, {1.0f}, {1.0f}, 16, 2), 0x1p120f);
  CHECK_EQUAL(dot(0.0f, {65504.0f}, {65504.0f}, 16, 2), 65504.0f * 65504.0f);
  CHECK_EQUAL(dot(0.0f, {infinite}, {1.0f}, 16, 2), infinite);
  CHECK_EQUAL(dot(0.0f, {infinite}, {-1.0f}, 16, 2), -infinite);
  CHECK_EQUAL(dot(infinite, {1.0f}, {1.0f}, 16, 2), infinite);
  CHECK(std::isnan(dot(0.0f, {infinite}, {0.0f}, 16, 2)));
  CHECK(std::isnan(dot(infinite, {-infinite}, {1.0f}, 16, 2)));
  CHECK(std::isnan(dot(std::nanf(""), {1.0f}, {1.0f}, 16, 2)));
}

TEST("emulator: all halves convert there and back; ties go to even") {
  int wrong = 0;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float x = emulator::from_half(half), y = emulator::from_bfloat(half);
    wrong += std::isnan(x) ? (bits & 0x7FFF) <= 0x7C00 : emulator::to_half(x) != half;
    wrong += std::isnan(y) ? (bits & 0x7FFF) <= 0x7F80 : emulator::to_bfloat(y) != half;
    // Halfway to the next: to the even one; a little less or more: to the nearer one.
    if ((bits & 0x7FFF) < 0x7BFF) {
      const float next = emulator::from_half(static_cast<uint16_t>(bits + 1));
      const float middle = (x + next) / 2;
      const uint32_t even = bits + (bits & 1);
      wrong += emulator::to_half(middle) != even;
      wrong += emulator::to_half(std::nextafter(middle, x)) != bits;
      wrong += emulator::to_half(std::nextafter(middle, next)) != bits + 1;
    }
  }
  CHECK_EQUAL(wrong, 0);
  CHECK_EQUAL(emulator::to_half(65519.0f), 0x7BFF);
  CHECK_EQUAL(emulator::to_half(65520.0f), 0x7C00);
  CHECK_EQUAL(emulator::to_half(-1e30f), 0xFC00);
  CHECK_EQUAL(emulator::to_bfloat(1.00390625f), 0x3F80);  // 1 + 2^-8, halfway
  CHECK_EQUAL(emulator::to_bfloat(1.01171875f), 0x3F82);  // 1 + 3 2^-8
  CHECK_EQUAL(emulator::to_bfloat(std::numeric_limits<float>::max()), 0x7F80);
}

TEST("emulator: fast functions have the errors of the device's") {
  double worst_exp = 0.0, worst_sine = 0.0;
  for (int i = -40000; i <= 40000; ++i) {
    const float x = static_cast<float>(i) * 1e-3f;
    const double exact = std::exp(static_cast<double>(x));
    // CUDA C++ Programming Guide: 2 + floor(|1.173 x|) units in the last place.
    const double unit = std::ldexp(1.0, std::ilogb(exact) - 23);
    worst_exp =
        std::max(worst_exp, std::abs(static_cast<double>(fast_exp(x)) - exact) / unit /
                                (2.0 + std::floor(std::abs(1.173 * static_cast<double>(x)))));
    float sine, cosine;
    sincospif(x, &sine, &cosine);
    const double angle = 3.14159265358979323846 * std::fmod(static_cast<double>(x), 2.0);
    worst_sine = std::max({worst_sine, std::abs(static_cast<double>(sine) - std::sin(angle)),
                           std::abs(static_cast<double>(cosine) - std::cos(angle))});
  }
  CHECK_AT_MOST(worst_exp, 1.0);
  CHECK_AT_MOST(worst_sine, 0x1p-24);
  CHECK_EQUAL(fast_exp(-100.0f), 0.0f);
  CHECK_EQUAL(fast_exp(100.0f), std::numeric_limits<float>::infinity());
  CHECK_EQUAL(fast_reciprocal(std::numeric_limits<float>::infinity()), 0.0f);
  CHECK_EQUAL(fast_reciprocal(0x1p-127f), std::numeric_limits<float>::infinity());
}

TEST("CUDA: normal_pair agrees with double precision for words at the edges") {
  std::vector<uint32_t> words;
  for (const uint32_t centre : {0u, 0x40000000u, 0x80000000u, 0xC0000000u}) {
    for (int i = -40; i <= 40; ++i) {
      words.push_back(centre + static_cast<uint32_t>(i));
      words.push_back(centre + static_cast<uint32_t>(i) * 256);
      words.push_back(centre + static_cast<uint32_t>(i) * 65536);
    }
  }
  const size_t count = words.size();
  std::vector<float> got(2 * count * count);
  CHECK(launch({1, 256, 0, nullptr}, pairs_kernel, words.data(), static_cast<int>(count),
               got.data()) == nullptr);
  std::vector<double> expected;
  for (size_t i = 0; i < count * count; ++i) {
    const double radius = std::sqrt(-2.0 * std::log(uniform(words[i / count])));
    // Reduces the argument exactly: double's sine of 2 pi u loses bits close to a whole turn.
    const double turns = 2.0 * (uniform(words[i % count]) - std::rint(uniform(words[i % count])));
    const double angle = turns * 3.14159265358979323846;
    expected.push_back(radius * std::cos(angle));
    expected.push_back(radius * std::sin(angle));
  }
  const double worst = normals_error(got, expected);
  CHECK_AT_MOST(worst, 1.0);
  note("largest error " + show(worst) + " of the bound");
}

TEST("cuda: a stddev has its minimum added or is clamped at it, and NaN stays NaN") {
  constexpr float kAdd = 0.5f, kClamp = -0.5f;
  for (const float raw : {-200.0f, -3.0f, -0.4f, 0.0f, 2.0f, 90.0f}) {
    const Scope scope("raw ", raw);
    CHECK_EQUAL(stddev_of(raw, kAdd), softplus(raw) + 0.5f);
    CHECK_EQUAL(stddev_of(raw, kClamp), std::max(softplus(raw), 0.5f));
  }
  for (const float floor : {kAdd, kClamp, 0.0f, -0.0f}) CHECK(std::isnan(stddev_of(NAN, floor)));
}

}  // namespace planet::tests
