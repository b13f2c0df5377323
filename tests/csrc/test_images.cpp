// Dithered images, bit for bit.
#include "image_cases.h"
#include "pools.h"

namespace planet::tests {

TEST("images are exact on every instruction set") {
  for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
    const Scope scope(kernels.name());
    check_images(150, [&](const ImagesProblem& problem) -> const char* {
      cpu::images(kernels.isa, problem, serial(1));
      return nullptr;
    });
  }
}

TEST("images are exact with any number of workers") {
  const Kernels kernels = kernels_of(Precision::kFloat32).back();
  for (const int workers : {2, 3, 7}) {
    const Scope scope("workers ", workers);
    check_images(151, [&](const ImagesProblem& problem) -> const char* {
      cpu::images(kernels.isa, problem, options().quick ? serial(workers) : threads(workers));
      return nullptr;
    });
  }
}

}  // namespace planet::tests
