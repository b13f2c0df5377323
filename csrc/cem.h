// Sampling planners in the latent space of a model, the cross-entropy method and its relatives:
// draw, score, refit, repeat.
#pragma once

#include <stdint.h>

#include "refit.h"
#include "rollout.h"
#include "timeline.h"

namespace planet {

// Which sequence's first action a plan is to execute.
enum class Output : int {
  kMean = 0,  // that of the last refit's mean
  kBest = 1,  // that of the last iteration's best candidate
};

// One call of cem_plan. All arrays are contiguous and row-major; needed during the call only.
struct PlanProblem {
  int64_t horizon, batch, candidates, topk;  // H < 65536, B, J + E < 2^32, K <= J
  int64_t iterations, first_iteration;       // first_iteration + iterations <= 65536
  const int64_t* counts;  // [I] on the host: candidates of each iteration, K to J; null: J in each
  Latent latent;
  const int64_t* seeds;  // [B]
  const float* low;      // [B, A]
  const float* high;     // [B, A]
  // [H, H], or null: normals n of a candidate and dimension become n'[t] = sum_u mix[t, u] n[u].
  const float* mix;
  // E <= K sequences that join the candidates, as numbers J to J + E - 1. In the first iteration
  // they are those of `kept`, clipped; open entries, which are NaN, are drawn as those numbers'
  // actions are, without `mix`. A sequence whose first step is open is none, and scores NaN. Later
  // iterations score the best of the one before again. Needs one start per problem.
  int64_t keep;
  float* kept;         // [H, B, E, A]: in, see above; out, the best of the last iteration by rank
  double momentum;     // 0 <= m < 1: share of the distribution before in a refit's
  double temperature;  // of the refit
  Output output;
  Spread spread;
  double epsilon;
  bool state_noise;  // sample the prior, otherwise follow its mean
  double discount;
  double budget_ms;  // keep the last iteration that fits (at least one); infinity: no limit
  bool (*stop)(void* context);  // asked on the calling thread between iterations; null: never stop
  void* stop_context;           // handed to `stop`
  float* mean;         // [H, B, A]: in, the first iteration's distribution; out, the last refit
  float* stddev;       // [H, B, A]: likewise
  float* best_return;  // [B], written: largest return of the last iteration
  float* action;       // [B, A], written: to execute
  Timeline* timeline;  // of plans on CPUs: where stages are marked, or null
};

namespace cpu {

// Bytes of workspace for cem_plan with at most `workers` workers; -1 if that overflows.
int64_t plan_workspace(const Model& model, const PlanProblem& problem, int workers);

// Runs Algorithm 2 of Hafner et al. (ICML 2019), generalised by what PlanProblem says: actions =
// clip(mean + stddev * normal, low, high), clipped before scoring and refit. Iteration i draws with
// counter first_iteration + i, so that two calls with one iteration each equal one call with two,
// bit for bit. Returns the number of iterations run: fewer than asked for when the budget or `stop`
// ended it, never less than one. An iteration is not begun when it would not fit, and given up when
// it turns out not to. workspace: plan_workspace(...) bytes aligned to 8, overlaps nothing.
int64_t cem_plan(const Model& model, const PlanProblem& problem, void* workspace,
                 const Parallel& parallel);

}  // namespace cpu

namespace cuda {

// Which kernels run a plan. Their results agree within the precision's tolerance, not in bits.
enum class Variant : int {
  kPortable = 0,  // a rollout and a refit per iteration; every device and size
  // One launch, weights resident in a cluster's shared memory (sm_90 and newer); of the plain
  // method: neither counts, mix, kept sequences, momentum and temperature, nor the best's action.
  kPersistent = 1,
};

// Null if the current device runs this variant of the plan, otherwise why not (a string that lives
// for ever). kPortable is never refused. Null, too, where the device cannot be asked: cem_plan then
// says what is wrong.
const char* plan_refusal(const Model& model, const PlanProblem& problem, Variant variant);

// Bytes of workspace for cem_plan on the current device; -1 if that overflows.
int64_t plan_workspace(const Model& model, const PlanProblem& problem, Variant variant);

// Plans likewise on the current device, under the rules of rollout_returns: all pointers of
// `problem` are device pointers. Runs all iterations: budget_ms is infinite, stop is null. A
// variant that is refused is an error. Returns null, or what went wrong (a string that lives for
// ever).
const char* cem_plan(const Model& model, const PlanProblem& problem, Variant variant,
                     void* workspace, void* stream);

}  // namespace cuda
}  // namespace planet
