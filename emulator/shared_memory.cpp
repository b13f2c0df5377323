#include "shared_memory.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace planet::cuda::emulator {
namespace {

constexpr size_t kAlignment = 128;
constexpr unsigned char kPoison = 0xFF;

}  // namespace

SharedMemory::~SharedMemory() {
  if (base_ != nullptr) munmap(base_, mapped_);
}

void SharedMemory::require(size_t blocks, size_t bytes) {
  if (blocks == blocks_ && bytes == bytes_) return;
  if (base_ != nullptr) munmap(base_, mapped_);
  page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  inner_ = (bytes + kAlignment + page_ - 1) / page_ * page_;
  stride_ = inner_ + page_;
  mapped_ = page_ + blocks * stride_;
  void* base = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    std::perror("emulator: mapping shared memory");
    std::abort();
  }
  base_ = static_cast<unsigned char*>(base);
  blocks_ = blocks;
  bytes_ = bytes;
  for (size_t i = 0; i < blocks; ++i) {
    mprotect(base_ + page_ + i * stride_, inner_, PROT_READ | PROT_WRITE);
  }
}

unsigned char* SharedMemory::block(size_t index) const {
  unsigned char* end = base_ + page_ + index * stride_ + inner_;
  return end - (bytes_ + kAlignment - 1) / kAlignment * kAlignment;
}

void SharedMemory::poison(size_t index) const {
  memset(base_ + page_ + index * stride_, kPoison, inner_);
}

bool SharedMemory::intact(size_t index) const {
  const unsigned char* first = base_ + page_ + index * stride_;
  const unsigned char* begin = block(index);
  const auto is_poison = [](unsigned char byte) { return byte == kPoison; };
  return std::all_of(first, begin, is_poison) &&
         std::all_of(begin + bytes_, first + inner_, is_poison);
}

}  // namespace planet::cuda::emulator
