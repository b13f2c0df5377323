// Waits with a limit: what a build with PLANET_BOUNDED_WAITS makes of them all.
#include <string>

#include "cuda/intrinsics.cuh"
#include "cuda/launch.h"
#include "harness.h"

namespace planet::tests {
namespace {

using namespace planet::cuda;

// The last block, or none, tells the others to go on.
__global__ void waits(uint32_t* counter, bool arrives) {
  if (arrives && blockIdx.x + 1 == gridDim.x) add_release(counter, 1);
  wait_until<true>([&] { return load_acquire(counter) != 0; });
}

}  // namespace

TEST("CUDA: a wait with a limit ends in an error when nobody arrives") {
  const Launch grid{2, 1, 0, nullptr, 1, true};
  uint32_t counter = 0;
  CHECK(launch(grid, waits, &counter, true) == nullptr);
  counter = 0;
  const char* error = launch(grid, waits, &counter, false);
  CHECK(error != nullptr && std::string(error).find("__trap (") != std::string::npos);
}

}  // namespace planet::tests
