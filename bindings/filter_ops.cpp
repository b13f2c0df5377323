// Filters chunks from the zero latent, and differentiates that.
#include "filter.h"

#include <optional>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "cpu_support.h"
#include "library.h"

namespace planet {
namespace {

constexpr int64_t kMaxFeatures = int64_t{1} << 20;  // with kMaxCount rows no size overflows

// T, B and S of `noise`, A, D and M of the parameters.
FilterSizes filter_sizes(const Tensor& noise, const std::vector<Tensor>& parameters, bool elu) {
  check_range("parameters", static_cast<int64_t>(parameters.size()), 9, 9);
  check_dims(noise, "noise", 3, "[T, B, S]");
  check_dims(parameters[0], "input_weight", 2, "[M, S+A]");
  check_dims(parameters[3], "gru_weight_hh", 2, "[3D, D]");
  FilterSizes out{};
  out.steps = noise.size(0);
  out.batch = noise.size(1);
  out.state = noise.size(2);
  out.action = parameters[0].size(1) - out.state;
  out.belief = parameters[3].size(1);
  out.hidden = parameters[0].size(0);
  out.elu = elu;
  check_range("noise (T)", out.steps, 1, kMaxCount);
  check_range("noise (B)", out.batch, 1, kMaxCount / out.steps);
  check_range("noise (S)", out.state, 1, kMaxFeatures);
  check_range("input_weight (A)", out.action, 1, kMaxFeatures);
  check_range("gru_weight_hh (D)", out.belief, 1, kMaxFeatures);
  check_range("input_weight (M)", out.hidden, 1, kMaxFeatures);
  return out;
}

// The tensors' data in the order of FilterParameters.
template <class T>
FilterParameters<T> filter_parameters(const std::vector<Tensor>& tensors,
                                      const FilterSizes& sizes) {
  const int64_t d = sizes.belief, s = sizes.state, m = sizes.hidden, in = s + sizes.action;
  const Place cpu;
  return {floats(tensors[0], "input_weight", {m, in}, cpu),
          floats(tensors[1], "input_bias", {m}, cpu),
          floats(tensors[2], "gru_weight_ih", {3 * d, m}, cpu),
          floats(tensors[3], "gru_weight_hh", {3 * d, d}, cpu),
          floats(tensors[4], "gru_bias_ih", {3 * d}, cpu),
          floats(tensors[5], "gru_bias_hh", {3 * d}, cpu),
          floats(tensors[6], "posterior_hidden_weight", {m, d}, cpu),
          floats(tensors[7], "posterior_weight", {2 * s, m}, cpu),
          floats(tensors[8], "posterior_bias", {2 * s}, cpu)};
}

#ifdef PLANET_WITH_CPU
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> filter_chunk(Tensor share, Tensor action,
                                                                Tensor noise,
                                                                std::vector<Tensor> parameters,
                                                                double min_stddev, bool elu,
                                                                std::optional<int64_t> isa_index) {
  const cpu::Isa isa = check_isa(isa_index);
  const FilterSizes sizes = filter_sizes(noise, parameters, elu);
  const int64_t t = sizes.steps, b = sizes.batch, s = sizes.state;
  const auto given = filter_parameters<const float>(parameters, sizes);
  const float* shares = floats(share, "share", {t, b, sizes.hidden}, Place());
  const float* actions = floats(action, "action", {t, b, sizes.action}, Place());
  const float* normals = floats(noise, "noise", {t, b, s}, Place());
  std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> out{
      new_floats(noise, {t, b, sizes.belief}), new_floats(noise, {t, b, s}),
      new_floats(noise, {t, b, s}), new_floats(noise, {t, b, s}),
      new_floats(noise, {cpu::filter_kept(isa, sizes)})};
  auto& [belief, state, mean, stddev, kept] = out;
  Tensor workspace = new_floats(noise, {cpu::filter_workspace(isa, sizes)});
  cpu::filter_chunk(isa, sizes, static_cast<float>(min_stddev), given, shares, actions, normals,
                    {belief.mutable_data_ptr<float>(), state.mutable_data_ptr<float>(),
                     mean.mutable_data_ptr<float>(), stddev.mutable_data_ptr<float>()},
                    kept.mutable_data_ptr<float>(), workspace.mutable_data_ptr<float>(),
                    torch_threads());
  return out;
}

const float* optional_floats(const std::optional<Tensor>& tensor, const char* name, int64_t steps,
                             int64_t batch, int64_t features) {
  return tensor ? floats(*tensor, name, {steps, batch, features}, Place()) : nullptr;
}

// The gradients of share, then of the parameters.
std::vector<Tensor> filter_chunk_backward(std::optional<Tensor> belief, std::optional<Tensor> state,
                                          std::optional<Tensor> mean, std::optional<Tensor> stddev,
                                          Tensor noise, std::vector<Tensor> parameters, Tensor kept,
                                          bool elu, std::optional<int64_t> isa_index) {
  const cpu::Isa isa = check_isa(isa_index);
  const FilterSizes sizes = filter_sizes(noise, parameters, elu);
  const int64_t t = sizes.steps, b = sizes.batch, s = sizes.state;
  const auto given = filter_parameters<const float>(parameters, sizes);
  const float* normals = floats(noise, "noise", {t, b, s}, Place());
  const float* activations = floats(kept, "kept", {cpu::filter_kept(isa, sizes)}, Place());
  const FilterOutputs<const float> upstream{optional_floats(belief, "belief", t, b, sizes.belief),
                                            optional_floats(state, "state", t, b, s),
                                            optional_floats(mean, "mean", t, b, s),
                                            optional_floats(stddev, "stddev", t, b, s)};
  std::vector<Tensor> gradients;
  for (const Tensor& tensor : parameters) {
    gradients.push_back(torch::stable::new_empty(tensor, tensor.sizes(), ScalarType::Float));
  }
  Tensor share = new_floats(noise, {t, b, sizes.hidden});
  const Parallel threads = torch_threads();
  Tensor workspace =
      new_floats(noise, {cpu::filter_backward_workspace(isa, sizes, threads.workers)});
  cpu::filter_chunk_backward(
      isa, sizes, given, normals, activations, upstream, share.mutable_data_ptr<float>(),
      filter_parameters<float>(gradients, sizes), workspace.mutable_data_ptr<float>(), threads);
  gradients.insert(gradients.begin(), share);
  return gradients;
}
#endif

}  // namespace
}  // namespace planet

PLANET_OP_OF_CPUS(filter_chunk,
                  "(Tensor share, Tensor action, Tensor noise, Tensor[] parameters, float "
                  "min_stddev, bool elu, int? isa) -> (Tensor belief, Tensor state, Tensor mean, "
                  "Tensor stddev, Tensor kept)")
PLANET_OP_OF_CPUS(filter_chunk_backward,
                  "(Tensor? belief, Tensor? state, Tensor? mean, Tensor? stddev, Tensor noise, "
                  "Tensor[] parameters, Tensor kept, bool elu, int? isa) -> Tensor[]")
