// Plans with the cross-entropy method and its relatives.
#include <chrono>
#include <cmath>
#include <optional>
#include <tuple>

#include "arguments.h"
#include "cem.h"
#include "cpu_support.h"
#include "cuda/persistent/plan.h"
#include "cuda_support.h"
#include "library.h"

namespace planet {
namespace {

// mean, stddev, best, action, kept, iterations
using Outputs = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// The problem without its outputs; `mean`, `stddev` and `kept` are only checked.
PlanProblem make_problem(PlanProblem problem, const ModelSizes& sizes, const Tensor& belief,
                         const Tensor& state, const Tensor& mean, const Tensor& stddev,
                         const Tensor& seeds, const Tensor& low, const Tensor& high,
                         const std::optional<Tensor>& mix, const std::optional<Tensor>& kept) {
  check_dims(mean, "mean", 3, "[H, B, A]");
  const Place place(mean);
  const int64_t horizon = mean.size(0), batch = mean.size(1), size = sizes.action;
  check_range("mean (horizon)", horizon, 1, kMaxHorizon);
  floats(mean, "mean", {horizon, batch, size}, place);
  floats(stddev, "stddev", {horizon, batch, size}, place);
  problem.horizon = horizon;
  problem.batch = batch;
  problem.latent = make_latent(belief, state, sizes, batch, problem.candidates, place);
  if (problem.latent.per_candidate) {
    check_range("keep, with a start per candidate", problem.keep, 0, 0);
    if (problem.counts != nullptr)
      fail("candidates: expected one number with a start per candidate");
  }
  problem.seeds = integers(seeds, "seeds", {batch}, place);
  problem.low = floats(low, "low", {batch, size}, place);
  problem.high = floats(high, "high", {batch, size}, place);
  if (mix) problem.mix = floats(*mix, "mix", {horizon, horizon}, place);
  if (kept) floats(*kept, "kept", {horizon, batch, problem.keep, size}, place);
  return problem;
}

// Makes the outputs; mean, stddev and kept begin as the first iteration's. The number of iterations
// is known without asking a device, so it stays on the CPU.
Outputs make_outputs(const Tensor& mean, const Tensor& stddev, const std::optional<Tensor>& kept,
                     PlanProblem& problem) {
  const int64_t size = mean.size(2);
  Tensor best_ones;
  if (kept) {
    best_ones = torch::stable::clone(*kept);
  } else {
    best_ones = new_floats(mean, {problem.horizon, problem.batch, problem.keep, size});
    if (problem.keep > 0) torch::stable::fill_(best_ones, NAN);
  }
  Outputs out{torch::stable::clone(mean),
              torch::stable::clone(stddev),
              new_floats(mean, {problem.batch}),
              new_floats(mean, {problem.batch, size}),
              best_ones,
              torch::stable::empty({}, ScalarType::Long, std::nullopt,
                                   torch::stable::Device(torch::stable::DeviceType::CPU))};
  problem.mean = std::get<0>(out).mutable_data_ptr<float>();
  problem.stddev = std::get<1>(out).mutable_data_ptr<float>();
  problem.best_return = std::get<2>(out).mutable_data_ptr<float>();
  problem.action = std::get<3>(out).mutable_data_ptr<float>();
  problem.kept = std::get<4>(out).mutable_data_ptr<float>();
  return out;
}

void check_workspace(int64_t bytes, int64_t candidates) {
  if (bytes < 0) fail("candidates: expected fewer than ", candidates, ", the workspace overflows");
}

#ifdef PLANET_WITH_CPU
// Variants are CUDA's; here `variant` is the portable one.
Outputs cem_plan(Tensor packed, std::vector<int64_t> sizes, double min_stddev,
                 std::optional<int64_t> isa, int64_t precision, Tensor belief, Tensor state,
                 Tensor mean, Tensor stddev, Tensor seeds, Tensor low, Tensor high,
                 std::vector<int64_t> candidates, int64_t topk, int64_t iterations,
                 int64_t first_iteration, int64_t spread, double epsilon, bool state_noise,
                 double discount, std::optional<double> budget_ms, int64_t variant,
                 std::optional<Tensor> mix, std::optional<Tensor> kept, int64_t keep,
                 double momentum, std::optional<double> temperature, int64_t output) {
  check_range("variant", variant, 0, 0);
  const cpu::Model model = make_model(packed, sizes, min_stddev, isa, precision);
  PlanProblem settings = plan_settings(candidates, topk, iterations, first_iteration, spread,
                                       epsilon, state_noise, discount, budget_ms);
  relate(settings, spread, keep, momentum, temperature, output);
  PlanProblem problem =
      make_problem(settings, model.sizes, belief, state, mean, stddev, seeds, low, high, mix, kept);
  auto asked = std::chrono::steady_clock::now();
  problem.stop = stop_if_interrupted;
  problem.stop_context = &asked;
  const Parallel threads = torch_threads();
  const int64_t bytes = cpu::plan_workspace(model, problem, threads.workers);
  check_workspace(bytes, problem.candidates);
  Tensor workspace = new_workspace(mean, bytes);
  Outputs out = make_outputs(mean, stddev, kept, problem);
  *std::get<5>(out).mutable_data_ptr<int64_t>() =
      cpu::cem_plan(model, problem, workspace.mutable_data_ptr(), threads);
  return out;
}
#endif

#ifdef PLANET_WITH_CUDA
void check_variant(const cuda::Model& model, const PlanProblem& problem, cuda::Variant variant,
                   Place place) {
  if (const char* refusal = cuda::plan_refusal(model, problem, variant)) {
    fail("variant: 'persistent' does not serve this plan on ", place.text(), ": ", refusal,
         "; use 'portable'");
  }
}

Outputs cem_plan_cuda(Tensor packed, std::vector<int64_t> sizes, double min_stddev,
                      std::optional<int64_t> isa, int64_t precision, Tensor belief, Tensor state,
                      Tensor mean, Tensor stddev, Tensor seeds, Tensor low, Tensor high,
                      std::vector<int64_t> candidates, int64_t topk, int64_t iterations,
                      int64_t first_iteration, int64_t spread, double epsilon, bool state_noise,
                      double discount, std::optional<double> budget_ms, int64_t variant_index,
                      std::optional<Tensor> mix, std::optional<Tensor> kept, int64_t keep,
                      double momentum, std::optional<double> temperature, int64_t output) {
  check_range("variant", variant_index, 0, 1);
  if (budget_ms) fail("budget_ms: only available on cpu");
  const auto variant = static_cast<cuda::Variant>(variant_index);
  const Place place(mean);
  const CudaStream stream(place);
  const cuda::Model model = make_cuda_model(packed, sizes, min_stddev, isa, precision, place);
  PlanProblem settings = plan_settings(candidates, topk, iterations, first_iteration, spread,
                                       epsilon, state_noise, discount, std::nullopt);
  relate(settings, spread, keep, momentum, temperature, output);
  PlanProblem problem =
      make_problem(settings, model.sizes, belief, state, mean, stddev, seeds, low, high, mix, kept);
  check_variant(model, problem, variant, place);
  const int64_t bytes = cuda::plan_workspace(model, problem, variant);
  check_workspace(bytes, problem.candidates);
  Tensor workspace = new_aligned(mean, bytes);
  Outputs out = make_outputs(mean, stddev, kept, problem);
  check_enqueued("cem_plan", cuda::cem_plan(model, problem, variant, workspace.mutable_data_ptr(),
                                            stream.get()));
  *std::get<5>(out).mutable_data_ptr<int64_t>() = iterations;
  return out;
}

int64_t persistent_clusters_cuda(Tensor packed, std::vector<int64_t> sizes, double min_stddev,
                                 std::optional<int64_t> isa, int64_t precision, int64_t topk) {
  const Place place(packed);
  const CudaStream stream(place);
  const cuda::Model model = make_cuda_model(packed, sizes, min_stddev, isa, precision, place);
  check_range("topk", topk, 1, kMaxCount);
  PlanProblem problem{};
  problem.topk = topk;
  check_variant(model, problem, cuda::Variant::kPersistent, place);
  int clusters = 0;
  check_enqueued("persistent_clusters", cuda::persistent_clusters(model, problem, clusters));
  return clusters;
}
#endif

}  // namespace
}  // namespace planet

PLANET_OP(cem_plan,
          "(Tensor packed, int[] sizes, float min_stddev, int? isa, int precision, Tensor "
          "belief, Tensor state, Tensor mean, Tensor stddev, Tensor seeds, Tensor low, Tensor "
          "high, int[] candidates, int topk, int iterations, int first_iteration, int spread, "
          "float epsilon, bool state_noise, float discount, float? budget_ms, int variant, Tensor? "
          "mix, Tensor? kept, int keep, float momentum, float? temperature, int output) -> (Tensor "
          "mean, Tensor stddev, Tensor best, Tensor action, Tensor kept, Tensor iterations)")

// Clusters of a persistent plan's blocks that a CUDA device runs at once. Nothing runs there.
STABLE_TORCH_LIBRARY_FRAGMENT(PLANET_LIBRARY, m) {
  m.def(
      "persistent_clusters(Tensor packed, int[] sizes, float min_stddev, int? isa, int precision, "
      "int topk) -> int");
}
PLANET_CUDA_OP(persistent_clusters)
