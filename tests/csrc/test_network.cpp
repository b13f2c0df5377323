// Networks and their gradients: memory and threads; tests/ops/test_network.py has the numbers.
#include "network.h"

#include <memory>
#include <vector>

#include "harness.h"
#include "memory.h"
#include "pools.h"
#include "random_model.h"

namespace planet::tests {
namespace {

using cpu::Network;
using cpu::NetworkLayer;
using Arrays = std::vector<std::unique_ptr<Fenced<float>>>;

struct NetworkCase {
  const char* name;
  std::vector<NetworkLayer>
      layers;  // {small and large channels, sides, kernel, stride, transposed}
};

// Channels around tiles, sides with remainders, kernels smaller than strides.
const NetworkCase kCases[] = {
    {"one number", {{1, 1, 1, 1, 1, 1, false}}},
    {"linear", {{65, 37, 1, 1, 1, 1, false}, {1, 65, 1, 1, 1, 1, false}}},
    {"convolutions", {{5, 3, 4, 10, 4, 2, false}, {17, 5, 2, 4, 1, 2, false}}},
    {"transposed",
     {{9, 18, 1, 3, 3, 1, true}, {18, 5, 3, 8, 2, 3, true}, {5, 3, 8, 9, 2, 1, true}}},
};

Network network_of(const NetworkCase& given, cpu::Isa isa, bool elu, bool activated) {
  Network network{isa, static_cast<int>(given.layers.size()), {}, elu, activated};
  for (int i = 0; i < network.layers; ++i) network.layer[i] = given.layers[i];
  return network;
}

void append(const Fenced<float>& array, std::vector<float>& out) {
  for (const float value : array.values()) out.push_back(value);
}

// What the passes write, one after another; with a target the result first.
std::vector<float> run(const Network& network, int64_t rows, bool squared, const Parallel& pool) {
  Random random(options().seed + 95);
  const auto given = [&](int64_t count) {
    return std::make_unique<Fenced<float>>(random.uniforms(count, -0.5, 0.5));
  };
  const NetworkLayer& last = network.layer[network.layers - 1];
  const int64_t outputs = rows * last.outputs();
  Arrays parameters, written;
  cpu::NetworkInputs inputs{};
  cpu::NetworkGradients gradients{};
  for (int i = 0; i < network.layers; ++i) {
    const NetworkLayer& layer = network.layer[i];
    const int64_t counts[] = {layer.weights(), layer.channels()};
    for (const int64_t count : counts) {
      parameters.push_back(given(count));
      written.push_back(std::make_unique<Fenced<float>>(count));
    }
    inputs.weights[i] = parameters[2 * i]->data(), inputs.biases[i] = parameters[2 * i + 1]->data();
    gradients.weights[i] = written[2 * i]->data(), gradients.biases[i] = written[2 * i + 1]->data();
  }
  const auto x = given(rows * network.layer[0].inputs()), other = given(outputs);
  inputs.rows = rows, inputs.x = x->data(), inputs.target = squared ? other->data() : nullptr;
  Fenced<float> y(squared ? 0 : outputs), kept(cpu::network_kept(network, rows));
  Fenced<float> space(cpu::network_workspace(network, rows, pool.workers));
  const double error = cpu::network_forward(network, inputs, squared ? nullptr : y.data(),
                                            kept.data(), space.data(), pool);

  Fenced<float> of_x(rows * network.layer[0].inputs());
  Fenced<float> more(cpu::network_workspace(network, rows, pool.workers));
  gradients.x = of_x.data();
  squared ? void(gradients.error = 0.5f) : void(gradients.y = other->data());
  inputs.target = nullptr;
  cpu::network_backward(network, inputs, kept.data(), gradients, more.data(), pool);
  std::vector<float> results{static_cast<float>(error)};
  for (const auto* array : {&y, &of_x}) append(*array, results);
  for (const auto& array : written) append(*array, results);
  return results;
}

}  // namespace

TEST("a network keeps to its arrays, writes all results and gives all workers the same bits") {
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    if (!cpu::isa_supported(isa)) continue;
    for (const NetworkCase& each : kCases) {
      for (const int64_t rows : {1, 17, 100}) {
        for (const bool squared : {false, true}) {
          const Scope scope(cpu::isa_name(isa), " ", each.name, " N=", rows, " ", squared);
          const Network network = network_of(each, isa, rows != 17, !squared);
          const std::vector<float> alone = run(network, rows, squared, serial(1));
          bool finite = true;
          for (const float value : alone) finite = finite && value - value == 0.0f;
          CHECK(finite);  // arrays start as NaN
          CHECK(same_bits(run(network, rows, squared, serial(3)), alone));
          CHECK(same_bits(run(network, rows, squared, threads(3)), alone));
        }
      }
    }
  }
}

}  // namespace planet::tests
