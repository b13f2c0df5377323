// Random words, uniforms and normals.
#include <algorithm>
#include <cmath>

#include "harness.h"
#include "oracle.h"
#include "philox.h"

namespace planet::tests {
namespace {

// kat_vectors of Random123 (Salmon et al., SC 2011), philox4x32 with 10 rounds.
struct KnownAnswer {
  uint32_t counter[4], key[2], words[4];
};
constexpr KnownAnswer kKnown[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

}  // namespace

TEST("philox gives the known answers of Random123") {
  for (const KnownAnswer& known : kKnown) {
    uint32_t words[4], mine[4];
    std::copy(known.counter, known.counter + 4, words);
    std::copy(known.counter, known.counter + 4, mine);
    philox4x32(words, known.key[0], known.key[1]);
    oracle_philox(mine, known.key[0], known.key[1]);
    for (int i = 0; i < 4; ++i) {
      CHECK_EQUAL(words[i], known.words[i]);
      CHECK_EQUAL(mine[i], known.words[i]);
    }
  }
}

TEST("uniforms lie inside (0, 1) and are exact") {
  CHECK_EQUAL(uniform(0), 0x1p-25);
  CHECK_EQUAL(uniform(0xFF), 0x1p-25);
  CHECK_EQUAL(uniform(0x100), 0x3p-25);
  CHECK_EQUAL(uniform(0xFFFFFFFF), 1.0 - 0x1p-25);
}

TEST("normals agree with double precision on every instruction set") {
  Random random(options().seed);
  const int64_t candidates = options().quick ? 203 : 20003;
  const int dims = 7;
  double largest = 0.0;
  for (int trial = 0; trial < 8; ++trial) {
    const int64_t seed = trial == 0 ? 0 : trial == 1 ? -1 : static_cast<int64_t>(random.next());
    const NormalsCounter counter{
        static_cast<uint32_t>(trial % 5), static_cast<uint32_t>(random.integer(0, 65535)),
        trial == 1 ? 65535 : static_cast<uint32_t>(random.integer(0, 65535)),
        trial == 1 ? 0xFFFFFFFF : static_cast<uint32_t>(random.next())};
    const std::vector<double> expected = oracle_normals(seed, counter, candidates, dims);
    for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
      const Scope scope(kernels.name(), ", seed ", seed);
      Fenced<float> got(candidates * dims);
      cpu::normals(kernels.isa, seed, counter, candidates, dims, got.data());
      const double worst = normals_error(got.values(), expected);
      CHECK_AT_MOST(worst, 1.0);
      largest = std::max(largest, worst);
    }
  }
  note("largest error " + show(largest) + " of the bound");
}

TEST("normals of a candidate do not depend on how many there are") {
  const NormalsCounter counter{kStreamExploration, 3, 5, 7};
  for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
    Fenced<float> all(67 * 3);
    cpu::normals(kernels.isa, 11, counter, 67, 3, all.data());
    for (int64_t count = 1; count <= 67; ++count) {
      const Scope scope(kernels.name(), ", candidates ", count);
      Fenced<float> some(count * 3);
      cpu::normals(kernels.isa, 11, counter, count, 3, some.data());
      CHECK(memcmp(some.data(), all.data(), static_cast<size_t>(count) * 3 * sizeof(float)) == 0);
    }
  }
}

}  // namespace planet::tests
