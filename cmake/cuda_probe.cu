// Asks of an nvcc, its host compiler and its libraries what the kernels ask: compiled and linked,
// never run (cuda.cmake).
#include "cuda/intrinsics.cuh"
#include "cuda/launch.h"

namespace {

__global__ void multiply(float* data, const uint32_t* operands) {
  using namespace planet::cuda;
  const uint32_t a[4] = {operands[0], operands[1], operands[2], operands[3]};
  float d[4] = {};
  multiply_accumulate<Float16>(d, a, operands[4], operands[5]);
  multiply_accumulate<Bfloat16>(d, a, operands[4], operands[5]);
  for (int i = 0; i < 4; ++i) data[i] = d[i];
}

}  // namespace

int main() {
  const planet::cuda::Launch how{dim3(2), dim3(32), 0, nullptr, 2};
  float* data = nullptr;
  const uint32_t* operands = nullptr;
  return planet::cuda::launch(how, multiply, data, operands) != nullptr;
}
