#include "network_plan.h"

#include "network_pack.h"

namespace planet::cpu {

NetworkPlan::NetworkPlan(const Network& given, int64_t all)
    : network(given),
      set(kernel_set(given.isa, Precision::kFloat32)),
      kernels(set.network),
      rows(all),
      lanes_rows(divide_up(all, set.lanes) * set.lanes) {
  const int64_t vectors = lanes_rows / set.lanes, count = divide_up(vectors, kernels.vectors);
  int64_t first = 0;
  for (int64_t p = 0; p < count; ++p) {  // of nearly equal width
    const int64_t width = vectors / count + (p < vectors % count);
    const int64_t row = first * set.lanes;
    panels.push_back({row, std::min(width * set.lanes, rows - row), static_cast<int>(width)});
    first += width;
  }
}

int64_t NetworkPlan::kept(int i) const {
  int64_t at = 0;
  for (int before = 0; before < i; ++before) at += map(layer(before).outputs());
  return at;
}

int64_t NetworkPlan::gradients(int parity) const {
  int64_t most = network.layers % 2 == parity ? outputs() : 0;
  for (int i = 1; i < network.layers; ++i) {
    if (i % 2 == parity) most = std::max(most, layer(i).inputs());
  }
  return map(most);
}

int64_t NetworkPlan::packed_floats() const {
  int64_t most = 0;
  for (int i = 0; i < network.layers; ++i) {
    most = std::max(
        {most, gather_floats(layer(i), kernels.rows), scatter_floats(layer(i), kernels.rows)});
  }
  return padded(most);
}

int64_t NetworkPlan::block_panels(int workers) const {
  const int64_t group = slab_size(*this, layer(0)).panels;
  return std::min(divide_up(workers, group) * group, panel_count());
}

SlabSize slab_size(const NetworkPlan& plan, const NetworkLayer& layer) {
  constexpr int kVectors = 48;
  const int side = layer.small_side;
  const int64_t row = int64_t{1} * side * plan.kernels.vectors;
  if (side * row < kVectors) return {divide_up(kVectors, side * row), side};
  return {1, static_cast<int>(divide_up(kVectors, row))};
}

}  // namespace planet::cpu
