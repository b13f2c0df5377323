// Feed-forward networks, forward and backward, for gradient steps on the CPU.
#include "network.h"

#include <optional>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "cpu_support.h"
#include "library.h"

namespace planet {
namespace {

constexpr int kFields = 7;
constexpr int64_t kMostOutputs = int64_t{1} << 40;  // of a layer; their bytes are an int64_t

// From layers = [elu, activated, then of every layer: transposed, small channels, large channels,
// small side, large side, kernel, stride].
cpu::Network make_network(const std::vector<int64_t>& layers, int64_t isa) {
  cpu::Network out{};
  out.isa = check_isa(isa);
  const int64_t numbers = static_cast<int64_t>(layers.size()) - 2;
  const int64_t count = numbers / kFields;
  if (numbers != count * kFields || count < 1 || count > cpu::kMaxNetworkLayers) {
    fail("layers: expected two numbers and seven for each of 1 to ", cpu::kMaxNetworkLayers,
         " layers, got ", layers.size(), " numbers");
  }
  check_range("layers (elu)", layers[0], 0, 1);
  check_range("layers (activated)", layers[1], 0, 1);
  out.elu = layers[0] != 0;
  out.activated = layers[1] != 0;
  out.layers = static_cast<int>(count);
  for (int i = 0; i < count; ++i) {
    const int64_t* at = &layers[2 + i * kFields];
    cpu::NetworkLayer& layer = out.layer[i];
    check_range("layers (transposed)", at[0], 0, 1);
    layer.transposed = at[0] != 0;
    int* const fields[] = {&layer.small_channels, &layer.large_channels, &layer.small_side,
                           &layer.large_side,     &layer.kernel,         &layer.stride};
    constexpr int64_t kMost[] = {1 << 20, 1 << 20, 1 << 12, 1 << 12, 1 << 12, 1 << 12};
    for (int field = 0; field < kFields - 1; ++field) {
      check_range("layers", at[field + 1], 1, kMost[field]);
      *fields[field] = static_cast<int>(at[field + 1]);
    }
    const int64_t reached = int64_t{1} * (layer.small_side - 1) * layer.stride + layer.kernel;
    check_range("layers (large side)", layer.large_side, reached,
                layer.transposed ? reached : 1 << 12);
    if (i > 0 && out.layer[i - 1].outputs() != layer.inputs()) {
      fail("layers: expected ", out.layer[i - 1].outputs(), " inputs of layer ", i, ", got ",
           layer.inputs());
    }
  }
  return out;
}

cpu::NetworkInputs make_inputs(const cpu::Network& network, const Tensor& x,
                               const std::vector<Tensor>& weights,
                               const std::optional<Tensor>& target) {
  check_dims(x, "x", 2, "[N, inputs]");
  cpu::NetworkInputs out{};
  out.rows = x.size(0);
  check_range("x (rows)", out.rows, 1, kMaxCount);
  out.x = floats(x, "x", {out.rows, network.layer[0].inputs()}, Place());
  check_range("weights", static_cast<int64_t>(weights.size()), network.layers, network.layers);
  for (int i = 0; i < network.layers; ++i) {
    const cpu::NetworkLayer& layer = network.layer[i];
    check_range("layers (outputs)", layer.outputs(), 1, kMostOutputs / out.rows);
    const int64_t small = layer.small_channels, large = layer.large_channels, k = layer.kernel;
    out.weights[i] = k == 1 && weights[i].dim() == 2
                         ? floats(weights[i], "weights", {small, large}, Place())
                         : floats(weights[i], "weights", {small, large, k, k}, Place());
  }
  if (target) {
    const int64_t outputs = network.layer[network.layers - 1].outputs();
    out.target = floats(*target, "target", {out.rows, outputs}, Place());
    if (network.activated) fail("target: expected a network without activation at its end");
  }
  return out;
}

Tensor workspace_of(const cpu::Network& network, const Tensor& x, const Parallel& threads) {
  return new_floats(x, {cpu::network_workspace(network, x.size(0), threads.workers)});
}

#ifdef PLANET_WITH_CPU
// Outputs [N, outputs], or with a target half their squared distance, one number; and what
// network_backward needs.
std::tuple<Tensor, Tensor> network_forward(Tensor x, std::vector<Tensor> weights,
                                           std::vector<Tensor> biases, std::vector<int64_t> layers,
                                           std::optional<Tensor> target, int64_t isa) {
  const cpu::Network network = make_network(layers, isa);
  cpu::NetworkInputs inputs = make_inputs(network, x, weights, target);
  check_range("biases", static_cast<int64_t>(biases.size()), network.layers, network.layers);
  for (int i = 0; i < network.layers; ++i) {
    inputs.biases[i] = floats(biases[i], "biases", {network.layer[i].channels()}, Place());
  }
  const Parallel threads = torch_threads();
  Tensor workspace = workspace_of(network, x, threads);
  Tensor kept = new_floats(x, {cpu::network_kept(network, inputs.rows)});
  const int64_t outputs = network.layer[network.layers - 1].outputs();
  Tensor y = target ? new_floats(x, {1}) : new_floats(x, {inputs.rows, outputs});
  float* out = y.mutable_data_ptr<float>();
  const double error =
      cpu::network_forward(network, inputs, target ? nullptr : out, kept.mutable_data_ptr<float>(),
                           workspace.mutable_data_ptr<float>(), threads);
  if (target) *out = static_cast<float>(error);
  return {y, kept};
}

// Gradients of x, [0] unless wanted, and of all weights, then all biases, in one row. `gradient` is
// that of network_forward's first result, which tells whether there was a target.
std::tuple<Tensor, Tensor> network_backward(Tensor gradient, Tensor x, std::vector<Tensor> weights,
                                            std::vector<int64_t> layers, Tensor kept,
                                            bool of_inputs, int64_t isa) {
  const cpu::Network network = make_network(layers, isa);
  const cpu::NetworkInputs inputs = make_inputs(network, x, weights, std::nullopt);
  const float* past = floats(kept, "kept", {cpu::network_kept(network, inputs.rows)}, Place());
  const bool squared = gradient.dim() == 1;
  const int64_t outputs = network.layer[network.layers - 1].outputs();
  cpu::NetworkGradients out{};
  if (squared) {
    out.error = *floats(gradient, "gradient", {1}, Place());
  } else {
    out.y = floats(gradient, "gradient", {inputs.rows, outputs}, Place());
  }
  int64_t size = 0;
  for (int i = 0; i < network.layers; ++i) {
    size += network.layer[i].weights() + network.layer[i].channels();
  }
  Tensor parameters = new_floats(x, {size});
  float* at = parameters.mutable_data_ptr<float>();
  for (int i = 0; i < network.layers; ++i) {
    out.weights[i] = at;
    at += network.layer[i].weights();
  }
  for (int i = 0; i < network.layers; ++i) {
    out.biases[i] = at;
    at += network.layer[i].channels();
  }
  Tensor of_x =
      of_inputs ? new_floats(x, {inputs.rows, network.layer[0].inputs()}) : new_floats(x, {0});
  out.x = of_inputs ? of_x.mutable_data_ptr<float>() : nullptr;
  const Parallel threads = torch_threads();
  Tensor workspace = workspace_of(network, x, threads);
  cpu::network_backward(network, inputs, past, out, workspace.mutable_data_ptr<float>(), threads);
  return {of_x, parameters};
}
#endif

}  // namespace
}  // namespace planet

PLANET_OP_OF_CPUS(network_forward,
                  "(Tensor x, Tensor[] weights, Tensor[] biases, int[] layers, Tensor? target, int "
                  "isa) -> (Tensor, Tensor)")
PLANET_OP_OF_CPUS(network_backward,
                  "(Tensor gradient, Tensor x, Tensor[] weights, int[] layers, Tensor kept, bool "
                  "of_inputs, int isa) -> (Tensor, Tensor)")
