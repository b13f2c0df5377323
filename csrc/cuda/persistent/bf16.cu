#include "kernel.cuh"

namespace planet::cuda::persistent {

Kernel kernel_bf16(int steps, bool elu) {
  return kernel_of<Bfloat16>(steps, elu);
}

}  // namespace planet::cuda::persistent
