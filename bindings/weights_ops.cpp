// Packs a snapshot's tensors into what the kernels read: into a new tensor, or into one that is
// there.
#include <optional>
#include <vector>

#include "arguments.h"
#include "cpu_support.h"
#include "cuda_support.h"
#include "library.h"

namespace planet {
namespace {

#ifdef PLANET_WITH_CPU
Tensor pack_weights(std::vector<Tensor> tensors, std::vector<int64_t> sizes_list,
                    std::optional<int64_t> isa_index, int64_t precision_index) {
  const ModelSizes sizes = model_sizes(sizes_list);
  const cpu::Isa isa = check_isa(isa_index);
  const Precision precision = check_precision(precision_index, isa);
  const ModelWeights weights = model_weights(tensors, sizes);
  Tensor packed = new_workspace(tensors[0], cpu::packed_bytes(sizes, isa, precision));
  cpu::pack(sizes, weights, isa, precision, packed.mutable_data_ptr());
  return packed;
}

void pack_weights_(Tensor packed, std::vector<Tensor> tensors, std::vector<int64_t> sizes,
                   std::optional<int64_t> isa, int64_t precision) {
  const cpu::Model model = make_model(packed, sizes, 0.0, isa, precision);
  const ModelWeights weights = model_weights(tensors, model.sizes);
  cpu::pack(model.sizes, weights, model.isa, model.precision, packed.mutable_data_ptr());
}
#endif

#ifdef PLANET_WITH_CUDA
// Every variant of a plan reads the same pack.
Tensor pack_weights_cuda(std::vector<Tensor> tensors, std::vector<int64_t> sizes_list,
                         std::optional<int64_t> isa, int64_t precision_index) {
  const ModelSizes sizes = model_sizes(sizes_list);
  check_no_isa(isa);
  const Precision precision = check_cuda_precision(precision_index);
  const ModelWeights weights = model_weights(tensors, sizes);
  const CudaStream stream{Place(tensors[0])};
  Tensor packed = new_aligned(tensors[0], cuda::packed_bytes(sizes, precision));
  check_enqueued("pack_weights",
                 cuda::pack(sizes, weights, precision, packed.mutable_data_ptr(), stream.get()));
  return packed;
}

void pack_weights__cuda(Tensor packed, std::vector<Tensor> tensors, std::vector<int64_t> sizes,
                        std::optional<int64_t> isa, int64_t precision) {
  const ModelWeights weights = model_weights(tensors, model_sizes(sizes));
  const Place place(tensors[0]);
  const cuda::Model model = make_cuda_model(packed, sizes, 0.0, isa, precision, place);
  const CudaStream stream{place};
  check_enqueued("pack_weights_", cuda::pack(model.sizes, weights, model.precision,
                                             packed.mutable_data_ptr(), stream.get()));
}
#endif

}  // namespace

// How long pack_weights' result is, on CUDA devices without `isa_index`. For module.cpp, which must
// not see torch's headers.
int64_t packed_size(const std::vector<int64_t>& sizes_list, std::optional<int64_t> isa_index,
                    int64_t precision) {
  const ModelSizes sizes = model_sizes(sizes_list);
  if (!isa_index) {
#ifdef PLANET_WITH_CUDA
    return cuda::packed_bytes(sizes, check_cuda_precision(precision));
#else
    fail("device: planet was built without CUDA");
#endif
  }
#ifdef PLANET_WITH_CPU
  const cpu::Isa isa = check_isa(isa_index);
  return cpu::packed_bytes(sizes, isa, check_precision(precision, isa));
#else
  fail("device: these kernels are CUDA's, got isa ", *isa_index);
#endif
}

}  // namespace planet

PLANET_OP(pack_weights, "(Tensor[] tensors, int[] sizes, int? isa, int precision) -> Tensor")

// Overwrites an earlier result for the same sizes, instruction set and precision.
PLANET_OP(pack_weights_,
          "(Tensor(a!) packed, Tensor[] tensors, int[] sizes, int? isa, "
          "int precision) -> ()")
