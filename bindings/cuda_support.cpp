#include "cuda_support.h"

#ifdef PLANET_WITH_CUDA

// In libtorch_cuda.so, which a CPU-only torch does not have; null there.
extern "C" AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void**) __attribute__((weak));

namespace planet {

CudaStream::CudaStream(Place place) {
  if (!place.cuda) return;
  if (aoti_torch_get_current_cuda_stream == nullptr) {
    fail("device: this torch was built without CUDA, got tensors on ", place.text());
  }
  guard_.emplace(place.index);
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(place.index, &stream_));
}

Tensor new_aligned(const Tensor& like, int64_t bytes) {
  constexpr int64_t kAlignment = 256;
  // CUDA memory of torch is aligned to 512, CPU memory to 64 only.
  const int64_t spare = like.is_cuda() ? 0 : kAlignment;
  Tensor out = torch::stable::new_empty(like, {bytes + spare}, ScalarType::Byte);
  if (spare == 0) return out;
  const int64_t past = reinterpret_cast<intptr_t>(out.mutable_data_ptr()) % kAlignment;
  return torch::stable::narrow(out, 0, kAlignment - past, bytes);
}

void check_enqueued(const char* op, const char* error) {
  if (error != nullptr) fail(op, ": ", error);
}

}  // namespace planet

#endif
