// The selection by one block against a sort of everything.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda/launch.h"
#include "cuda/select.cuh"
#include "harness.h"
#include "memory.h"
#include "oracle.h"

namespace planet::tests {
namespace {

using cuda::SelectionSpace;

// elites [blocks, K], written by positions. A problem per block, again and again in the same shared
// memory.
__global__ void select_test_kernel(const float* returns, int64_t candidates, int64_t topk,
                                   int repeats, uint32_t* elites) {
  SelectionSpace& space = *reinterpret_cast<SelectionSpace*>(cuda::shared_memory());
  returns += blockIdx.x * candidates;
  elites += blockIdx.x * topk;
  const auto return_at = [=](int64_t j) { return returns[j]; };
  for (int i = 0; i < repeats; ++i) {
    const cuda::Selection selection = cuda::select_elites(return_at, candidates, topk, space);
    cuda::for_each_elite(return_at, candidates, selection, space,
                         [=](uint32_t position, uint32_t j) { elites[position] = j; });
    __syncthreads();
  }
}

// In order of the indices.
std::vector<uint32_t> run_select(const std::vector<float>& returns, int64_t candidates,
                                 int64_t topk, int threads) {
  const int64_t blocks = static_cast<int64_t>(returns.size()) / candidates;
  Fenced<float> in(returns);
  Fenced<uint32_t> out(blocks * topk);
  cuda::Launch how{};
  how.grid = dim3(static_cast<unsigned int>(blocks));
  how.block = dim3(static_cast<unsigned int>(threads));
  how.shared_bytes = sizeof(SelectionSpace);
  const char* error =
      cuda::launch(how, select_test_kernel, in.data(), candidates, topk, 2, out.data());
  if (error != nullptr) report_failure(__FILE__, __LINE__, error);
  CHECK(in.equals(returns));
  return out.values();
}

void check(const std::vector<float>& returns, int64_t candidates, int64_t topk, int threads) {
  const Scope scope("J ", candidates, ", K ", topk, ", threads ", threads);
  std::vector<uint32_t> expected;
  for (size_t b = 0; b < returns.size(); b += static_cast<size_t>(candidates)) {
    std::vector<int64_t> elites = oracle_elites(returns.data() + b, candidates, topk);
    std::sort(elites.begin(), elites.end());
    expected.insert(expected.end(), elites.begin(), elites.end());
  }
  CHECK(run_select(returns, candidates, topk, threads) == expected);
}

std::vector<int64_t> sizes_of(int64_t candidates) {
  std::vector<int64_t> out{1, 2, candidates / 10, candidates / 2, candidates - 1, candidates};
  const auto wrong = [&](int64_t k) { return k < 1 || k > candidates; };
  out.erase(std::remove_if(out.begin(), out.end(), wrong), out.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// Returns of every kind that has made a selection fail somewhere.
std::vector<float> adversarial(Random& random, int kind, int64_t count) {
  std::vector<float> out = random.normals(count);
  const auto set = [&](auto value) {
    for (int64_t i = 0; i < count; ++i) out[static_cast<size_t>(i)] = value(i);
  };
  const float few[] = {0.0f, -0.0f, 1.5f, -2.0f, INFINITY, -INFINITY, NAN, -NAN, 1e-45f, -1e-45f};
  switch (kind) {
    case 0:  // all equal
      set([&](int64_t) { return -3.25f; });
      break;
    case 1:
      set([&](int64_t) { return NAN; });
      break;
    case 2:  // ties, special values
      set([&](int64_t) { return few[random.integer(0, 9)]; });
      break;
    case 3:  // any bits
      set([&](int64_t) { return from_bits(static_cast<uint32_t>(random.next())); });
      break;
    case 4:  // the highest digits are all the same
      set([&](int64_t) {
        return from_bits(0x3F800000u + static_cast<uint32_t>(random.next() % 9));
      });
      break;
    case 5:  // subnormal
      set([&](int64_t) { return from_bits(static_cast<uint32_t>(random.next() & 0x80000FFFu)); });
      break;
    case 6:  // descending: the elites come first
      set([&](int64_t i) { return static_cast<float>(-i); });
      break;
    case 7:  // ascending: they come last
      set([&](int64_t i) { return static_cast<float>(i); });
      break;
    case 8:  // ties between both signs of zero
      set([&](int64_t i) { return i % 3 ? 0.0f : -0.0f; });
      break;
    default:  // all but one NaN
      set([&](int64_t i) { return i == count / 2 ? -INFINITY : NAN; });
  }
  return out;
}
constexpr int kKinds = 10;

}  // namespace

TEST("CUDA: the selection equals a sort of all candidates, for any block") {
  Random random(options().seed + 120);
  for (const int64_t candidates : {1, 2, 31, 32, 33, 100, 1000, 1001, 5000}) {
    const std::vector<float> returns = random.normals(2 * candidates);
    for (const int64_t topk : sizes_of(candidates)) {
      for (const int threads : {32, 96, 256, 1024}) {
        if (options().quick && threads != 256) continue;
        check(returns, candidates, topk, threads);
      }
    }
  }
}

TEST("CUDA: the selection is exact for ties, NaN, infinities, zeros and subnormals") {
  Random random(options().seed + 121);
  for (int kind = 0; kind < kKinds; ++kind) {
    const Scope scope("kind ", kind);
    for (const int64_t candidates : {1, 33, 300, 1001}) {
      const std::vector<float> returns = adversarial(random, kind, candidates);
      for (const int64_t topk : sizes_of(candidates)) check(returns, candidates, topk, 256);
    }
  }
}

TEST("CUDA: the selection does not depend on the order in which threads run") {
  Random random(options().seed + 122);
  for (uint64_t seed = 1; seed <= (options().quick ? 3 : 20); ++seed) {
    const cuda::emulator::JitterScope jitter(seed);
    const int64_t candidates = random.integer(1, 400);
    check(adversarial(random, static_cast<int>(seed) % kKinds, candidates), candidates,
          random.integer(1, candidates), 128);
  }
}

}  // namespace planet::tests
