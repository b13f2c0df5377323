// Support of the ops for CUDA tensors: a device and a stream, a model, aligned memory, errors. (In
// the tests' emulation the "CUDA tensors" are on the CPU; then there is no device to choose and no
// stream.)
#pragma once

#ifdef PLANET_WITH_CUDA

#include <torch/csrc/stable/accelerator.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "checks.h"
#include "model.h"

namespace planet {

// While it lives, the place's device is the current one; its current stream is where work goes.
class CudaStream {
 public:
  explicit CudaStream(Place place);

  void* get() const { return stream_; }  // a cudaStream_t

 private:
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
  void* stream_ = nullptr;
};

// Refuses an instruction set: CUDA devices have none.
void check_no_isa(std::optional<int64_t> isa);

Precision check_cuda_precision(int64_t precision);

cuda::Model make_cuda_model(const Tensor& packed, const std::vector<int64_t>& sizes,
                            double min_stddev, std::optional<int64_t> isa, int64_t precision,
                            Place place);

// So many bytes aligned to 256, where `like` is.
Tensor new_aligned(const Tensor& like, int64_t bytes);

// Fails unless `error`, what a function of csrc returned, is null.
void check_enqueued(const char* op, const char* error);

}  // namespace planet

#endif
