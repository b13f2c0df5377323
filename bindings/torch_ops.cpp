// The ops `torch.ops.planet.*` on torch's stable ABI: checks, outputs, workspace, torch's threads.
// Nothing else in the project includes torch.
#include <torch/csrc/stable/library.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "cem.h"
#include "checks.h"
#include "normals.h"
#include "refit.h"
#include "rollout.h"

namespace planet {

bool interrupted();  // module.cpp

namespace {

constexpr int64_t kMaxCount = (int64_t{1} << 31) - 1;  // candidates; with 32-bit indices to spare
constexpr int64_t kMaxHorizon = 65535;
constexpr int64_t kMaxIteration = 65535;

// ---- threads: torch's own pool, so that torch.set_num_threads holds for us too ----

// OpenMP's threads do not survive a fork, and waiting for them would hang: a child plans alone.
const pid_t kOwner = getpid();

void run_on_torch(void*, int workers, void (*body)(void*, int), void* context) {
  const auto range = [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) body(context, static_cast<int>(worker));
  };
  if (workers == 1) return range(0, 1);
  torch::stable::parallel_for(0, workers, 1, range);
}

Parallel torch_threads() {
  const int workers = getpid() == kOwner ? static_cast<int>(torch::stable::get_num_threads()) : 1;
  return {workers < 1 ? 1 : workers, run_on_torch, nullptr};
}

// ---- Ctrl-C ----

using Clock = std::chrono::steady_clock;

// Asking takes the GIL, for which a busy Python thread lets us wait (5 ms unless set otherwise), so
// it is not done more often than this.
constexpr std::chrono::milliseconds kAskEvery{20};

bool stop_if_interrupted(void* context) {
  Clock::time_point& asked = *static_cast<Clock::time_point*>(context);
  const Clock::time_point now = Clock::now();
  if (now - asked < kAskEvery) return false;
  asked = now;
  return interrupted();
}

// ---- arguments ----

Tensor new_floats(const Tensor& like, std::initializer_list<int64_t> shape) {
  return torch::stable::new_empty(like, shape, ScalarType::Float);
}

// Workspace of so many bytes.
Tensor new_workspace(const Tensor& like, int64_t bytes) {
  return torch::stable::new_empty(like, {bytes}, ScalarType::Byte);
}

// sizes = [D, S, A, M, elu, reward widths...].
ModelSizes model_sizes(const std::vector<int64_t>& sizes) {
  const int64_t layers = static_cast<int64_t>(sizes.size()) - 5;
  if (layers < 1 || layers > kMaxRewardLayers) {
    fail("sizes: expected [D, S, A, M, elu, reward widths...], got ", list_text(sizes));
  }
  ModelSizes out{};
  int* const fields[] = {&out.belief, &out.state, &out.action, &out.hidden};
  for (int i = 0; i < 4; ++i) {
    check_range("sizes", sizes[i], i == 0 ? 0 : 1, kMaxSize);
    *fields[i] = static_cast<int>(sizes[i]);
  }
  check_range("sizes (elu)", sizes[4], 0, 1);
  out.elu = sizes[4] != 0;
  out.reward_layers = static_cast<int>(layers);
  for (int i = 0; i < layers; ++i) {
    check_range("sizes (reward widths)", sizes[5 + i], 1, i + 1 == layers ? 1 : kMaxSize);
    out.reward_widths[i] = static_cast<int>(sizes[5 + i]);
  }
  return out;
}

cpu::Isa check_isa(int64_t isa) {
  check_range("isa", isa, 0, cpu::isa_count() - 1);
  if (!cpu::isa_supported(static_cast<cpu::Isa>(isa))) {
    fail("isa: this processor does not run ", cpu::isa_name(static_cast<cpu::Isa>(isa)));
  }
  return static_cast<cpu::Isa>(isa);
}

Precision check_precision(int64_t precision, cpu::Isa isa) {
  check_range("precision", precision, 0, 1);
  if (precision == 1 && !cpu::isa_has_int8(isa)) {
    fail("precision: there are no int8 kernels for ", cpu::isa_name(isa));
  }
  return static_cast<Precision>(precision);
}

cpu::Model make_model(const Tensor& packed, const std::vector<int64_t>& sizes, double min_stddev,
                      int64_t isa_index, int64_t precision) {
  const cpu::Isa isa = check_isa(isa_index);
  cpu::Model model{model_sizes(sizes), static_cast<float>(min_stddev), isa,
                   check_precision(precision, isa), nullptr};
  check_shape(packed, "packed", {cpu::packed_bytes(model.sizes, isa, model.precision)});
  model.packed = data_of(packed, "packed", ScalarType::Byte);
  if (reinterpret_cast<uintptr_t>(model.packed) % 64 != 0) {
    fail("packed: expected data aligned to 64 bytes");
  }
  return model;
}

Latent make_latent(const Tensor& belief, const Tensor& state, const ModelSizes& sizes,
                   int64_t batch, int64_t candidates) {
  if (belief.dim() == 3) {
    return {floats(belief, "belief", {batch, candidates, sizes.belief}),
            floats(state, "state", {batch, candidates, sizes.state}), true};
  }
  return {floats(belief, "belief", {batch, sizes.belief}),
          floats(state, "state", {batch, sizes.state}), false};
}

Spread make_spread(int64_t spread, int64_t topk, double epsilon) {
  check_range("spread", spread, 0, 1);
  if (spread == 1) check_range("topk", topk, 2, kMaxCount);
  if (!(epsilon >= 0.0)) fail("epsilon: expected a value >= 0, got ", epsilon);
  return static_cast<Spread>(spread);
}

// ---- ops ----

Tensor pack_weights(std::vector<Tensor> tensors, std::vector<int64_t> sizes_list, int64_t isa_index,
                    int64_t precision_index) {
  const ModelSizes sizes = model_sizes(sizes_list);
  const cpu::Isa isa = check_isa(isa_index);
  const Precision precision = check_precision(precision_index, isa);
  const int64_t d = sizes.belief, s = sizes.state, a = sizes.action, m = sizes.hidden;
  const int64_t count = (d ? 10 : 6) + 2 * sizes.reward_layers;
  check_range("tensors", static_cast<int64_t>(tensors.size()), count, count);
  size_t next = 0;
  const auto take = [&](const char* name, std::initializer_list<int64_t> shape) {
    return floats(tensors[next++], name, shape);
  };
  ModelWeights weights{};
  weights.input_weight = take("input_weight", {m, s + a});
  weights.input_bias = take("input_bias", {m});
  if (d > 0) {
    weights.gru_weight_ih = take("gru_weight_ih", {3 * d, m});
    weights.gru_weight_hh = take("gru_weight_hh", {3 * d, d});
    weights.gru_bias_ih = take("gru_bias_ih", {3 * d});
    weights.gru_bias_hh = take("gru_bias_hh", {3 * d});
  }
  weights.prior_hidden_weight = take("prior_hidden_weight", {m, d ? d : m});
  weights.prior_hidden_bias = take("prior_hidden_bias", {m});
  weights.prior_weight = take("prior_weight", {2 * s, m});
  weights.prior_bias = take("prior_bias", {2 * s});
  int64_t inputs = d + s;
  for (int i = 0; i < sizes.reward_layers; ++i) {
    const int64_t width = sizes.reward_widths[i];
    weights.reward_weights[i] = take("reward_weights", {width, inputs});
    weights.reward_biases[i] = take("reward_biases", {width});
    inputs = width;
  }
  Tensor packed = new_workspace(tensors[0], cpu::packed_bytes(sizes, isa, precision));
  cpu::pack(sizes, weights, isa, precision, packed.mutable_data_ptr());
  return packed;
}

Tensor rollout_returns(Tensor packed, std::vector<int64_t> sizes, double min_stddev, int64_t isa,
                       int64_t precision, Tensor belief, Tensor state, Tensor actions,
                       std::optional<Tensor> noise, std::optional<Tensor> seeds, int64_t iteration,
                       int64_t particle, double discount) {
  const cpu::Model model = make_model(packed, sizes, min_stddev, isa, precision);
  check_dims(actions, "actions", 4, "[H, B, J, A]");
  const int64_t horizon = actions.size(0), batch = actions.size(1), candidates = actions.size(2);
  check_range("actions (horizon)", horizon, 1, kMaxHorizon);
  check_range("actions (candidates)", candidates, 1, kMaxCount);
  const float* action =
      floats(actions, "actions", {horizon, batch, candidates, model.sizes.action});
  const Latent latent = make_latent(belief, state, model.sizes, batch, candidates);
  check_range("iteration", iteration, 0, kMaxIteration);
  check_range("particle", particle, 0, 0xFFFFFFFF);
  StateNoise normals{nullptr, nullptr, static_cast<uint32_t>(iteration),
                     static_cast<uint32_t>(particle)};
  if (noise) {
    normals.values = floats(*noise, "noise", {horizon, batch, candidates, model.sizes.state});
  } else if (seeds) {
    normals.seeds = integers(*seeds, "seeds", {batch});
  }
  const Parallel threads = torch_threads();
  Tensor returns = new_floats(actions, {batch, candidates});
  Tensor workspace = new_floats(actions, {cpu::rollout_workspace(model, batch, threads.workers)});
  cpu::rollout_returns(model, latent, horizon, batch, candidates, action, normals, discount,
                       returns.mutable_data_ptr<float>(), workspace.mutable_data_ptr<float>(),
                       threads);
  return returns;
}

using RefitTensors = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// The problem and its outputs (mean, stddev, elites, best).
RefitProblem make_refit(const Tensor& actions, const Tensor& returns, int64_t topk, int64_t spread,
                        double epsilon, bool cuda, RefitTensors& out) {
  check_dims(actions, "actions", 4, "[H, B, J, A]");
  const int64_t horizon = actions.size(0), batch = actions.size(1);
  const int64_t candidates = actions.size(2), size = actions.size(3);
  check_range("actions (candidates)", candidates, 1, kMaxCount);
  check_range("topk", topk, 1, candidates);
  const Spread kind = make_spread(spread, topk, epsilon);
  const float* action = floats(actions, "actions", {horizon, batch, candidates, size}, cuda);
  const float* value = floats(returns, "returns", {batch, candidates}, cuda);
  out = {new_floats(actions, {horizon, batch, size}), new_floats(actions, {horizon, batch, size}),
         torch::stable::new_empty(actions, {batch, topk}, ScalarType::Long),
         new_floats(actions, {batch})};
  return {horizon,
          batch,
          candidates,
          topk,
          size,
          action,
          value,
          kind,
          epsilon,
          std::get<0>(out).mutable_data_ptr<float>(),
          std::get<1>(out).mutable_data_ptr<float>(),
          std::get<2>(out).mutable_data_ptr<int64_t>(),
          std::get<3>(out).mutable_data_ptr<float>()};
}

RefitTensors refit(Tensor actions, Tensor returns, int64_t topk, int64_t spread, double epsilon) {
  RefitTensors out;
  const RefitProblem problem = make_refit(actions, returns, topk, spread, epsilon, false, out);
  Tensor keys = new_workspace(actions, problem.batch * problem.candidates * 8);
  cpu::refit(problem, static_cast<uint64_t*>(keys.mutable_data_ptr()), torch_threads());
  return out;
}

using PlanTensors = std::tuple<Tensor, Tensor, Tensor, Tensor>;

PlanTensors cem_plan(Tensor packed, std::vector<int64_t> sizes, double min_stddev, int64_t isa,
                     int64_t precision, Tensor belief, Tensor state, Tensor mean, Tensor stddev,
                     Tensor seeds, Tensor low, Tensor high, int64_t candidates, int64_t topk,
                     int64_t iterations, int64_t first_iteration, int64_t spread, double epsilon,
                     bool state_noise, double discount, std::optional<double> budget_ms) {
  const cpu::Model model = make_model(packed, sizes, min_stddev, isa, precision);
  check_dims(mean, "mean", 3, "[H, B, A]");
  const int64_t horizon = mean.size(0), batch = mean.size(1), size = model.sizes.action;
  check_range("mean (horizon)", horizon, 1, kMaxHorizon);
  check_range("candidates", candidates, 1, kMaxCount);
  check_range("topk", topk, 1, candidates);
  check_range("iterations", iterations, 1, kMaxIteration + 1);
  check_range("first_iteration", first_iteration, 0, kMaxIteration + 1 - iterations);
  floats(mean, "mean", {horizon, batch, size});
  floats(stddev, "stddev", {horizon, batch, size});
  PlanProblem problem{};
  problem.horizon = horizon;
  problem.batch = batch;
  problem.candidates = candidates;
  problem.topk = topk;
  problem.iterations = iterations;
  problem.first_iteration = first_iteration;
  problem.latent = make_latent(belief, state, model.sizes, batch, candidates);
  problem.seeds = integers(seeds, "seeds", {batch});
  problem.low = floats(low, "low", {batch, size});
  problem.high = floats(high, "high", {batch, size});
  problem.spread = make_spread(spread, topk, epsilon);
  problem.epsilon = epsilon;
  problem.state_noise = state_noise;
  problem.discount = discount;
  problem.budget_ms = budget_ms ? *budget_ms : INFINITY;
  Clock::time_point asked = Clock::now();
  problem.stop = stop_if_interrupted;
  problem.stop_context = &asked;
  const Parallel threads = torch_threads();
  const int64_t bytes = cpu::plan_workspace(model, problem, threads.workers);
  if (bytes < 0) fail("candidates: expected fewer than ", candidates, ", the workspace overflows");
  Tensor workspace = new_workspace(mean, bytes);
  Tensor out_mean = torch::stable::clone(mean), out_stddev = torch::stable::clone(stddev);
  Tensor best = new_floats(mean, {batch});
  Tensor done = torch::stable::new_empty(mean, {}, ScalarType::Long);
  problem.mean = out_mean.mutable_data_ptr<float>();
  problem.stddev = out_stddev.mutable_data_ptr<float>();
  problem.best_return = best.mutable_data_ptr<float>();
  *done.mutable_data_ptr<int64_t>() =
      cpu::cem_plan(model, problem, workspace.mutable_data_ptr(), threads);
  return {out_mean, out_stddev, best, done};
}

Tensor normals(Tensor seeds, int64_t candidates, int64_t dims, int64_t stream, int64_t time,
               int64_t iteration, int64_t particle, int64_t isa) {
  check_dims(seeds, "seeds", 1, "[B]");
  const int64_t batch = seeds.size(0);
  const int64_t* seed = integers(seeds, "seeds", {batch});
  check_range("candidates", candidates, 1, kMaxCount);
  check_range("dims", dims, 1, kMaxSize);
  check_range("stream", stream, 0, 65535);
  check_range("time", time, 0, kMaxHorizon);
  check_range("iteration", iteration, 0, kMaxIteration);
  check_range("particle", particle, 0, 0xFFFFFFFF);
  Tensor out = new_floats(torch::stable::new_empty(seeds, {0}, ScalarType::Float),
                          {batch, candidates, dims});
  const NormalsCounter counter{static_cast<uint32_t>(stream), static_cast<uint32_t>(time),
                               static_cast<uint32_t>(iteration), static_cast<uint32_t>(particle)};
  for (int64_t b = 0; b < batch; ++b) {
    cpu::normals(check_isa(isa), seed[b], counter, candidates, static_cast<int>(dims),
                 out.mutable_data_ptr<float>() + b * candidates * dims);
  }
  return out;
}

}  // namespace

extern const int kTorchHeaders[3];
const int kTorchHeaders[3] = {TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH};

}  // namespace planet

STABLE_TORCH_LIBRARY(planet, m) {
  m.def("pack_weights(Tensor[] tensors, int[] sizes, int isa, int precision) -> Tensor");
  m.def(
      "rollout_returns(Tensor packed, int[] sizes, float min_stddev, int isa, int precision, "
      "Tensor belief, "
      "Tensor state, Tensor actions, Tensor? noise, Tensor? seeds, int iteration, int particle, "
      "float discount) -> Tensor");
  m.def(
      "refit(Tensor actions, Tensor returns, int topk, int spread, float epsilon) "
      "-> (Tensor mean, Tensor stddev, Tensor elites, Tensor best)");
  m.def(
      "cem_plan(Tensor packed, int[] sizes, float min_stddev, int isa, int precision, Tensor "
      "belief, "
      "Tensor state, Tensor mean, Tensor stddev, Tensor seeds, Tensor low, Tensor high, "
      "int candidates, int topk, int iterations, int first_iteration, int spread, float epsilon, "
      "bool state_noise, float discount, float? budget_ms) "
      "-> (Tensor mean, Tensor stddev, Tensor best, Tensor iterations)");
  m.def(
      "normals(Tensor seeds, int candidates, int dims, int stream, int time, int iteration, "
      "int particle, int isa) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(planet, CPU, m) {
  m.impl("pack_weights", TORCH_BOX(&planet::pack_weights));
  m.impl("rollout_returns", TORCH_BOX(&planet::rollout_returns));
  m.impl("refit", TORCH_BOX(&planet::refit));
  m.impl("cem_plan", TORCH_BOX(&planet::cem_plan));
  m.impl("normals", TORCH_BOX(&planet::normals));
}

#ifdef PLANET_WITH_CUDA
// In libtorch_cuda.so, which a CPU-only torch does not have; null there.
extern "C" AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void**) __attribute__((weak));

namespace planet {
namespace {

RefitTensors refit_cuda(Tensor actions, Tensor returns, int64_t topk, int64_t spread,
                        double epsilon) {
  if (aoti_torch_get_current_cuda_stream == nullptr) {
    fail("actions: this torch was built without CUDA");
  }
  if (returns.get_device_index() != actions.get_device_index()) {
    fail("returns: expected device index ", actions.get_device_index(), ", got ",
         returns.get_device_index());
  }
  const torch::stable::accelerator::DeviceGuard guard(actions.get_device_index());
  RefitTensors out;
  const RefitProblem problem = make_refit(actions, returns, topk, spread, epsilon, true, out);
  Tensor workspace = new_workspace(actions, cuda::refit_workspace(problem.batch, problem.topk));
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_get_current_cuda_stream(actions.get_device_index(), &stream));
  const char* error = cuda::refit(problem, workspace.mutable_data_ptr(), stream);
  if (error != nullptr) fail("refit: ", error);
  return out;
}

}  // namespace
}  // namespace planet

STABLE_TORCH_LIBRARY_IMPL(planet, CUDA, m) {
  m.impl("refit", TORCH_BOX(&planet::refit_cuda));
}
#endif
