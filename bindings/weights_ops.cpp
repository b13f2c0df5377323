// Packs a snapshot's tensors into what the kernels read.
#include "arguments.h"
#include "cpu_support.h"
#include "library.h"

namespace planet {
namespace {

Tensor pack_weights(std::vector<Tensor> tensors, std::vector<int64_t> sizes_list, int64_t kernel,
                    int64_t precision_index) {
  const ModelSizes sizes = model_sizes(sizes_list);
  const cpu::Isa isa = check_isa(kernel);
  const Precision precision = check_precision(precision_index, isa);
  const ModelWeights weights = model_weights(tensors, sizes);
  Tensor packed = new_workspace(tensors[0], cpu::packed_bytes(sizes, isa, precision));
  cpu::pack(sizes, weights, isa, precision, packed.mutable_data_ptr());
  return packed;
}

}  // namespace
}  // namespace planet

PLANET_SCHEMA(m) {
  m.def("pack_weights(Tensor[] tensors, int[] sizes, int kernel, int precision) -> Tensor");
}

PLANET_CPU(m) {
  m.impl("pack_weights", TORCH_BOX(&planet::pack_weights));
}
