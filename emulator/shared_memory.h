// The shared memory of the blocks that run.
#pragma once

#include <stddef.h>

namespace planet::cuda::emulator {

// Each block's share lies between pages without access and ends close to one.
class SharedMemory {
 public:
  SharedMemory() = default;
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  void require(size_t blocks, size_t bytes);
  unsigned char* block(size_t index) const;
  // Fills a share, and what is beside it, with 0xFF: NaN, -1, no barrier.
  void poison(size_t index) const;
  // Whether what is beside a block's share is as poison() left it.
  bool intact(size_t index) const;

 private:
  unsigned char* base_ = nullptr;
  size_t blocks_ = 0, bytes_ = 0, page_ = 0, inner_ = 0, stride_ = 0, mapped_ = 0;
};

}  // namespace planet::cuda::emulator
