// The tile instructions one by one, with known answers: on processors that have them the real ones,
// elsewhere their emulator.
#include <string.h>

#include <cfenv>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "harness.h"
#include "memory.h"
#include "random_model.h"
#include "tile_calls.h"
#include "tile_emulator.h"

namespace planet::tests {
namespace {

using Words = std::vector<uint32_t>;

Words counting(int count, uint32_t first) {
  Words out(static_cast<size_t>(count));
  for (uint32_t& x : out) x = first++;
  return out;
}

uint32_t bits(float x) {
  uint32_t out;
  memcpy(&out, &x, sizeof out);
  return out;
}

float value(uint32_t bits) {
  float out;
  memcpy(&out, &bits, sizeof out);
  return out;
}

uint32_t pair(float even, float odd) {
  return bits(even) >> 16 | (bits(odd) & 0xFFFF0000u);
}

float flushed(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}

// C + A B by the SDM's sums, one number after the other.
Words product(int m, int k, int n, Words c, const Words& a, const Words& b) {
  const auto step = [](uint32_t left, uint32_t right, float sum) {
    return flushed(std::fmaf(flushed(value(left)), flushed(value(right)), sum));
  };
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      float even = 0.0f, odd = 0.0f;
      for (int p = 0; p < k; ++p) {
        const uint32_t left = a[static_cast<size_t>(i * k + p)];
        const uint32_t right = b[static_cast<size_t>(p * n + j)];
        even = step(left << 16, right << 16, even);
        odd = step(left & 0xFFFF0000u, right & 0xFFFF0000u, odd);
      }
      uint32_t& out = c[static_cast<size_t>(i * n + j)];
      out = bits(flushed(flushed(value(out)) + flushed(even + odd)));
    }
  }
  return c;
}

Words run_product(int m, int k, int n, const Words& c, const Words& a, const Words& b) {
  Words out(c.size());
  configure(product_of(m, k, n));
  load0(c.data(), 4 * n);
  load1(a.data(), 4 * k);
  load2(b.data(), 4 * n);
  multiply();
  store0(out.data(), 4 * n);
  release();
  return out;
}

// Equal bits, or both NaN.
bool same(const Words& got, const Words& expected) {
  for (size_t i = 0; i < got.size(); ++i) {
    const bool nan = std::isnan(value(got[i])) && std::isnan(value(expected[i]));
    if (got[i] != expected[i] && !nan) return false;
  }
  return got.size() == expected.size();
}

// Runs the body where tiles are, and sees that the thread gives them back.
void with_tiles(void (*body)(TileInstructions&)) {
  TileInstructions tiles;
  if (!tiles.available()) return note("not run: no AMX, and no AVX-512 to emulate it");
  note(tiles.emulated() ? "emulated" : "on the processor's tiles");
  body(tiles);
  CHECK(!tiles_in_use());
  CHECK_EQUAL(tiles.unwritten(), int64_t{0});
  CHECK_EQUAL(tiles.reconfigured(), int64_t{0});
}

}  // namespace

TEST("tiles: the configuration is what was loaded, and nothing after a release") {
  with_tiles([](TileInstructions&) {
    CHECK(!tiles_in_use());
    const TileShapes shape = product_of(3, 5, 7);
    configure(shape);
    CHECK(tiles_in_use());
    CHECK(configuration() == shape);
    std::thread([] { CHECK(!tiles_in_use()); }).join();
    release();
    CHECK(!tiles_in_use());
    TileShapes none;
    none.palette = 0;
    CHECK(configuration() == none);
    configure(full());
    configure(none);
    CHECK(!tiles_in_use());
  });
}

TEST("tiles: loads and stores move rows, bytes and strides of the configuration") {
  with_tiles([](TileInstructions&) {
    const Words from = counting(16 * 20, 1);
    for (const auto& [rows, columns] : {std::pair{16, 16}, {1, 1}, {3, 5}, {16, 2}, {5, 16}}) {
      const Scope scope(rows, " rows of ", columns);
      Words expected(16 * 24, 0xA5A5A5A5u), got = expected;
      for (int r = 0; r < rows; ++r) {
        for (int c = 0; c < columns; ++c) {
          expected[static_cast<size_t>(r * 24 + c)] = from[static_cast<size_t>(r * 20 + c)];
        }
      }
      configure(TileShapes().tile(0, rows, 4 * columns));
      load0(from.data(), 80);
      store0(got.data(), 96);
      CHECK(same_bits(got, expected));
      zero0();
      store0(got.data(), 96);
      for (int r = 0; r < rows; ++r) {
        for (int c = 0; c < columns; ++c) CHECK_EQUAL(got[static_cast<size_t>(r * 24 + c)], 0u);
      }
      release();
    }
  });
}

namespace {

// Two rows of 8 words, 16 words apart, from `at` on: bases and indices below and above register 8,
// each form of displacement, each scale.
PLANET_AMX std::vector<Words> load_in_all_forms(const uint32_t* at) {
  std::vector<Words> out;
  const auto keep = [&] {
    out.emplace_back(16);
    store0(out.back().data(), 32);
  };
  asm volatile("tileloadd (%0,%1,1), %%tmm0" ::"r"(at), "r"(int64_t{64}) : "memory");
  keep();
  asm volatile("movq %0, %%r13\n movq %1, %%r12\n tileloadd (%%r13,%%r12,2), %%tmm0" ::"r"(at),
               "r"(int64_t{32})
               : "r12", "r13", "memory");
  keep();
  asm volatile(
      "movq %0, %%r12\n movq %1, %%rax\n tileloadd 1000(%%r12,%%rax,4), %%tmm0" ::"r"(at - 250),
      "r"(int64_t{16})
      : "r12", "rax", "memory");
  keep();
  asm volatile(
      "movq %0, %%rdx\n movq %1, %%r9\n tileloaddt1 -64(%%rdx,%%r9,8), %%tmm0" ::"r"(at + 16),
      "r"(int64_t{8})
      : "rdx", "r9", "memory");
  keep();
  asm volatile("tileloadd 64(%0,%1,1), %%tmm0" ::"r"(at), "r"(int64_t{-64}) : "memory");
  keep();
  asm volatile("tileloadd 64(%0), %%tmm0" ::"r"(at) : "memory");  // no index: no stride
  keep();
  return out;
}

// The product by tiles 5, 7 and 3.
PLANET_AMX Words product_elsewhere(const Words& c, const Words& a, const Words& b) {
  Words out(256);
  const int64_t stride = 64;
  asm volatile("tileloadd (%0,%1,1), %%tmm5" ::"r"(c.data()), "r"(stride) : "memory");
  asm volatile("tileloadd (%0,%1,1), %%tmm7" ::"r"(a.data()), "r"(stride) : "memory");
  asm volatile("tileloadd (%0,%1,1), %%tmm3" ::"r"(b.data()), "r"(stride) : "memory");
  asm volatile("tdpbf16ps %%tmm3, %%tmm7, %%tmm5" ::);
  asm volatile("tilestored %%tmm5, (%0,%1,1)" ::"r"(out.data()), "r"(stride) : "memory");
  return out;
}

PLANET_AMX void configure_from_constant() {
  static const TileShapes shape = full();
  asm volatile("ldtilecfg %0" ::"m"(shape));
}

}  // namespace

TEST("tiles: addresses are base, index, scale and displacement") {
  with_tiles([](TileInstructions&) {
    const Words from = counting(600, 0);
    const auto rows = [](uint32_t first, uint32_t second) {
      Words out = counting(8, first);
      for (const uint32_t x : counting(8, second)) out.push_back(x);
      return out;
    };
    configure(TileShapes().tile(0, 2, 32));
    const std::vector<Words> got = load_in_all_forms(from.data() + 300);
    release();
    for (size_t form = 0; form < got.size(); ++form) {
      const Scope scope("form ", form);
      const Words expected = form < 4    ? rows(300, 316)
                             : form == 4 ? rows(316, 300)
                                         : rows(316, 316);
      CHECK(got[form] == expected);
    }
  });
}

TEST("tiles: a product is the sum of its pairs in order, for every shape") {
  with_tiles([](TileInstructions&) {
    Random random(options().seed);
    for (int trial = 0; trial < (options().quick ? 20 : 200); ++trial) {
      const auto size = [&] { return static_cast<int>(random.integer(1, 16)); };
      const int m = trial ? size() : 16, k = trial ? size() : 16, n = trial ? size() : 16;
      const auto numbers = [&](int count, bool pairs) {
        Words out;
        for (int i = 0; i < count; ++i) {
          const auto number = [&] { return static_cast<float>(random.normal()); };
          out.push_back(pairs ? pair(number(), number()) : bits(number()));
        }
        return out;
      };
      const Words c = numbers(m * n, false), a = numbers(m * k, true), b = numbers(k * n, true);
      CHECK(run_product(m, k, n, c, a, b) == product(m, k, n, c, a, b));
    }
    const Words c = counting(256, 0x3F800000u), a = counting(256, 0x3F803F80u);
    configure_from_constant();
    CHECK(product_elsewhere(c, a, c) == product(16, 16, 16, c, a, c));
    release();
  });
}

TEST("tiles: denormals are zero, and infinities and NaN stay with their elements") {
  with_tiles([](TileInstructions&) {
    const float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("");
    const float denormal = 0x1p-127f, least = 0x1p-126f, largest = 0x1.FEp127f;
    const auto one = [](float c, uint32_t a, uint32_t b) {
      return value(run_product(1, 1, 1, {bits(c)}, {a}, {b})[0]);
    };
    CHECK_EQUAL(one(1.5f, pair(2.0f, 3.0f), pair(4.0f, 5.0f)), 24.5f);
    CHECK_EQUAL(one(denormal, pair(1.0f, 0.0f), pair(0.0f, 0.0f)), 0.0f);
    CHECK_EQUAL(one(0.0f, pair(denormal, 1.0f), pair(largest, 1.0f)), 1.0f);
    CHECK_EQUAL(one(0.0f, pair(least, 0.0f), pair(0.5f, 0.0f)), 0.0f);
    CHECK_EQUAL(one(0.0f, pair(least, -least), pair(1.5f, 1.0f)), 0.0f);
    CHECK_EQUAL(one(0.0f, pair(least, 0.0f), pair(1.0f, 0.0f)), least);
    std::fesetround(FE_UPWARD);  // products round to even whatever the thread does
    CHECK_EQUAL(one(1.0f, pair(0x1p-24f, 0.0f), pair(1.0f, 0.0f)), 1.0f);
    CHECK_EQUAL(one(1.0f, pair(0x1.8p-23f, 0.0f), pair(1.0f, 0.0f)), 1.0f + 0x1p-22f);
    std::fesetround(FE_TONEAREST);
    CHECK_EQUAL(one(0.0f, pair(largest, 0.0f), pair(2.0f, 0.0f)), infinity);
    CHECK(std::isnan(one(0.0f, pair(infinity, -infinity), pair(1.0f, 1.0f))));
    CHECK(std::isnan(one(infinity, pair(0.0f, nan), pair(1.0f, 1.0f))));
    CHECK(std::isnan(one(0.0f, pair(infinity, 1.0f), pair(0.0f, 1.0f))));

    // Numbers of every exponent; a few are not finite.
    Random random(options().seed + 1);
    Words c = counting(256, 0), a = c, b = c;
    for (Words* words : {&c, &a, &b}) {
      for (uint32_t& x : *words) x = static_cast<uint32_t>(random.next());
    }
    CHECK(same(run_product(16, 16, 16, c, a, b), product(16, 16, 16, c, a, b)));
    a.assign(256, pair(1.0f, 1.0f));
    b.assign(256, pair(0.0f, 0.0f));
    a[3 * 16 + 4] = pair(1.0f, nan);  // row 3 of the sum
    c.assign(256, 0);
    const Words sum = run_product(16, 16, 16, c, a, b);
    for (size_t i = 0; i < sum.size(); ++i) CHECK_EQUAL(std::isnan(value(sum[i])), i / 16 == 3);
  });
}

}  // namespace planet::tests
