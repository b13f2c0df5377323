// The device's dithered images, bit for bit.
#include "emulator.h"
#include "image_cases.h"

namespace planet::tests {

TEST("CUDA: images are exact") {
  check_images(152, [](const ImagesProblem& problem) { return cuda::images(problem, nullptr); });
}

}  // namespace planet::tests
