// Scores candidates by imagined rollouts.
#include "rollout.h"

#include <optional>

#include "arguments.h"
#include "cpu_support.h"
#include "cuda_support.h"
#include "library.h"

namespace planet {
namespace {

// Sizes and inputs of a call.
struct Call {
  int64_t horizon, batch, candidates;
  const float* actions;
  Latent latent;
  StateNoise noise;
};

Call check_call(const ModelSizes& sizes, const Tensor& belief, const Tensor& state,
                const Tensor& actions, const std::optional<Tensor>& noise,
                const std::optional<Tensor>& seeds, int64_t iteration, int64_t particle) {
  check_dims(actions, "actions", 4, "[H, B, J, A]");
  const Place place(actions);
  Call out{};
  out.horizon = actions.size(0);
  out.batch = actions.size(1);
  out.candidates = actions.size(2);
  check_range("actions (horizon)", out.horizon, 1, kMaxHorizon);
  check_range("actions (candidates)", out.candidates, 1, kMaxCount);
  const int64_t h = out.horizon, b = out.batch, j = out.candidates;
  out.actions = floats(actions, "actions", {h, b, j, sizes.action}, place);
  out.latent = make_latent(belief, state, sizes, b, j, place);
  check_range("iteration", iteration, 0, kMaxIteration);
  check_range("particle", particle, 0, kMaxParticle);
  out.noise.iteration = static_cast<uint32_t>(iteration);
  out.noise.particle = static_cast<uint32_t>(particle);
  if (noise) {
    out.noise.values = floats(*noise, "noise", {h, b, j, sizes.state}, place);
  } else if (seeds) {
    out.noise.seeds = integers(*seeds, "seeds", {b}, place);
  }
  return out;
}

#ifdef PLANET_WITH_CPU
Tensor rollout_returns(Tensor packed, std::vector<int64_t> sizes, double min_stddev,
                       std::optional<int64_t> isa, int64_t precision, Tensor belief, Tensor state,
                       Tensor actions, std::optional<Tensor> noise, std::optional<Tensor> seeds,
                       int64_t iteration, int64_t particle, double discount) {
  const cpu::Model model = make_model(packed, sizes, min_stddev, isa, precision);
  const Call call =
      check_call(model.sizes, belief, state, actions, noise, seeds, iteration, particle);
  const Parallel threads = torch_threads();
  Tensor returns = new_floats(actions, {call.batch, call.candidates});
  Tensor workspace =
      new_floats(actions, {cpu::rollout_workspace(model, call.batch, threads.workers)});
  cpu::rollout_returns(model, call.latent, call.horizon, call.batch, call.candidates, call.actions,
                       call.noise, discount, returns.mutable_data_ptr<float>(),
                       workspace.mutable_data_ptr<float>(), threads);
  return returns;
}
#endif

#ifdef PLANET_WITH_CUDA
Tensor rollout_returns_cuda(Tensor packed, std::vector<int64_t> sizes, double min_stddev,
                            std::optional<int64_t> isa, int64_t precision, Tensor belief,
                            Tensor state, Tensor actions, std::optional<Tensor> noise,
                            std::optional<Tensor> seeds, int64_t iteration, int64_t particle,
                            double discount) {
  const Place place(actions);
  const CudaStream stream(place);
  const cuda::Model model = make_cuda_model(packed, sizes, min_stddev, isa, precision, place);
  const Call call =
      check_call(model.sizes, belief, state, actions, noise, seeds, iteration, particle);
  Tensor returns = new_floats(actions, {call.batch, call.candidates});
  Tensor workspace =
      new_aligned(actions, cuda::rollout_workspace(model, call.batch, call.candidates));
  check_enqueued(
      "rollout_returns",
      cuda::rollout_returns(model, call.latent, call.horizon, call.batch, call.candidates,
                            call.actions, call.noise, discount, returns.mutable_data_ptr<float>(),
                            workspace.mutable_data_ptr(), stream.get()));
  return returns;
}
#endif

}  // namespace
}  // namespace planet

PLANET_OP(rollout_returns,
          "(Tensor packed, int[] sizes, float min_stddev, int? isa, int precision, Tensor "
          "belief, Tensor state, Tensor actions, Tensor? noise, Tensor? seeds, int iteration, "
          "int particle, float discount) -> Tensor")
