#include "cuda_support.h"

#ifdef PLANET_WITH_CUDA

#include "arguments.h"
#include "cuda/device.h"

// In libtorch_cuda.so, which a CPU-only torch does not have; null there.
extern "C" AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void**) __attribute__((weak));

namespace planet {
namespace {

constexpr int64_t kAlignment = 256;

}  // namespace

CudaStream::CudaStream(Place place) {
  if (!place.cuda) return;
  if (aoti_torch_get_current_cuda_stream == nullptr) {
    fail("device: this torch was built without CUDA, got tensors on ", place.text());
  }
  guard_.emplace(place.index);
  if (const char* refusal = cuda::device_refusal()) fail("device: ", refusal);
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(place.index, &stream_));
}

void check_no_isa(std::optional<int64_t> isa) {
  if (isa) fail("isa: expected None for tensors on a CUDA device, got ", *isa);
}

Precision check_cuda_precision(int64_t precision) {
  check_range("precision", precision, 0, 3);
  if (static_cast<Precision>(precision) == Precision::kInt8) {
    fail("precision: there are no int8 kernels for CUDA devices");
  }
  return static_cast<Precision>(precision);
}

cuda::Model make_cuda_model(const Tensor& packed, const std::vector<int64_t>& sizes,
                            double min_stddev, std::optional<int64_t> isa, int64_t precision,
                            Place place) {
  check_no_isa(isa);
  cuda::Model model{model_sizes(sizes), static_cast<float>(min_stddev),
                    check_cuda_precision(precision), nullptr};
  check_shape(packed, "packed", {cuda::packed_bytes(model.sizes, model.precision)});
  model.packed = data_of(packed, "packed", ScalarType::Byte, place);
  if (reinterpret_cast<uintptr_t>(model.packed) % kAlignment != 0) {
    fail("packed: expected data aligned to ", kAlignment, " bytes");
  }
  return model;
}

Tensor new_aligned(const Tensor& like, int64_t bytes) {
  // CUDA memory of torch is aligned to 512, CPU memory to 64 only.
  const int64_t spare = like.is_cuda() ? 0 : kAlignment;
  Tensor out = new_workspace(like, bytes + spare);
  if (spare == 0) return out;
  const int64_t past = reinterpret_cast<intptr_t>(out.mutable_data_ptr()) % kAlignment;
  return torch::stable::narrow(out, 0, kAlignment - past, bytes);
}

void check_enqueued(const char* op, const char* error) {
  if (error != nullptr) fail(op, ": ", error);
}

}  // namespace planet

#endif
