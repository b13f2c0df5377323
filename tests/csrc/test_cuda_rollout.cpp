// Returns of the CUDA rollout in the emulator, against double precision and against themselves.
#include <algorithm>
#include <cmath>

#include "calls.h"
#include "cuda_calls.h"
#include "emulator.h"
#include "harness.h"
#include "oracle.h"
#include "pools.h"

namespace planet::tests {
namespace {

using cuda::emulator::Device;
using cuda::emulator::DeviceScope;
using cuda::emulator::JitterScope;

// Largest error over the returns' rms, for weights of PyTorch's default scale: float32 as on the
// CPU, the others by their rounding.
double tolerance(Precision precision) {
  return precision == Precision::kFloat32 ? 2e-6 : precision == Precision::kFloat16 ? 2e-3 : 1.5e-2;
}

// Small random models, whose rewards may cancel, are allowed two roundings of the terms besides.
double allowance(Precision precision, const Returns& expected) {
  const double rounding = precision == Precision::kFloat32   ? 0x1p-23
                          : precision == Precision::kFloat16 ? 0x1p-10
                                                             : 0x1p-7;
  return rounding * expected.magnitude / expected.scale;
}

// Any tiles of one size, precision and input.
std::vector<int> all_rows(Precision precision) {
  if (precision == Precision::kFloat32) return {16, 32};
  return {16, 32, 64};
}

std::vector<float> slice(const std::vector<float>& values, int64_t first, int64_t count) {
  return {values.begin() + first, values.begin() + first + count};
}

double check(const RandomModel& model, Precision precision, const Rollout& rollout,
             const Returns& expected, bool may_cancel) {
  const CudaModel packed(model, precision);
  const double error = returns_error(run_rollout(packed.model, rollout), expected);
  CHECK_AT_MOST(error, tolerance(precision) + (may_cancel ? allowance(precision, expected) : 0.0));
  return error;
}

// The largest error of each precision.
class Largest {
 public:
  ~Largest() {
    note("largest errors: fp32 " + show(errors_[0]) + ", fp16 " + show(errors_[1]) + ", bf16 " +
         show(errors_[2]));
  }
  void check_all(const RandomModel& model, const Rollout& rollout, bool may_cancel) {
    const Returns expected = oracle_returns(model, Precision::kFloat32, rollout);
    for (int i = 0; i < 3; ++i) {
      const Precision precision = kCudaPrecisions[i];
      const Scope scope(precision_name(precision));
      errors_[i] = std::max(errors_[i], check(model, precision, rollout, expected, may_cancel));
    }
  }

 private:
  double errors_[3] = {};
};

}  // namespace

TEST("cuda: returns agree with double precision around the edges of tiles") {
  Random random(options().seed);
  Largest largest;
  std::vector<Shape> shapes = small_shapes();
  shapes.push_back({0, 17, 16, 33, {1}, false});
  shapes.push_back({15, 8, 7, 8, {31, 33, 16, 1}, true, true});
  shapes.push_back({64, 16, 8, 31, {15, 17, 1}, false});
  shapes.push_back({8, 16, 17, 100, {9, 8, 100, 1}, true});
  int trial = 0;
  for (const Shape& shape : shapes) {
    for (const NoiseKind noise : {NoiseKind::kNone, NoiseKind::kValues}) {
      ++trial;
      const RandomModel model(shape, random);
      const int64_t counts[] = {37, 1, 16, 33, 65, 15, 64, 31, 17, 100, 32, 2};
      const Rollout rollout(model.sizes, 1 + trial % 4, 1 + trial % 3, counts[trial / 2 % 12],
                            noise, trial % 4 > 1, trial % 2 ? 0.9 : 1.0, random);
      const Scope scope(shape.name(), ", candidates ", rollout.candidates, ", trial ", trial);
      largest.check_all(model, rollout, true);
    }
  }
}

TEST("cuda: returns agree with double precision at the sizes of the presets") {
  Random random(options().seed + 1);
  Largest largest;
  for (const Shape& shape : preset_shapes()) {
    const Scope scope(shape.name());
    const RandomModel model(shape, random);
    const Rollout rollout(model.sizes, options().quick ? 2 : 6, 1, 33, NoiseKind::kValues, false,
                          1.0, random);
    largest.check_all(model, rollout, false);
  }
}

TEST("cuda: bits do not depend on the tile, nor on the order in which threads run") {
  Random random(options().seed + 2);
  for (const Shape& shape : {Shape{40, 6, 3, 24, {20, 18, 17, 1}, true},
                             Shape{272, 5, 2, 17, {1}, false}, Shape{0, 6, 2, 20, {9, 1}, false},
                             Shape{40, 6, 3, 24, {20, 2}, false}, Shape{24, 9, 2, 17, {2}, true}}) {
    const RandomModel model(shape, random);
    const Rollout rollout(model.sizes, 3, 2, 70, NoiseKind::kSeeds, true, 0.95, random);
    for (const Precision precision : kCudaPrecisions) {
      const CudaModel packed(model, precision);
      const std::vector<float> expected = CudaRollout(rollout).in_tiles(packed.model, 32);
      for (const int rows : all_rows(precision)) {
        const Scope scope(shape.name(), ", ", precision_name(precision), ", rows ", rows);
        CHECK(same_bits(CudaRollout(rollout).in_tiles(packed.model, rows), expected));
        const JitterScope jitter(random.next() | 1);
        CHECK(same_bits(CudaRollout(rollout).in_tiles(packed.model, rows), expected));
      }
    }
  }
}

TEST("cuda: candidates and problems are independent, bit for bit") {
  Random random(options().seed + 3);
  const Shape shape{21, 7, 2, 18, {10, 9, 1}, false};
  const RandomModel model(shape, random);
  for (const Precision precision : kCudaPrecisions) {
    const Scope scope(precision_name(precision));
    const CudaModel packed(model, precision);
    const Rollout all(model.sizes, 2, 3, 70, NoiseKind::kValues, true, 1.0, random);
    const std::vector<float> returns = run_rollout(packed.model, all);
    for (int64_t b = 0; b < all.batch; ++b) {
      CHECK(same_bits(run_rollout(packed.model, problem_of(all, model.sizes, b)),
                      slice(returns, b * 70, 70)));
    }
    for (const int64_t first : {0, 1, 13, 69}) {
      const int64_t count = std::min<int64_t>(70 - first, 20);
      const std::vector<float> part =
          run_rollout(packed.model, candidates_of(all, model.sizes, first, count));
      for (int64_t b = 0; b < all.batch; ++b) {
        CHECK(same_bits(slice(part, b * count, count), slice(returns, b * 70 + first, count)));
      }
    }
  }
}

TEST("cuda: every number of candidates gives the same returns") {
  Random random(options().seed + 4);
  const Shape shape{9, 4, 2, 11, {8, 1}, true};
  const RandomModel model(shape, random);
  const Rollout all(model.sizes, 2, 1, 100, NoiseKind::kSeeds, false, 1.0, random);
  for (const Precision precision : kCudaPrecisions) {
    const CudaModel packed(model, precision);
    const std::vector<float> returns = run_rollout(packed.model, all);
    for (int64_t count = 1; count <= 100; count += options().quick ? 7 : 1) {
      const Scope scope(precision_name(precision), ", candidates ", count);
      const Rollout part = candidates_of(all, model.sizes, 0, count);
      CHECK(same_bits(run_rollout(packed.model, part), slice(returns, 0, count)));
    }
  }
}

TEST("cuda: drawn noise and actions are those of the tables of normals") {
  Random random(options().seed + 5);
  const Shape shape{13, 5, 3, 10, {6, 1}, false};
  const RandomModel model(shape, random);
  const int64_t horizon = 3, batch = 2, candidates = 41;
  Rollout r(model.sizes, horizon, batch, candidates, NoiseKind::kSeeds, false, 1.0, random);
  const std::vector<float> mean = random.uniforms(horizon * batch * 3, -0.5, 0.5);
  const std::vector<float> stddev = random.uniforms(horizon * batch * 3, 0.1, 1.0);
  const std::vector<float> low = random.uniforms(batch * 3, -1.0, -0.6);
  const std::vector<float> high = random.uniforms(batch * 3, 0.6, 1.0);
  const std::vector<int64_t> seeds = {static_cast<int64_t>(random.next()),
                                      static_cast<int64_t>(random.next())};
  Rollout given = r;
  given.noise = NoiseKind::kValues;
  given.values.clear();
  given.actions.clear();
  for (int64_t t = 0; t < horizon; ++t) {
    for (int64_t b = 0; b < batch; ++b) {
      const uint32_t time = static_cast<uint32_t>(t);
      const size_t problem = static_cast<size_t>(b);
      const NormalsCounter noise{kStreamState, time, r.iteration, r.particle};
      for (const double x : oracle_normals(r.seeds[problem], noise, candidates, 5)) {
        given.values.push_back(static_cast<float>(x));
      }
      const NormalsCounter action{kStreamActions, time, 77, 0};
      const std::vector<double> normals = oracle_normals(seeds[problem], action, candidates, 3);
      for (size_t i = 0; i < normals.size(); ++i) {
        const size_t dim = i % 3, at = static_cast<size_t>(t * batch + b) * 3 + dim;
        const double x =
            static_cast<double>(mean[at]) + static_cast<double>(stddev[at]) * normals[i];
        given.actions.push_back(
            static_cast<float>(std::clamp(x, static_cast<double>(low[problem * 3 + dim]),
                                          static_cast<double>(high[problem * 3 + dim]))));
      }
    }
  }
  const Returns expected = oracle_returns(model, Precision::kFloat32, given);
  for (const Precision precision : kCudaPrecisions) {
    const Scope scope(precision_name(precision));
    const CudaModel packed(model, precision);
    CudaRollout drawn(r);
    drawn.arguments.actions = {nullptr,      mean.data(), stddev.data(), low.data(), high.data(),
                               seeds.data(), 77};
    CHECK_AT_MOST(returns_error(drawn.launched(packed.model), expected),
                  tolerance(precision) + allowance(precision, expected));
    for (const int rows : all_rows(precision)) {
      CHECK(same_bits(drawn.in_tiles(packed.model, rows), drawn.launched(packed.model)));
    }
  }
}

TEST("cuda: candidates beyond a format's range are float32's, in bf16 NaN; the others as before") {
  Random random(options().seed + 6);
  for (const Shape& shape : {Shape{9, 4, 2, 11, {8, 7, 1}, true}, Shape{0, 4, 2, 6, {1}, false},
                             Shape{9, 4, 2, 11, {8, 7, 2}, true}}) {
    const RandomModel model(shape, random);
    const PackedModel on_cpu(model, kernels_of(Precision::kFloat32).front());
    const Rollout rollout(model.sizes, 3, 2, 37, NoiseKind::kValues, true, 1.0, random);
    for (const Precision precision : kCudaPrecisions) {
      const CudaModel packed(model, precision);
      const std::vector<float> before = run_rollout(packed.model, rollout);
      for (const float value : {1e6f, -1e6f, 3e30f, -3e38f, INFINITY, -INFINITY, NAN}) {
        const Scope scope(shape.name(), ", ", precision_name(precision), ", ", value);
        Rollout broken = rollout;
        for (const size_t candidate : {0, 20, 21, 36, 37 + 5}) {
          broken.actions[candidate * 2 + candidate % 2] = value;
        }
        const std::vector<float> after = run_rollout(packed.model, broken);
        const std::vector<float> exact = run_rollout(on_cpu.model, broken, serial(1));
        for (size_t i = 0; i < after.size(); ++i) {
          if (i != 0 && i != 20 && i != 21 && i != 36 && i != 37 + 5) {
            CHECK(after[i] == before[i]);
          } else if (precision == Precision::kBfloat16) {
            CHECK_EQUAL(std::isnan(after[i]), !(std::abs(value) < 1e32f));
          } else if (std::isnan(exact[i]) || std::isinf(exact[i])) {
            CHECK(std::isnan(exact[i]) ? std::isnan(after[i]) : after[i] == exact[i]);
          } else {
            CHECK_AT_MOST(std::abs(after[i] - exact[i]),
                          1e-5f * std::max(std::abs(exact[i]), 1.0f));
          }
        }
        const JitterScope jitter(random.next() | 1);
        CHECK(same_bits(run_rollout(packed.model, broken), after));
      }
    }
  }
}

TEST("cuda: huge and tiny weights are scaled") {
  Random random(options().seed + 7);
  const Shape shape{12, 4, 2, 20, {10, 1}, false};
  for (const Precision precision : kCudaPrecisions) {
    for (const float factor : {1e-6f, 1e-3f, 1e3f}) {
      const Scope scope(precision_name(precision), ", factor ", factor);
      RandomModel model(shape, random);
      for (float& w : model.reward_weights[0]) w *= factor;
      for (float& w : model.reward_biases[0]) w *= factor;
      for (float& w : model.reward_weights[1]) w /= factor;
      const Rollout rollout(model.sizes, 2, 1, 20, NoiseKind::kValues, false, 1.0, random);
      check(model, precision, rollout, oracle_returns(model, Precision::kFloat32, rollout), true);
    }
  }
}

TEST("cuda: a step reads every weight once per block and meets no bank conflicts") {
  Random random(options().seed + 9);
  const Shape shape{200, 30, 6, 200, {200, 200, 1}, false};
  const RandomModel model(shape, random);
  for (const Precision precision : kCudaPrecisions) {
    const CudaModel packed(model, precision);
    const cuda::PackedLayout layout = cuda::packed_layout(model.sizes, precision);
    int64_t tiles = 0;
    for (const cuda::LayerLayout& layer : layout.layer) {
      tiles += layer.blocks * cuda::tiles_per_block(layer, layout.parts);
    }
    for (const int rows : all_rows(precision)) {
      const Scope scope(precision_name(precision), ", rows ", rows);
      cuda::emulator::Counters counters[2];
      for (const int64_t horizon : {1, 2}) {
        const Rollout rollout(model.sizes, horizon, 1, rows, NoiseKind::kSeeds, false, 1.0, random);
        CudaRollout(rollout).in_tiles(packed.model, rows);
        counters[horizon - 1] = cuda::emulator::last_launch();
      }
      const int64_t products = layout.parts == 2 ? 3 : 1;  // per weight and row tile
      CHECK_EQUAL(counters[1].multiply_accumulates - counters[0].multiply_accumulates,
                  tiles / layout.parts * products * 2 * (rows / 16));
      CHECK_EQUAL(counters[1].streamed_bytes - counters[0].streamed_bytes,
                  tiles * cuda::kTileBytes);
      CHECK_EQUAL(counters[1].load_matrix_conflicts, int64_t{0});
    }
  }
}

TEST("cuda: the largest sizes work, on small devices by the exact path") {
  Random random(options().seed + 8);
  const Shape shape{512, 512, 512, 512, {512, 512, 512, 1}, false};
  const RandomModel model(shape, random);
  const Rollout rollout(model.sizes, 1, 1, 3, NoiseKind::kValues, false, 1.0, random);
  const Returns expected = oracle_returns(model, Precision::kFloat32, rollout);
  for (const Device& device : {Device::sm_90(), Device::sm_80(), Device::sm_120()}) {
    if (options().quick && device.major != 9) continue;
    const DeviceScope scope_of_device(device);
    for (const Precision precision : kCudaPrecisions) {
      const Scope scope("sm ", device.major, ", ", precision_name(precision));
      check(model, precision, rollout, expected, true);
    }
  }
}

}  // namespace planet::tests
