// Returns of the CUDA rollout against double precision, in the emulator.
#include <algorithm>
#include <cmath>

#include "cuda_calls.h"
#include "emulator.h"
#include "harness.h"
#include "oracle.h"

namespace planet::tests {
namespace {

std::vector<Shape> small_shapes() {
  return {{1, 1, 1, 1, {1}, false},         {7, 3, 2, 9, {5, 1}, false},
          {20, 6, 1, 17, {16, 8, 1}, true}, {33, 5, 3, 30, {12, 9, 7, 1}, false},
          {16, 4, 6, 64, {1}, true},        {1, 30, 21, 3, {64, 2, 1}, false},
          {0, 6, 2, 20, {9, 1}, false},     {0, 3, 1, 5, {4, 11, 1}, true}};
}

// Largest error over the returns' rms: of float32 as on the CPU, of the others by their rounding.
double tolerance(Precision precision) {
  return precision == Precision::kFloat32 ? 2e-6 : precision == Precision::kFloat16 ? 2e-3 : 1.5e-2;
}

}  // namespace

TEST("cuda: returns agree with double precision") {
  Random random(options().seed);
  int trial = 0;
  for (const Shape& shape : small_shapes()) {
    for (const Precision precision : kCudaPrecisions) {
      ++trial;
      const RandomModel model(shape, random);
      const NoiseKind noise = trial % 2 ? NoiseKind::kValues : NoiseKind::kNone;
      const Rollout rollout(model.sizes, 1 + trial % 4, 1 + trial % 3, 37, noise, trial % 4 > 1,
                            trial % 2 ? 0.9 : 1.0, random);
      CudaModel packed(model, precision);
      const Returns expected = oracle_returns(model, Precision::kFloat32, rollout);
      const auto got = run_rollout(packed.model, rollout);
      CHECK_AT_MOST(returns_error(got, expected), tolerance(precision));
    }
  }
}

}  // namespace planet::tests
