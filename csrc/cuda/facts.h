// What the runtime says of the current device and of kernels there, asked once and kept: a plan
// makes twenty launches, and asking takes microseconds. Any thread may ask. Host code.
#pragma once

#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <utility>

namespace planet::cuda {

// Facts by device and key; they live for ever where a Facts does.
template <class Key, class Fact>
class Facts {
 public:
  // Points `fact` at what ask(device, fact) has said. An error is returned and not kept.
  template <class Ask>
  cudaError_t find(const Key& key, const Fact*& fact, const Ask& ask) {
    int device = 0;
    cudaError_t status = cudaGetDevice(&device);
    if (status != cudaSuccess) return status;
    const std::lock_guard<std::mutex> guard(lock_);
    auto found = facts_.find({device, key});
    if (found == facts_.end()) {
      Fact asked{};
      status = ask(device, asked);
      if (status != cudaSuccess) return status;
      found = facts_.emplace(std::make_pair(device, key), std::move(asked)).first;
    }
    fact = &found->second;
    return cudaSuccess;
  }

 private:
  std::mutex lock_;
  std::map<std::pair<int, Key>, Fact> facts_;
};

// Lets blocks of a kernel have all the dynamic shared memory that blocks can have on the current
// device. This limit is the kernel's, for all threads: one launch's own would refuse another's.
inline cudaError_t allow_shared_memory(const void* kernel) {
  static auto& allowed = *new Facts<const void*, int>;
  const int* bytes = nullptr;
  return allowed.find(kernel, bytes, [kernel](int device, int& most) {
    const cudaError_t status =
        cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (status != cudaSuccess) return status;
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
  });
}

}  // namespace planet::cuda
