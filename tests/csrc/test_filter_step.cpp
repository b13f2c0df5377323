// Frames to latents, against double precision.
#include <algorithm>
#include <cmath>

#include "harness.h"
#include "oracle.h"
#include "pools.h"
#include "random_filter.h"

namespace planet::tests {
namespace {

// Largest errors of beliefs and states. A belief is the sum of parts below one, of some hundred
// products; a state adds the posterior's, over the largest embeddings, and its normal's.
constexpr double kBelief = 5e-7;
constexpr double kState = 2e-6;

double largest_error(const std::vector<float>& got, const std::vector<double>& expected) {
  double largest = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - expected[i]);
    if (std::isnan(error)) return error;
    largest = std::max(largest, error);
  }
  return largest;
}

// A random model, filter and inputs of one shape.
struct Case {
  RandomModel model;
  RandomFilter filter;
  Filtering inputs;

  Case(const FilterShape& shape, int64_t batch, Random& random)
      : model(shape.model, random),
        filter(shape, random),
        inputs(model.sizes, filter.encoder, batch, random) {}
};

const FilterShape kSmall{{33, 5, 3, 20, {1}, true, true}, 7, 5, {{3, 2, 1}, {17, 3, 2}}};

// Calls body(case, packed filter) for a batch of five, on every instruction set.
template <class Body>
void on_every_isa(uint64_t seed, Body body) {
  Random random(options().seed + seed);
  const Case one(kSmall, 5, random);
  for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
    const Scope scope(kernels.name());
    body(one, PackedFilter(one.model, one.filter, kernels.isa));
  }
}

}  // namespace

TEST("filtered frames agree with double precision") {
  Random random(options().seed + 160);
  std::vector<FilterShape> shapes = filter_shapes();
  if (!options().quick) shapes.push_back(paper_filter());
  double belief = 0.0, state = 0.0;
  for (const FilterShape& shape : shapes) {
    for (const int64_t batch : {1, 2, 7}) {
      if (options().quick && batch == 2) continue;
      const Case one(shape, batch, random);
      std::vector<Posterior> expected;
      for (int64_t b = 0; b < batch; ++b) {
        expected.push_back(oracle_posterior(one.model, one.filter, one.inputs.row(b)));
      }
      for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
        const PackedFilter packed(one.model, one.filter, kernels.isa);
        const Filtered got = run_filter(packed.model, one.inputs, serial(1));
        for (int64_t b = 0; b < batch; ++b) {
          const Scope scope(shape.name(), "; ", kernels.name(), ", row ", b, " of ", batch);
          const Filtered row = got.row(b, batch);
          const Posterior& right = expected[static_cast<size_t>(b)];
          CHECK_AT_MOST(largest_error(row.belief, right.belief), kBelief);
          CHECK_AT_MOST(largest_error(row.state, right.state()), kState);
          belief = std::max(belief, largest_error(row.belief, right.belief));
          state = std::max(state, largest_error(row.state, right.state()));
        }
      }
    }
  }
  note("largest error of beliefs " + show(belief) + ", of states " + show(state));
}

TEST("a row is filtered as it is alone, on any number of workers") {
  Random random(options().seed + 161);
  for (const FilterShape& shape : filter_shapes()) {
    const Case one(shape, 7, random);
    for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
      const Scope scope(shape.name(), "; ", kernels.name());
      const PackedFilter packed(one.model, one.filter, kernels.isa);
      const Filtered all = run_filter(packed.model, one.inputs, serial(1));
      for (const int workers : {2, 3, 7}) {
        CHECK(run_filter(packed.model, one.inputs, serial(workers)) == all);
      }
      CHECK(run_filter(packed.model, one.inputs, threads(3)) == all);
      for (const int64_t b : {0, 3, 6}) {
        CHECK(run_filter(packed.model, one.inputs.row(b), threads(2)) == all.row(b, 7));
      }
    }
  }
}

TEST("a latent or an action that is no number stays in its row") {
  on_every_isa(162, [](const Case& one, const PackedFilter& packed) {
    const Filtered before = run_filter(packed.model, one.inputs, serial(1));
    const auto check = [&](std::vector<float> Filtering::* member, float value, bool spoils) {
      Filtering broken = one.inputs;
      const size_t width = (broken.*member).size() / 5;
      (broken.*member)[3 * width] = value;
      const Filtered after = run_filter(packed.model, broken, serial(1));
      for (int64_t b = 0; b < 5; ++b) {
        if (b != 3) CHECK(after.row(b, 5) == before.row(b, 5));
      }
      const Filtered row = after.row(3, 5);
      const auto is_nan = [](float x) { return std::isnan(x); };
      if (spoils) CHECK(std::any_of(row.belief.begin(), row.belief.end(), is_nan));
      if (spoils) CHECK(std::any_of(row.state.begin(), row.state.end(), is_nan));
    };
    for (const float value : {NAN, INFINITY, -INFINITY, 3e38f, 1e-42f}) {
      const Scope scope("value ", value);
      check(&Filtering::belief, value, std::isnan(value));
      check(&Filtering::state, value, std::isnan(value));
      check(&Filtering::action, value, std::isnan(value));
    }
  });
}

TEST("weights that are no numbers give none") {
  on_every_isa(163, [](const Case& one, const PackedFilter& healthy) {
    RandomFilter filter = one.filter;
    filter.encoder_weights[0][1] = NAN;  // of every pixel's first channel
    const PackedFilter packed(one.model, filter, healthy.model.isa);
    for (const float x : run_filter(packed.model, one.inputs, serial(1)).state) {
      CHECK(std::isnan(x));
    }
  });
}

TEST("a seed decides dither and sample of its row alone") {
  on_every_isa(164, [](const Case& one, const PackedFilter& packed) {
    const Filtered before = run_filter(packed.model, one.inputs, serial(1));
    Filtering other = one.inputs;
    other.seeds[2] ^= int64_t{1} << 40;
    const Filtered after = run_filter(packed.model, other, serial(1));
    CHECK(same_bits(after.belief, before.belief));
    for (int64_t b = 0; b < 5; ++b) {
      CHECK_EQUAL(same_bits(after.row(b, 5).state, before.row(b, 5).state), b != 2);
    }
  });
}

}  // namespace planet::tests
