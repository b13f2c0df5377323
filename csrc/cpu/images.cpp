// Spreads images over workers.
#include "../images.h"

#include <algorithm>
#include <atomic>

#include "panel.h"

namespace planet::cpu {
namespace {

struct Work {
  const ImagesProblem& problem;
  const KernelSet& kernels;
  std::atomic<int64_t> next;
};

void image_worker(void* context, int) {
  Work& work = *static_cast<Work*>(context);
  const ImagesProblem& p = work.problem;
  for (int64_t i; (i = work.next.fetch_add(1)) < p.steps * p.batch;) {
    const uint32_t time = static_cast<uint32_t>(i / p.batch);
    work.kernels.image(p.observation + i * p.values, p.seeds[i % p.batch], time, p.values,
                       p.bit_depth, p.out + i * p.values);
  }
}

}  // namespace

void images(Isa isa, const ImagesProblem& problem, const Parallel& parallel) {
  Work work{problem, kernel_set(isa, Precision::kFloat32), {0}};
  const int64_t count = problem.steps * problem.batch;
  const int workers = static_cast<int>(std::min<int64_t>(parallel.workers, count));
  parallel.run(parallel.pool, workers, image_worker, &work);
}

}  // namespace planet::cpu
