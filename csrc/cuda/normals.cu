// Counter-based random numbers as tables.
#include <cuda_runtime.h>
#include <stdint.h>

#include "../normals.h"
#include "launch.h"
#include "normals.cuh"

namespace planet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;  // threads loop over more

__device__ void make(uint32_t (&words)[4], float (&out)[4]) {
  normal_pair(words[0], words[1], out[0], out[1]);
  normal_pair(words[2], words[3], out[2], out[3]);
}

__device__ void make(uint32_t (&words)[4], double (&out)[4]) {
  for (int i = 0; i < 4; ++i) out[i] = uniform(words[i]);
}

// One thread per problem, four candidates and dimension; consecutive threads have consecutive
// dimensions.
template <class Value>
__global__ void __launch_bounds__(kThreads)
    table_kernel(const int64_t* seeds, int64_t batch, NormalsCounter counter, int64_t candidates,
                 int64_t dims, Value* out) {
  const int64_t quads = (candidates + 3) / 4, count = batch * quads * dims;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < count; i += stride) {
    const int64_t dim = i % dims, quad = i / dims % quads, b = i / dims / quads;
    const int64_t seed = seeds[b];
    uint32_t words[4] = {static_cast<uint32_t>(quad),
                         static_cast<uint32_t>(dim) | counter.stream << 16,
                         counter.time | counter.iteration << 16, counter.particle};
    philox4x32(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    Value value[4];
    make(words, value);
    for (int of_quad = 0; of_quad < 4; ++of_quad) {
      const int64_t c = 4 * quad + of_quad;
      if (c < candidates) out[(b * candidates + c) * dims + dim] = value[of_quad];
    }
  }
}

template <class Value>
const char* table(const int64_t* seeds, int64_t batch, const NormalsCounter& counter,
                  int64_t candidates, int64_t dims, Value* out, void* stream) {
  const int64_t blocks = (batch * ((candidates + 3) / 4) * dims + kThreads - 1) / kThreads;
  Launch how{};
  how.grid = dim3(static_cast<unsigned int>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
  how.block = dim3(kThreads);
  how.stream = stream;
  return launch(how, table_kernel<Value>, seeds, batch, counter, candidates, dims, out);
}

}  // namespace

const char* normals(const int64_t* seeds, int64_t batch, const NormalsCounter& counter,
                    int64_t candidates, int64_t dims, float* out, void* stream) {
  return table(seeds, batch, counter, candidates, dims, out, stream);
}

const char* uniforms(const int64_t* seeds, int64_t batch, const NormalsCounter& counter,
                     int64_t candidates, int64_t dims, double* out, void* stream) {
  return table(seeds, batch, counter, candidates, dims, out, stream);
}

}  // namespace planet::cuda
