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
};

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
  std::vector<float> belief, state, low, high, mean, stddev;
  std::vector<int64_t> seeds;

  // Mean 0, stddev 1, bounds -1 and 1.
  Plan(const ModelSizes& sizes, int64_t horizon, int64_t batch, int64_t candidates, int64_t topk,
       Random& random);
};

struct PlanResult {
  int64_t iterations;
  std::vector<float> mean, stddev, best;

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
  Fenced<float> belief_, state_, low_, high_, mean_, stddev_, best_;
  Fenced<int64_t> seeds_;
};

PlanResult run_plan(const cpu::Model& model, const Plan& plan, const Parallel& parallel);

// Problem b alone, and its part of a result.
Plan problem_of(const Plan& plan, const ModelSizes& sizes, int64_t b);
PlanResult problem_of(const PlanResult& result, const Plan& plan, const ModelSizes& sizes,
                      int64_t b);

}  // namespace planet::tests
