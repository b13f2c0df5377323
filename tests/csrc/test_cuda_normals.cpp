// The device's tables of normals, within the contract's bound.
// (On the CPU, log and sincospi are not the device's; their bounds there are CUDA's to keep.)
#include <algorithm>
#include <cmath>

#include "emulator.h"
#include "harness.h"
#include "memory.h"
#include "oracle.h"
#include "philox.h"

namespace planet::tests {
namespace {

std::vector<int64_t> random_seeds(Random& random, int64_t batch) {
  std::vector<int64_t> seeds{0, -1};
  while (static_cast<int64_t>(seeds.size()) < batch) {
    seeds.push_back(static_cast<int64_t>(random.next()));
  }
  seeds.resize(static_cast<size_t>(batch));
  return seeds;
}

std::vector<float> run_normals(const std::vector<int64_t>& seeds, const NormalsCounter& counter,
                               int64_t candidates, int64_t dims) {
  Fenced<int64_t> in(seeds);
  const int64_t batch = static_cast<int64_t>(seeds.size());
  Fenced<float> out(batch * candidates * dims);
  const char* error =
      cuda::normals(in.data(), batch, counter, candidates, dims, out.data(), nullptr);
  if (error != nullptr) report_failure(__FILE__, __LINE__, error);
  CHECK(in.equals(seeds));
  return out.values();
}

struct TableSize {
  int64_t batch, candidates, dims;
};

// The last counter for two problems, any for other batches.
NormalsCounter counter_for(int64_t batch, Random& random) {
  if (batch == 2) return {kStreamDither, 65535, 65535, 0xFFFFFFFF};
  return {static_cast<uint32_t>(random.integer(0, 4)),
          static_cast<uint32_t>(random.integer(0, 65535)),
          static_cast<uint32_t>(random.integer(0, 65535)), static_cast<uint32_t>(random.next())};
}

const TableSize kSizes[] = {{1, 1, 1},  {1, 2, 30},  {3, 5, 7},    {2, 1001, 1},
                            {64, 1, 6}, {2, 3, 300}, {2, 16384, 5}};

}  // namespace

TEST("CUDA: normals agree with double precision") {
  Random random(options().seed + 141);
  double largest = 0.0;
  for (const TableSize& size : kSizes) {
    const std::vector<int64_t> seeds = random_seeds(random, size.batch);
    const NormalsCounter counter = counter_for(size.batch, random);
    std::vector<double> expected;
    for (const int64_t seed : seeds) {
      const auto one = oracle_normals(seed, counter, size.candidates, static_cast<int>(size.dims));
      expected.insert(expected.end(), one.begin(), one.end());
    }
    const std::vector<float> got = run_normals(seeds, counter, size.candidates, size.dims);
    const double worst = normals_error(got, expected);
    CHECK_AT_MOST(worst, 1.0);
    largest = std::max(largest, worst);
  }
  note("largest error " + show(largest) + " of the bound");
}

TEST("CUDA: normals of a candidate do not depend on how many there are") {
  Random random(options().seed + 142);
  const std::vector<int64_t> seeds = random_seeds(random, 3);
  const NormalsCounter counter = counter_for(3, random);
  const std::vector<float> all = run_normals(seeds, counter, 67, 3);
  for (int64_t count = 1; count <= 67; count += 11) {
    const std::vector<float> some = run_normals(seeds, counter, count, 3);
    for (size_t b = 0; b < 3; ++b) {
      const size_t width = static_cast<size_t>(count) * 3;
      CHECK(memcmp(some.data() + b * width, all.data() + b * 67 * 3, width * sizeof(float)) == 0);
    }
  }
}

}  // namespace planet::tests
