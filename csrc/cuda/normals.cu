// Counter-based normals as tables.
#include <cuda_runtime.h>
#include <stdint.h>

#include "../normals.h"
#include "launch.h"
#include "normals.cuh"

namespace planet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;  // threads loop over more

// One thread per problem, four candidates and dimension; consecutive threads have consecutive
// dimensions.
__global__ void __launch_bounds__(kThreads)
    table_kernel(const int64_t* seeds, int64_t batch, NormalsCounter counter, int64_t candidates,
                 int64_t dims, float* out) {
  const int64_t quads = (candidates + 3) / 4, count = batch * quads * dims;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < count; i += stride) {
    const int64_t dim = i % dims, quad = i / dims % quads, b = i / dims / quads;
    float value[4];
    normal_quad(seeds[b], static_cast<uint32_t>(quad), static_cast<uint32_t>(dim), counter.stream,
                counter.time, counter.iteration, counter.particle, value);
    for (int of_quad = 0; of_quad < 4; ++of_quad) {
      const int64_t c = 4 * quad + of_quad;
      if (c < candidates) out[(b * candidates + c) * dims + dim] = value[of_quad];
    }
  }
}

}  // namespace

const char* normals(const int64_t* seeds, int64_t batch, const NormalsCounter& counter,
                    int64_t candidates, int64_t dims, float* out, void* stream) {
  const int64_t blocks = (batch * ((candidates + 3) / 4) * dims + kThreads - 1) / kThreads;
  Launch how{};
  how.grid = dim3(static_cast<unsigned int>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
  how.block = dim3(kThreads);
  how.stream = stream;
  return launch(how, table_kernel, seeds, batch, counter, candidates, dims, out);
}

}  // namespace planet::cuda
