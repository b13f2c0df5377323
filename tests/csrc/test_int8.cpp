// int8 products against an oracle that quantises alike, in double precision.
//
// Oracle and kernel round the same activations to bytes, but from values that differ by float32's
// error. Where a value lies that close to the middle between two bytes, they may round it to
// different ones; the difference, one unit of one activation, then spreads through the rest of that
// candidate's rollout. So most candidates agree as closely as float32 does, and the others within a
// fraction of int8's own error. A wrong formula is off everywhere, by much more than float32's
// error.
#include <algorithm>
#include <cmath>

#include "calls.h"
#include "harness.h"
#include "oracle.h"
#include "pools.h"

namespace planet::tests {
namespace {

constexpr double kExact = 4e-6;  // float32's tolerance, twice: steps and sums are rounded as well

struct Agreement {
  double exact;    // share of candidates that agree to kExact
  double largest;  // error of the others
  double own;      // rms error of int8 itself, against the oracle that does not quantise
};

Agreement compare(const RandomModel& model, const Rollout& rollout, Kernels kernels) {
  const Returns expected = oracle_returns(model, Precision::kInt8, rollout);
  const Returns unquantised = oracle_returns(model, Precision::kFloat32, rollout);
  const PackedModel packed(model, kernels);
  const std::vector<float> got = run_rollout(packed.model, rollout, serial(1));
  const std::vector<double> errors = returns_errors(got, expected);
  double squares = 0.0;
  for (const double error : returns_errors(got, unquantised)) squares += error * error;
  const auto exact =
      std::count_if(errors.begin(), errors.end(), [](double error) { return error <= kExact; });
  const double count = static_cast<double>(errors.size());
  return {static_cast<double>(exact) / count, returns_error(got, expected),
          std::sqrt(squares / count)};
}

}  // namespace

TEST("int8 returns agree with an oracle that rounds weights and activations alike") {
  Random random(options().seed + 40);
  std::vector<Shape> shapes = small_shapes();
  for (const Shape& shape : preset_shapes()) shapes.push_back(shape);
  double exact = 1.0, largest = 0.0, own = 0.0;
  for (const Kernels& kernels : kernels_of(Precision::kInt8)) {
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
        exact = std::min(exact, agreement.exact);
        largest = std::max(largest, agreement.largest);
        own = std::max(own, agreement.own);
      }
    }
  }
  if (kernels_of(Precision::kInt8).empty()) return note("not run: no int8 instructions here");
  note("exact at least " + show(exact) + ", others within " + show(largest) +
       ", int8's own error at most " + show(own));
}

}  // namespace planet::tests
