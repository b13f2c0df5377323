#include "kernel.cuh"

namespace planet::cuda::persistent {

Kernel kernel_fp16(int steps, bool elu) {
  return kernel_of<Float16>(steps, elu);
}

}  // namespace planet::cuda::persistent
