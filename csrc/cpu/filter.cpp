// Spreads the filter's rows over workers.
#include "../filter.h"

#include <algorithm>
#include <atomic>

#include "schedule.h"

namespace planet::cpu {
namespace {

const FilterKernels& kernels_of(Isa isa) {
  return kernel_set(isa, Precision::kFloat32).filter;
}

// Cuts groups of rows, each with its whole recurrence, into equal shares.
struct Recurrence {
  const FilterJob& job;
  void (*groups_of)(const FilterJob& job, int64_t first, int64_t count);
  int64_t groups;
  int workers;
};

void recurrence_worker(void* context, int worker) {
  const Recurrence& work = *static_cast<const Recurrence*>(context);
  const int64_t first = work.groups * worker / work.workers;
  const int64_t last = work.groups * (worker + 1) / work.workers;
  work.groups_of(work.job, first, last - first);
}

void run_recurrence(const FilterJob& job, int rows, const Parallel& parallel,
                    void (*groups_of)(const FilterJob& job, int64_t first, int64_t count)) {
  const int64_t groups = (job.sizes.batch + rows - 1) / rows;
  const int workers = static_cast<int>(std::min<int64_t>(parallel.workers, groups));
  Recurrence work{job, groups_of, groups, workers};
  parallel.run(parallel.pool, workers, recurrence_worker, &work);
}

struct Sums {
  const FilterJob& job;
  const FilterKernels& kernels;
  int64_t items;
  float* scratch;
  int64_t scratch_stride;
  std::atomic<int64_t> next;
};

void sum_worker(void* context, int worker) {
  Sums& work = *static_cast<Sums*>(context);
  float* scratch = work.scratch + worker * work.scratch_stride;
  for (int64_t item; (item = work.next.fetch_add(1)) < work.items;) {
    work.kernels.sum(work.job, item, scratch);
  }
}

}  // namespace

int64_t filter_kept(Isa isa, const FilterSizes& sizes) {
  return kernels_of(isa).kept(sizes);
}

int64_t filter_workspace(Isa isa, const FilterSizes& sizes) {
  return 16 + kernels_of(isa).packed(sizes);
}

void filter_chunk(Isa isa, const FilterSizes& sizes, float min_stddev,
                  const FilterParameters<const float>& parameters, const float* share,
                  const float* action, const float* noise, const FilterOutputs<float>& out,
                  float* kept, float* workspace, const Parallel& parallel) {
  const FilterKernels& kernels = kernels_of(isa);
  FilterJob job{};
  job.sizes = sizes;
  job.stddev_floor = min_stddev;
  job.parameters = parameters;
  job.share = share;
  job.action = action;
  job.noise = noise;
  job.out = out;
  job.kept = kept;
  job.packed = align_floats(workspace);
  kernels.pack(job);
  run_recurrence(job, kernels.rows, parallel, kernels.forward);
}

int64_t filter_backward_workspace(Isa isa, const FilterSizes& sizes, int workers) {
  const FilterKernels& kernels = kernels_of(isa);
  return 16 + kernels.packed_back(sizes) + kernels.changes(sizes) +
         workers * kernels.sum_scratch(sizes);
}

void filter_chunk_backward(Isa isa, const FilterSizes& sizes,
                           const FilterParameters<const float>& parameters, const float* noise,
                           const float* kept, const FilterOutputs<const float>& upstream,
                           float* share, const FilterParameters<float>& gradients, float* workspace,
                           const Parallel& parallel) {
  const FilterKernels& kernels = kernels_of(isa);
  FilterJob job{};
  job.sizes = sizes;
  job.parameters = parameters;
  job.noise = noise;
  job.upstream = upstream;
  job.share_gradient = share;
  job.gradients = gradients;
  job.kept = const_cast<float*>(kept);  // the backward kernels only read it
  job.packed = align_floats(workspace);
  job.changes = job.packed + kernels.packed_back(sizes);
  kernels.pack_back(job);
  run_recurrence(job, kernels.rows, parallel, kernels.backward);
  const int64_t items = kernels.sums(sizes);
  float* scratch = job.changes + kernels.changes(sizes);
  Sums work{job, kernels, items, scratch, kernels.sum_scratch(sizes), {0}};
  const int workers = static_cast<int>(std::min<int64_t>(parallel.workers, items));
  parallel.run(parallel.pool, workers, sum_worker, &work);
}

}  // namespace planet::cpu
