// The arguments of the persistent kernel, and its instances.
#pragma once

#include "../cem_refit.h"
#include "../rollout_job.h"
#include "layout.h"

// The architectures, as in __CUDA_ARCH__, for which the kernel has a body; elsewhere it is empty.
#define PLANET_PERSISTENT_BODY(arch) ((arch) >= 900 && (arch) < 1200)

namespace planet::cuda::persistent {

struct PersistentJob {
  RolloutJob job;  // of the first iteration
  PersistentLayout at;
};

struct PlanJob {
  PersistentJob rollout;
  PlanFit fit;  // of the first iteration
  int64_t iterations;
  uint32_t* arrivals;  // zero before the launch
};

using Kernel = void (*)(PlanJob);

// Instances by the steps of 16 features that the wide layers have at most: 4 or 13.
constexpr int kSteps[] = {4, 13};
Kernel kernel_fp16(int steps, bool elu);
Kernel kernel_bf16(int steps, bool elu);

}  // namespace planet::cuda::persistent
