// Thousands of plans. Run with --endurance.
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "calls.h"
#include "harness.h"
#include "thread_pool.h"

namespace planet::tests {
namespace {

// Bytes of this process in memory.
int64_t resident() {
  long long size = 0, pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return -1;
  const int fields = std::fscanf(file, "%lld %lld", &size, &pages);
  std::fclose(file);
  return fields == 2 ? pages * sysconf(_SC_PAGESIZE) : -1;
}

}  // namespace

ENDURANCE_TEST("3,000 plans do not make the process larger") {
  constexpr int kPlans = 3000, kWarm = 1000;
  Random random(options().seed + 70);
  const Shape shape{16, 8, 2, 16, {16, 1}, false};
  const RandomModel source(shape, random);
  for (const Kernels& kernels : all_kernels()) {
    for (const int threads : {1, 3}) {
      const Scope scope(kernels.name(), ", threads ", threads);
      cpu::ThreadPool pool(threads);
      const PackedModel packed(source, kernels);
      Plan plan(packed.model.sizes, 3, 1, 64, 8, random);
      int64_t warm = 0;
      for (int i = 0; i < kPlans; ++i) {
        if (i == kWarm) warm = resident();
        plan.seeds[0] = i;
        const PlanResult result = run_plan(packed.model, plan, pool.parallel());
        if (result.iterations != plan.iterations) CHECK_EQUAL(result.iterations, plan.iterations);
      }
      const int64_t grown = resident() - warm;
      CHECK(warm > 0);
      CHECK_AT_MOST(grown, int64_t{64} * 1024);  // the process itself is some 4 MB
      note(kernels.name() + " " + show(threads) + ": " + show(warm / 1024) + " kB, " +
           show(grown / 1024) + " kB more");
    }
  }
}

}  // namespace planet::tests
