// Returns of rollouts against double precision.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>

#include "calls.h"
#include "harness.h"
#include "oracle.h"
#include "philox.h"
#include "pools.h"

namespace planet::tests {
namespace {

// As tests/ops/tolerances.py, for weights of PyTorch's default scale.
constexpr double kTolerance = 2e-6;

// The rewards of random models of a few units may cancel: to a thirtieth of their terms or less,
// where one rounding of float32 is 2e-6. Such models are allowed two roundings of the terms.
constexpr double kRoundings = 0x1p-23;

// Around the edges of lanes, panels and tiles; every panel width of every instruction set occurs.
std::vector<int64_t> candidate_counts() {
  if (options().quick) return {1, 3, 5, 9, 16, 31, 33, 48, 65};
  return {1,  2,  3,  4,  5,  6,  7,  8,  9,  12, 13, 15, 16,  17,
          23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 200};
}

// Largest error of all kernels on the first columns of one set of inputs.
double check_shape(const RandomModel& model, const Rollout& rollout,
                   const std::vector<int64_t>& counts, bool may_cancel) {
  const Returns all = oracle_returns(model, Precision::kFloat32, rollout);
  const double rounding = may_cancel ? kRoundings * all.magnitude / all.scale : 0.0;
  double largest = 0.0;
  for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
    const PackedModel packed(model, kernels);
    for (const int64_t count : counts) {
      if (count > rollout.candidates) continue;
      const Scope scope(kernels.name(), ", candidates ", count);
      const Rollout part = candidates_of(rollout, model.sizes, 0, count);
      const double error = returns_error(run_rollout(packed.model, part, serial(1)),
                                         all.first(rollout.batch, count));
      CHECK_AT_MOST(error, kTolerance + rounding);
      largest = std::max(largest, error);
    }
  }
  return largest;
}

}  // namespace

TEST("returns agree with double precision around the edges of tiles") {
  Random random(options().seed);
  double largest = 0.0;
  int trial = 0;
  for (const Shape& shape : small_shapes()) {
    for (const bool per_candidate : {false, true}) {
      for (const NoiseKind noise : {NoiseKind::kNone, NoiseKind::kValues}) {
        ++trial;
        if (options().quick && (trial + trial / 4) % 2 == 0) continue;
        const RandomModel model(shape, random);
        const int64_t horizon = 1 + trial % 5, batch = 1 + trial % 3;
        const double discount = trial % 2 ? 0.9 : 1.0;
        const Scope scope(shape.name(), ", horizon ", horizon, ", batch ", batch,
                          per_candidate ? ", start per candidate" : "", ", noise ",
                          noise == NoiseKind::kNone ? "none" : "values", ", discount ", discount);
        const std::vector<int64_t> counts = candidate_counts();
        const Rollout rollout(model.sizes, horizon, batch, counts.back(), noise, per_candidate,
                              discount, random);
        largest = std::max(largest, check_shape(model, rollout, counts, true));
      }
    }
  }
  note("largest error " + show(largest));
}

TEST("returns agree with double precision at the sizes of the presets") {
  Random random(options().seed + 1);
  double largest = 0.0;
  for (const Shape& shape : preset_shapes()) {
    const Scope scope(shape.name());
    const RandomModel model(shape, random);
    const Rollout rollout(model.sizes, options().quick ? 2 : 12, 1, options().quick ? 17 : 67,
                          NoiseKind::kValues, false, 1.0, random);
    largest = std::max(largest, check_shape(model, rollout, {17, 67}, false));
  }
  note("largest error " + show(largest));
}

TEST("counter-based noise is the noise that the table of normals gives") {
  Random random(options().seed + 2);
  const Shape shape{13, 5, 2, 10, {6, 1}, false};
  const RandomModel model(shape, random);
  for (const Kernels& kernels : all_kernels()) {
    const PackedModel packed(model, kernels);
    for (const int64_t candidates : {1, 6, 17, 65}) {
      const Scope scope(kernels.name(), ", candidates ", candidates);
      Rollout r(model.sizes, 3, 2, candidates, NoiseKind::kSeeds, false, 1.0, random);
      const std::vector<float> returns = run_rollout(packed.model, r, serial(1));
      r.noise = NoiseKind::kValues;
      const int64_t block = candidates * shape.state;
      r.values.resize(static_cast<size_t>(r.horizon * r.batch * block));
      for (int64_t i = 0; i < r.horizon * r.batch; ++i) {
        const uint32_t time = static_cast<uint32_t>(i / r.batch);
        cpu::normals(kernels.isa, r.seeds[static_cast<size_t>(i % r.batch)],
                     {kStreamState, time, r.iteration, r.particle}, candidates, shape.state,
                     r.values.data() + i * block);
      }
      CHECK(same_bits(run_rollout(packed.model, r, serial(1)), returns));
    }
  }
}

TEST("the largest sizes work") {
  if (options().quick) return;
  Random random(options().seed + 3);
  const Shape shape{512, 512, 512, 512, {512, 512, 512, 1}, false};
  const RandomModel model(shape, random);
  const Rollout rollout(model.sizes, 1, 1, 5, NoiseKind::kValues, false, 1.0, random);
  note("largest error " + show(check_shape(model, rollout, {5}, true)));
}

TEST("what is not finite, huge or tiny stays with its candidate") {
  Random random(options().seed + 4);
  constexpr size_t kBroken = 20;
  for (const Shape& shape : {Shape{9, 4, 2, 11, {8, 1}, true}, Shape{0, 4, 2, 6, {5, 1}, false}}) {
    const RandomModel model(shape, random);
    const Rollout rollout(model.sizes, 2, 1, 37, NoiseKind::kValues, true, 1.0, random);
    const struct {
      std::vector<float> Rollout::* values;
      int width;
    } places[] = {{&Rollout::actions, shape.action},
                  {&Rollout::values, shape.state},
                  {&Rollout::state, shape.state},
                  {&Rollout::belief, shape.belief}};
    for (const Kernels& kernels : all_kernels()) {
      const PackedModel packed(model, kernels);
      const std::vector<float> before = run_rollout(packed.model, rollout, serial(1));
      for (const auto& place : places) {
        if (place.width == 0) continue;
        for (const float value : {NAN, INFINITY, -INFINITY, 3.4e38f, -3e38f, 1e-42f}) {
          const Scope scope(kernels.name(), ", ", shape.name(), ", place ", &place - places, ", ",
                            value);
          Rollout broken = rollout;
          (broken.*place.values)[kBroken * static_cast<size_t>(place.width)] = value;
          std::vector<float> after = run_rollout(packed.model, broken, serial(1));
          // What bf16 rounds has to be finite, and below its largest number; noise is not rounded,
          // but the state that it makes.
          const float most = place.values == &Rollout::values ? FLT_MAX : 0x1.fep127f;
          const bool outside = kernels.precision == Precision::kBfloat16 && std::abs(value) > most;
          if (std::isnan(value) || outside) CHECK(std::isnan(after[kBroken]));
          after[kBroken] = before[kBroken];
          CHECK(same_bits(after, before));
        }
      }
    }
  }
}

TEST("weights that are no numbers, whatever their bits, or infinite make every return NaN") {
  Random random(options().seed + 6);
  for (const Shape& shape : {Shape{9, 4, 2, 11, {8, 1}, true}, Shape{0, 4, 2, 6, {5, 1}, true}}) {
    const RandomModel model(shape, random);
    const Rollout rollout(model.sizes, 2, 1, 19, NoiseKind::kValues, true, 1.0, random);
    for (std::vector<float> RandomModel::* place :
         {&RandomModel::input_weight, &RandomModel::input_bias, &RandomModel::gru_weight_ih,
          &RandomModel::gru_weight_hh, &RandomModel::gru_bias_ih, &RandomModel::gru_bias_hh,
          &RandomModel::prior_hidden_weight, &RandomModel::prior_weight}) {
      for (const uint32_t bits : {0x7FC00000u, 0xFFFFFFFFu, 0x7FFFFFFFu, 0x7F800001u}) {
        RandomModel broken = model;
        if ((broken.*place).empty()) continue;
        (broken.*place).assign((broken.*place).size(), std::bit_cast<float>(bits));
        for (const Kernels& kernels : all_kernels()) {
          if (kernels.precision == Precision::kInt8) continue;
          const Scope scope(kernels.name(), ", ", shape.name(), ", bits ", bits);
          for (const float value :
               run_rollout(PackedModel(broken, kernels).model, rollout, serial(1))) {
            CHECK(std::isnan(value));
          }
        }
      }
    }
    RandomModel broken = model;
    broken.input_weight.assign(broken.input_weight.size(), INFINITY);
    for (const Kernels& kernels : kernels_of(Precision::kBfloat16)) {
      const Scope scope(kernels.name(), ", ", shape.name(), ", infinite");
      const PackedModel packed(broken, kernels);
      for (const float value : run_rollout(packed.model, rollout, serial(1))) {
        CHECK(std::isnan(value));
      }
    }
  }
}

TEST("a raw stddev that is no number gives none, in either form") {
  Random random(options().seed + 5);
  for (const bool clamp : {false, true}) {
    RandomModel model({0, 1, 2, 2, {1}, false, clamp}, random);
    // The hidden layer is infinite, and so is the mean; the raw stddev is inf - inf.
    model.input_weight.assign(2 * 3, 0.0f);
    model.input_bias.assign(2, 1.0f);
    model.prior_hidden_weight.assign(2 * 2, 3e38f);
    model.prior_weight = {1.0f, 1.0f, 1.0f, -1.0f};
    const Rollout rollout(model.sizes, 1, 1, 19, NoiseKind::kValues, false, 1.0, random);
    for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
      const Scope scope(kernels.name(), clamp ? ", clamp" : ", add");
      const PackedModel packed(model, kernels);
      for (const float value : run_rollout(packed.model, rollout, serial(1))) {
        CHECK(std::isnan(value));
      }
    }
  }
}

}  // namespace planet::tests
