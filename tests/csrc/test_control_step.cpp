// From frames to actions, against the parts that a control step is made of.
#include <cmath>

#include "agent_calls.h"
#include "harness.h"
#include "pools.h"

namespace planet::tests {
namespace {

const FilterShape kShapes[] = {
    {{15, 4, 3, 12, {9, 1}, false}, 7, 5, {{3, 2, 1}, {17, 3, 2}}},
    {{33, 5, 1, 20, {1}, true, true}, 9, 8, {}},
};

// Calls body(agent, kernels, random) on all kernels.
template <class Body>
void for_each_agent(uint64_t seed, Body body) {
  Random random(options().seed + seed);
  for (const FilterShape& shape : kShapes) {
    const RandomAgent agent(shape, random);
    for (const Kernels& kernels : all_kernels()) {
      const Scope scope(kernels.name(), ", ", shape.name());
      body(agent, kernels, random);
    }
  }
}

bool near(const std::vector<float>& got, const std::vector<float>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(std::abs(got[i] - expected[i]) <= 1e-6f)) return false;
  }
  return got.size() == expected.size();
}

}  // namespace

TEST("a control step is a filter, a plan and noise, on any number of workers") {
  for_each_agent(170, [](const RandomAgent& agent, Kernels kernels, Random& random) {
    for (int trial = 0; trial < 6; ++trial) {
      const int64_t batch = trial % 2 ? 3 : 1;
      const auto shift = static_cast<Shift>(trial / 2);
      Stepping inputs(agent, batch, random);
      if (shift != Shift::kNone) inputs.go_on(shift, agent.model.sizes, random);
      if (batch > 1) inputs.steps[1] = 0;
      for (const bool explore : {false, true}) {
        const Scope scope("batch ", batch, explore ? ", explores" : "", ", shift ", trial / 2);
        inputs.explore = explore;
        Stepped expected = step_of_parts(agent, kernels, inputs);
        const Stepped got = run_step(agent, kernels, inputs, serial(1));
        CHECK(near(got.action, expected.action));
        expected.action = got.action;
        expected.plan.action = got.plan.action;  // the step has its own
        CHECK(got == expected);
        if (!explore) CHECK(same_bits(got.action, got.plan.action));
        for (const int workers : {2, 7}) {
          CHECK(run_step(agent, kernels, inputs, serial(workers)) == got);
        }
        CHECK(run_step(agent, kernels, inputs, threads(3)) == got);
      }
    }
  });
}

TEST("a row acts as it does alone") {
  for_each_agent(171, [](const RandomAgent& agent, Kernels kernels, Random& random) {
    const ModelSizes& sizes = agent.model.sizes;
    Stepping inputs(agent, 3, random);
    inputs.go_on(Shift::kRepeat, sizes, random);
    inputs.steps[2] = 0;
    inputs.explore = true;
    const Stepped all = run_step(agent, kernels, inputs, threads(2));
    for (int64_t b = 0; b < 3; ++b) {
      const Scope scope("row ", b);
      const Stepped expected{problem_of(all.plan, inputs.plan, sizes, b), all.filtered.row(b, 3),
                             row_of_batch(all.action, b, 3), row_of_batch(all.finite, b, 3)};
      CHECK(run_step(agent, kernels, inputs.row(sizes, b), serial(1)) == expected);
    }
  });
}

TEST("exploration keeps to the bounds, and noise of no width changes nothing") {
  for_each_agent(172, [](const RandomAgent& agent, Kernels kernels, Random& random) {
    Stepping inputs(agent, 2, random);
    const Stepped quiet = run_step(agent, kernels, inputs, serial(1));
    inputs.explore = true;
    inputs.exploration_stddev = 0.0f;
    CHECK(run_step(agent, kernels, inputs, serial(1)) == quiet);
    inputs.exploration_stddev = 1e6f;
    const Stepped wild = run_step(agent, kernels, inputs, serial(1));
    for (size_t i = 0; i < wild.action.size(); ++i) {
      CHECK(wild.action[i] == inputs.plan.low[i] || wild.action[i] == inputs.plan.high[i]);
    }
  });
}

TEST("a row that is not finite says so, and spoils no other") {
  for_each_agent(173, [](const RandomAgent& agent, Kernels kernels, Random& random) {
    Stepping inputs(agent, 3, random);
    const Stepped before = run_step(agent, kernels, inputs, serial(1));
    CHECK(before.finite == std::vector<uint8_t>(3, 1));
    inputs.filtering.belief[inputs.filtering.belief.size() / 3] = NAN;  // of row 1
    const Stepped after = run_step(agent, kernels, inputs, serial(1));
    CHECK(after.finite == std::vector<uint8_t>({1, 0, 1}));
    for (const int64_t b : {0, 2}) {
      CHECK(after.filtered.row(b, 3) == before.filtered.row(b, 3));
      CHECK(same_bits(row_of_batch(after.action, b, 3), row_of_batch(before.action, b, 3)));
    }
  });
}

TEST("a timeline has the stages of a control step in the order in which they end") {
  for_each_agent(174, [](const RandomAgent& agent, Kernels kernels, Random& random) {
    const Stepping inputs(agent, 2, random);
    std::vector<int64_t> expected;
    const auto expect = [&](Stage stage, int64_t iteration) {
      expected.insert(expected.end(), {static_cast<int64_t>(stage), iteration});
    };
    for (const Stage stage :
         {Stage::kImages, Stage::kEncoder, Stage::kBelief, Stage::kPosterior, Stage::kFilter}) {
      expect(stage, -1);
    }
    for (int64_t i = 0; i < inputs.plan.iterations; ++i) {
      for (const Stage stage : {Stage::kRollouts, Stage::kSelection, Stage::kRefit}) {
        expect(stage, i);
      }
    }
    expect(Stage::kPlan, -1);
    expect(Stage::kExplore, -1);
    Fenced<Span> spans(static_cast<int64_t>(expected.size()) / 2);
    Timeline timeline{spans.data(), static_cast<int64_t>(expected.size()) / 2, 0};
    const Stepped marked = run_step(agent, kernels, inputs, serial(1), &timeline);
    CHECK(marked == run_step(agent, kernels, inputs, serial(1)));
    CHECK_EQUAL(timeline.count, timeline.capacity);
    std::vector<int64_t> got;
    for (const Span& span : spans.values()) {
      got.insert(got.end(), {span.stage, span.iteration});
      CHECK(span.begin <= span.end && span.cpu >= 0);
    }
    CHECK(got == expected);
    timeline = {spans.data(), 3, 0};  // the others are counted, not kept
    run_step(agent, kernels, inputs, serial(1), &timeline);
    CHECK_EQUAL(timeline.count, static_cast<int64_t>(expected.size()) / 2);
  });
}

}  // namespace planet::tests
