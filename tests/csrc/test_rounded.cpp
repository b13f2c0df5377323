// Products in int8 and bf16 against an oracle that rounds alike, in double precision.
//
// Oracle and kernel round the same activations, but from values that differ by float32's error.
// Where a value lies that close to the middle between two roundings, they may take different ones;
// the difference, one unit of one activation, then spreads through the rest of that candidate's
// rollout. So most candidates agree as closely as float32 does, and the others within a fraction of
// the rounding's own error. A wrong formula is off everywhere, by much more than float32's error.
#include <algorithm>
#include <cmath>
#include <string>

#include "calls.h"
#include "harness.h"
#include "oracle.h"
#include "pools.h"

namespace planet::tests {
namespace {

constexpr double kExact = 4e-6;  // float32's tolerance, twice: steps and sums are rounded as well

struct Agreement {
  double exact = 1.0;    // share of candidates that agree to kExact
  double largest = 0.0;  // error of the others
  double own = 0.0;      // rms error of the rounding itself, against the oracle that does not round

  void add(const Agreement& other) {
    exact = std::min(exact, other.exact);
    largest = std::max(largest, other.largest);
    own = std::max(own, other.own);
  }
};

// The functions that kernels have for exact ones.
const Functions* functions_of(Kernels kernels) {
  const std::string name = cpu::kernels_name(kernels.isa, kernels.precision);
#if defined(__x86_64__)
  if (name == "amx" || name == "avx512bf16") return &rational_avx512;
#endif
  if (name == "amx-double") return &rational_anywhere;
  return nullptr;
}

Agreement compare(const RandomModel& model, const Rollout& rollout, Kernels kernels) {
  const Returns expected = oracle_returns(model, kernels.precision, rollout, functions_of(kernels));
  const Returns unrounded = oracle_returns(model, Precision::kFloat32, rollout);
  const PackedModel packed(model, kernels);
  const std::vector<float> got = run_rollout(packed.model, rollout, serial(1));
  const std::vector<double> errors = returns_errors(got, expected);
  double squares = 0.0;
  for (const double error : returns_errors(got, unrounded)) squares += error * error;
  const auto exact =
      std::count_if(errors.begin(), errors.end(), [](double error) { return error <= kExact; });
  const double count = static_cast<double>(errors.size());
  return {static_cast<double>(exact) / count, returns_error(got, expected),
          std::sqrt(squares / count)};
}

// The least agreement over all shapes.
Agreement compare_all(Kernels kernels, Random& random) {
  std::vector<Shape> shapes = small_shapes();
  for (const Shape& shape : preset_shapes()) shapes.push_back(shape);
  Agreement least;
  for (const Shape& shape : shapes) {
    for (const bool per_candidate : {false, true}) {
      const RandomModel model(shape, random);
      const bool large = shape.hidden >= 100;
      if (large && options().quick) continue;
      const int64_t horizon = large ? 1 : 3, candidates = large ? 67 : 203;
      Rollout rollout(model.sizes, horizon, 1, candidates, NoiseKind::kValues, per_candidate, 1.0,
                      random);
      if (per_candidate) {
        for (float& h : rollout.belief) h *= 3.0f;  // starts beyond [-1, 1] are served
      }
      const Scope scope(kernels.name(), ", ", shape.name(), ", horizon ", horizon,
                        per_candidate ? ", start per candidate" : "");
      const Agreement agreement = compare(model, rollout, kernels);
      CHECK_AT_MOST(0.9, agreement.exact);
      CHECK_AT_MOST(agreement.largest, 0.05);
      CHECK_AT_MOST(agreement.own, 0.05);
      least.add(agreement);
    }
  }
  return least;
}

void check_all(Precision precision, uint64_t seed) {
  Random random(options().seed + seed);
  if (kernels_of(precision).empty()) return note("not run: no kernels for it here");
  for (const Kernels& kernels : kernels_of(precision)) {
    const Agreement least = compare_all(kernels, random);
    note(kernels.name() + ": exact at least " + show(least.exact) + ", others within " +
         show(least.largest) + ", its own error at most " + show(least.own));
  }
}

}  // namespace

TEST("int8 returns agree with an oracle that rounds weights and activations alike") {
  check_all(Precision::kInt8, 40);
}

TEST("bf16 returns agree with an oracle that rounds weights and activations alike") {
  check_all(Precision::kBfloat16, 41);
}

}  // namespace planet::tests
