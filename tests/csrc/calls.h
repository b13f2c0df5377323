// Calls of the operations as a stranger would make them: every array has exactly the stated size
// and alignment and a fence beside it, workspaces hold NaN, and inputs are compared afterwards.
#pragma once

#include <stdint.h>

#include <cmath>
#include <vector>

#include "cem.h"
#include "random_model.h"

namespace planet::tests {

// The returns [B, J].
std::vector<float> run_rollout(const cpu::Model& model, const Rollout& rollout,
                               const Parallel& parallel);

// The inputs of one refit.
struct Fit {
  int64_t horizon, batch, candidates, topk, action_size;
  Spread spread;
  double epsilon;
  std::vector<float> actions, returns;
  double temperature = 0.0;
};

// Any spread that topk allows.
Fit random_fit(Random& random, int64_t horizon, int64_t batch, int64_t candidates, int64_t topk,
               int64_t action_size);

struct FitResult {
  std::vector<float> mean, stddev;
  std::vector<int64_t> elites;
  std::vector<float> best;

  bool operator==(const FitResult& other) const;  // bit for bit
};

FitResult run_refit(const Fit& fit, const Parallel& parallel);

// The inputs of one cem_plan.
struct Plan {
  int64_t horizon, batch, candidates, topk;
  int64_t iterations = 3, first_iteration = 0;
  bool per_candidate = false;
  Spread spread = Spread::kPopulation;
  double epsilon = 1e-6;
  bool state_noise = true;
  double discount = 1.0;
  double budget_ms = INFINITY;
  bool (*stop)(void* context) = nullptr;
  void* stop_context = nullptr;
  std::vector<int64_t> counts;  // [iterations], or none: `candidates` in each
  int64_t keep = 0;
  double momentum = 0.0, temperature = 0.0;
  Output output = Output::kMean;
  std::vector<float> mix, kept;  // mix: or none
  std::vector<float> belief, state, low, high, mean, stddev;
  std::vector<int64_t> seeds;

  // Mean 0, stddev 1, bounds -1 and 1.
  Plan(const ModelSizes& sizes, int64_t horizon, int64_t batch, int64_t candidates, int64_t topk,
       Random& random);

  // Any sizes, bounds and options; at trial 5 every candidate has a start of its own.
  static Plan random(const ModelSizes& sizes, Random& random, int trial);
  void start_each(const ModelSizes& sizes, Random& random);
  // Adds what relatives of the plain method have, by the bits of `kind`: mixed normals; up to three
  // kept sequences, one that is none, one that is open behind its first step, one beyond the
  // bounds; counts; momentum; temperature, with the spread that it needs; the best's action.
  void relate(const ModelSizes& sizes, Random& random, int kind);
};

struct PlanResult {
  int64_t iterations;
  std::vector<float> mean, stddev, best, action, kept;

  bool operator==(const PlanResult& other) const;  // bit for bit, and as many iterations
};

// A plan's arrays, and the problem that points to them.
class PlanCall {
 public:
  explicit PlanCall(const Plan& plan);
  // Returns what was written, after a check that inputs are as they were.
  PlanResult result(int64_t iterations) const;

  PlanProblem problem{};

 private:
  const Plan& plan_;
  Fenced<float> belief_, state_, low_, high_, mix_, mean_, stddev_, best_, action_, kept_;
  Fenced<int64_t> seeds_;
};

PlanResult run_plan(const cpu::Model& model, const Plan& plan, const Parallel& parallel);

// Its workspace has more bytes than int64_t counts.
PlanProblem too_large_problem();

// Problem b alone, and its part of a result.
Plan problem_of(const Plan& plan, const ModelSizes& sizes, int64_t b);
PlanResult problem_of(const PlanResult& result, const Plan& plan, const ModelSizes& sizes,
                      int64_t b);

// Two facts of every planner: run(plan) returns a PlanResult.
template <class Run>
void check_iterations_add_up(Plan plan, const Run& run) {
  plan.iterations = 3;
  const PlanResult together = run(plan);
  PlanResult single{};
  const std::vector<int64_t> counts = plan.counts;
  plan.iterations = 1;
  for (size_t i = 0; i < 3; ++i) {
    if (!counts.empty()) plan.counts = {counts[i]};
    single = run(plan);
    CHECK_EQUAL(single.iterations, int64_t{1});
    CHECK(single.mean != plan.mean);
    plan.mean = single.mean;
    plan.stddev = single.stddev;
    plan.kept = single.kept;
    ++plan.first_iteration;
  }
  single.iterations = 3;
  CHECK(single == together);
}

template <class Run>
void check_problems_are_alone(const Plan& plan, const ModelSizes& sizes, const Run& run) {
  const PlanResult all = run(plan);
  for (int64_t b = 0; b < plan.batch; ++b) {
    const Scope scope("problem ", b);
    CHECK(run(problem_of(plan, sizes, b)) == problem_of(all, plan, sizes, b));
  }
}

}  // namespace planet::tests
