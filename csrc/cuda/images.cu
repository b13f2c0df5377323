// Camera images as network inputs.
#include "../images.h"

#include <cuda_runtime.h>

#include "../philox.h"
#include "launch.h"

namespace planet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;  // threads loop over more

// One thread per word, which serves four values. It draws the three others of the block as well:
// that takes less time than the memory does.
__global__ void __launch_bounds__(kThreads) images_kernel(ImagesProblem p) {
  const int64_t quads = (p.values + 3) / 4, count = p.steps * p.batch * quads;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  const int half = 1 << (p.bit_depth + 8);
  const float quantum = 1.0f / static_cast<float>(2 * half);
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < count; i += stride) {
    const int64_t image = i / quads, quad = i % quads;
    const int64_t seed = p.seeds[image % p.batch];
    uint32_t words[4] = {static_cast<uint32_t>(quad / 4), kStreamDither << 16,
                         static_cast<uint32_t>(image / p.batch), 0};
    philox4x32(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    const uint32_t low = quad & 1 ? words[1] : words[0], high = quad & 1 ? words[3] : words[2];
    const uint32_t word = quad & 2 ? high : low;
    const int64_t left = p.values - 4 * quad, start = image * p.values + 4 * quad;
    for (int k = 0; k < 4; ++k) {
      if (k >= left) break;
      const int level = p.observation[start + k] >> (8 - p.bit_depth);
      const int noise = static_cast<int>(word >> (8 * k) & 255);
      // level + u = (2v + 1) / 512 with v = 256 level + noise: exact in integers.
      p.out[start + k] = static_cast<float>((level << 9 | noise << 1 | 1) - half) * quantum;
    }
  }
}

}  // namespace

const char* images(const ImagesProblem& problem, void* stream) {
  const int64_t words = problem.steps * problem.batch * ((problem.values + 3) / 4);
  const int64_t blocks = (words + kThreads - 1) / kThreads;
  Launch how{};
  how.grid = dim3(static_cast<unsigned int>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
  how.block = dim3(kThreads);
  how.stream = stream;
  return launch(how, images_kernel, problem);
}

}  // namespace planet::cuda
