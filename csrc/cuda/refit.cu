// Selects the elites and fits mean and spread to them: one block per problem, so nothing depends on
// the order in which blocks or atomics run.
#include "../refit.h"

#include <cuda_runtime.h>
#include <stdint.h>

#include "../order.h"

namespace planet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kDigits = 256;              // of 8 bits
constexpr uint64_t kLast = ~uint64_t{0};  // after every key

__device__ uint64_t key_at(const float* returns, int64_t j) {
  return rank_key(__float_as_uint(returns[j]), static_cast<uint32_t>(j));
}

// The K-th smallest key of `returns` (K counts from 1), known to all threads. Keys are distinct, so
// exactly K keys are not larger. Radix selection: fixes one digit per pass, highest first.
__device__ uint64_t select_key(const float* returns, int64_t candidates, int64_t k) {
  __shared__ unsigned int histogram[kDigits];
  __shared__ uint64_t chosen;
  __shared__ int64_t rank;
  if (threadIdx.x == 0) {
    chosen = 0;
    rank = k;
  }
  for (int shift = 56; shift >= 0; shift -= 8) {
    histogram[threadIdx.x] = 0;
    __syncthreads();
    // Keys whose higher digits are the chosen ones. (A shift by 64 is undefined: two shifts.)
    const uint64_t prefix = chosen >> shift >> 8;
    for (int64_t j = threadIdx.x; j < candidates; j += kThreads) {
      const uint64_t key = key_at(returns, j);
      if (key >> shift >> 8 == prefix) atomicAdd(&histogram[key >> shift & 0xFF], 1u);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int digit = 0;
      while (rank > static_cast<int64_t>(histogram[digit])) rank -= histogram[digit++];
      chosen |= static_cast<uint64_t>(digit) << shift;
    }
    __syncthreads();
  }
  return chosen;
}

// Gathers the keys up to `last` into keys [padded], in any order, and fills the rest with kLast.
__device__ void gather_keys(const float* returns, int64_t candidates, uint64_t last, uint64_t* keys,
                            int64_t padded) {
  __shared__ unsigned int count;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  for (int64_t j = threadIdx.x; j < candidates; j += kThreads) {
    const uint64_t key = key_at(returns, j);
    if (key <= last) keys[atomicAdd(&count, 1u)] = key;
  }
  __syncthreads();
  for (int64_t i = count + threadIdx.x; i < padded; i += kThreads) keys[i] = kLast;
  __syncthreads();
}

// Bitonic sort of keys [padded], ascending; padded is a power of two.
__device__ void sort_keys(uint64_t* keys, int64_t padded) {
  for (int64_t run = 2; run <= padded; run *= 2) {
    for (int64_t step = run / 2; step > 0; step /= 2) {
      for (int64_t i = threadIdx.x; i < padded; i += kThreads) {
        const int64_t other = i ^ step;
        if (other > i) {
          const uint64_t a = keys[i], b = keys[other];
          if ((a > b) == ((i & run) == 0)) {
            keys[i] = b;
            keys[other] = a;
          }
        }
      }
      __syncthreads();
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    refit_kernel(RefitProblem p, uint64_t* workspace, int64_t padded) {
  for (int64_t b = blockIdx.x; b < p.batch; b += gridDim.x) {
    const float* returns = p.returns + b * p.candidates;
    uint64_t* keys = workspace + b * padded;
    int64_t* elites = p.elites + b * p.topk;
    const uint64_t last = select_key(returns, p.candidates, p.topk);
    gather_keys(returns, p.candidates, last, keys, padded);
    sort_keys(keys, padded);
    for (int64_t k = threadIdx.x; k < p.topk; k += kThreads) elites[k] = rank_index(keys[k]);
    if (threadIdx.x == 0) p.best[b] = returns[rank_index(keys[0])];
    // One thread per time and action; sums run over the elites in rank order.
    for (int64_t i = threadIdx.x; i < p.horizon * p.action_size; i += kThreads) {
      const int64_t row = i / p.action_size * p.batch + b, a = i % p.action_size;
      const float* actions = p.actions + row * p.candidates * p.action_size + a;
      double mean = 0.0, spread = 0.0;
      for (int64_t k = 0; k < p.topk; ++k) mean += actions[rank_index(keys[k]) * p.action_size];
      mean /= static_cast<double>(p.topk);
      for (int64_t k = 0; k < p.topk; ++k) {
        const double error = actions[rank_index(keys[k]) * p.action_size] - mean;
        spread += p.spread == Spread::kPopulation ? error * error : fabs(error);
      }
      p.mean[row * p.action_size + a] = static_cast<float>(mean);
      p.stddev[row * p.action_size + a] = static_cast<float>(
          p.spread == Spread::kPopulation ? sqrt(spread / static_cast<double>(p.topk) + p.epsilon)
                                          : spread / static_cast<double>(p.topk - 1));
    }
    __syncthreads();  // the next problem reuses the shared variables
  }
}

int64_t padded_size(int64_t topk) {
  int64_t size = 1;
  while (size < topk) size *= 2;
  return size;
}

}  // namespace

int64_t refit_workspace(int64_t batch, int64_t topk) {
  return batch * padded_size(topk) * static_cast<int64_t>(sizeof(uint64_t));
}

const char* refit(const RefitProblem& problem, void* workspace, void* stream) {
  const int64_t blocks = problem.batch < 65535 ? problem.batch : 65535;
  refit_kernel<<<static_cast<unsigned int>(blocks), kThreads, 0,
                 static_cast<cudaStream_t>(stream)>>>(problem, static_cast<uint64_t*>(workspace),
                                                      padded_size(problem.topk));
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace planet::cuda
