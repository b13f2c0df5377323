// Fits the action distribution to the best candidates.
#include "refit.h"

#include <optional>
#include <tuple>

#include "arguments.h"
#include "cpu_support.h"
#include "cuda_support.h"
#include "library.h"

namespace planet {
namespace {

using Outputs = std::tuple<Tensor, Tensor, Tensor, Tensor>;  // mean, stddev, elites, best

RefitProblem make_problem(const Tensor& actions, const Tensor& returns, int64_t topk,
                          int64_t spread, double epsilon, std::optional<double> temperature,
                          Outputs& out) {
  check_dims(actions, "actions", 4, "[H, B, J, A]");
  const Place place(actions);
  RefitProblem problem{};
  problem.horizon = actions.size(0);
  problem.batch = actions.size(1);
  problem.candidates = actions.size(2);
  problem.action_size = actions.size(3);
  problem.topk = topk;
  const int64_t h = problem.horizon, b = problem.batch, j = problem.candidates;
  const int64_t a = problem.action_size;
  check_range("actions (candidates)", j, 1, kMaxCount);
  check_range("topk", topk, 1, j);
  problem.spread = make_spread(spread, topk, epsilon);
  problem.epsilon = epsilon;
  problem.temperature = make_temperature(temperature, spread);
  problem.actions = floats(actions, "actions", {h, b, j, a}, place);
  problem.returns = floats(returns, "returns", {b, j}, place);
  out = {new_floats(actions, {h, b, a}), new_floats(actions, {h, b, a}),
         torch::stable::new_empty(actions, {b, topk}, ScalarType::Long), new_floats(actions, {b})};
  problem.mean = std::get<0>(out).mutable_data_ptr<float>();
  problem.stddev = std::get<1>(out).mutable_data_ptr<float>();
  problem.elites = std::get<2>(out).mutable_data_ptr<int64_t>();
  problem.best = std::get<3>(out).mutable_data_ptr<float>();
  return problem;
}

#ifdef PLANET_WITH_CPU
Outputs refit(Tensor actions, Tensor returns, int64_t topk, int64_t spread, double epsilon,
              std::optional<double> temperature) {
  Outputs out;
  const RefitProblem problem =
      make_problem(actions, returns, topk, spread, epsilon, temperature, out);
  Tensor keys = new_workspace(actions, problem.batch * problem.candidates * 8);
  cpu::refit(problem, static_cast<uint64_t*>(keys.mutable_data_ptr()), torch_threads());
  return out;
}
#endif

#ifdef PLANET_WITH_CUDA
Outputs refit_cuda(Tensor actions, Tensor returns, int64_t topk, int64_t spread, double epsilon,
                   std::optional<double> temperature) {
  const CudaStream stream{Place(actions)};
  Outputs out;
  const RefitProblem problem =
      make_problem(actions, returns, topk, spread, epsilon, temperature, out);
  Tensor workspace = new_aligned(actions, cuda::refit_workspace(problem.batch, problem.topk));
  check_enqueued("refit", cuda::refit(problem, workspace.mutable_data_ptr(), stream.get()));
  return out;
}
#endif

}  // namespace
}  // namespace planet

PLANET_OP(refit,
          "(Tensor actions, Tensor returns, int topk, int spread, float epsilon, float? "
          "temperature) -> (Tensor mean, Tensor stddev, Tensor elites, Tensor best)")
