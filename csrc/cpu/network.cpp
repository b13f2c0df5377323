// Networks forward: packs their weights and takes panel by panel through all layers.
#include "../network.h"

#include "network_pack.h"
#include "network_plan.h"
#include "schedule.h"

namespace planet::cpu {

int64_t network_kept(const Network& network, int64_t rows) {
  return NetworkPlan(network, rows).kept(network.layers);
}

int64_t network_workspace(const Network& network, int64_t rows, int workers) {
  const NetworkPlan plan(network, rows);
  int64_t packed = 0;
  for (int i = 0; i < network.layers; ++i) {
    const NetworkLayer& layer = network.layer[i];
    packed += padded(layer.transposed ? scatter_floats(layer, plan.kernels.rows)
                                      : gather_floats(layer, plan.kernels.rows));
  }
  const int64_t forward = packed + workers * plan.input_floats();
  const int64_t inputs = std::max(plan.block_panels(workers), int64_t{workers});
  const int64_t backward =
      plan.packed_floats() + plan.gradients(0) + plan.gradients(1) + inputs * plan.input_floats();
  return 16 + std::max(forward, backward);
}

double network_forward(const Network& network, const NetworkInputs& inputs, float* y, float* kept,
                       float* workspace, const Parallel& parallel) {
  const NetworkPlan plan(network, inputs.rows);
  const NetworkKernels& kernels = plan.kernels;
  float* const base = align_floats(workspace);
  std::vector<int64_t> packed_at(network.layers);
  int64_t end = 0;
  for (int i = 0; i < network.layers; ++i) {
    const NetworkLayer& layer = network.layer[i];
    packed_at[i] = end;
    const auto pack = layer.transposed ? pack_scatter : pack_gather;
    const auto floats = layer.transposed ? scatter_floats : gather_floats;
    pack(layer, inputs.weights[i], inputs.biases[i], kernels.rows, base + end);
    end += padded(floats(layer, kernels.rows));
  }
  const int64_t features = plan.features(), outputs = plan.outputs();
  std::vector<double> errors(plan.panels.size());
  for_each(parallel, plan.panel_count(), [&](int64_t p, int worker) {
    const NetworkPanel& panel = plan.panels[p];
    float* in = base + end + worker * plan.input_floats();
    kernels.rows_in(inputs.x + panel.first * features, features, panel.count, panel.vectors, in);
    for (int i = 0; i < network.layers; ++i) {
      const NetworkLayer& layer = network.layer[i];
      float* out = kept + plan.kept(i) + panel.first * layer.outputs();
      NetworkStep step{&layer,      base + packed_at[i],
                       in,          out,
                       panel.count, 1.0f,
                       network.elu, i < plan.last() || network.activated,
                       false,       nullptr};
      if (i == plan.last() && inputs.target != nullptr) {
        step.subtracts = true;
        kernels.rows_in(inputs.target + panel.first * outputs, outputs, panel.count, panel.vectors,
                        out);
      }
      apply(kernels, step, !layer.transposed, panel.vectors);
      in = out;
    }
    if (inputs.target != nullptr) {
      errors[p] = kernels.squares(in, outputs, panel.vectors);
    } else {
      kernels.rows_out(in, outputs, panel.count, panel.vectors, y + panel.first * outputs);
    }
  });
  double error = 0.0;
  for (const double each : errors) error += each;
  return error;
}

}  // namespace planet::cpu
