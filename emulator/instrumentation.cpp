// What the compiler calls at every access to memory when kernels are compiled with
// -fsanitize=thread (and -U__SANITIZE_THREAD__): here stands what the thread sanitizer's library
// would be.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "machine.h"
#include "order.h"

extern "C" const char __ehdr_start;  // of the program or library that this is part of

namespace planet::cuda::emulator {

uint32_t code_offset(const void* code) {
  return static_cast<uint32_t>(static_cast<const char*>(code) - &__ehdr_start);
}

// The call lies before the address that it returns to. addr2line knows the rest.
std::string code_place(uint32_t offset) {
  char command[4352], line[512] = "";
  Dl_info info;
  if (dladdr(&__ehdr_start, &info) == 0) return "?";
  snprintf(command, sizeof command, "addr2line -s -e '%s' %x 2>/dev/null", info.dli_fname,
           offset - 1);
  if (FILE* out = popen(command, "r")) {
    if (fgets(line, sizeof line, out) == nullptr) line[0] = 0;
    pclose(out);
  }
  const std::string text = line;
  if (text.empty() || text[0] == '?') return "code at " + std::to_string(offset);
  return text.substr(0, text.find_first_of(" \n"));
}

}  // namespace planet::cuda::emulator

using planet::cuda::emulator::Access;
using planet::cuda::emulator::note_access;

extern "C" {

void __tsan_init() {
  planet::cuda::emulator::watching = true;
}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

#define PLANET_PLAIN(bytes)                                             \
  void __tsan_read##bytes(void* p) {                                    \
    note_access(p, bytes, Access::kRead, __builtin_return_address(0));  \
  }                                                                     \
  void __tsan_write##bytes(void* p) {                                   \
    note_access(p, bytes, Access::kWrite, __builtin_return_address(0)); \
  }                                                                     \
  void __tsan_unaligned_read##bytes(void* p) {                          \
    note_access(p, bytes, Access::kRead, __builtin_return_address(0));  \
  }                                                                     \
  void __tsan_unaligned_write##bytes(void* p) {                         \
    note_access(p, bytes, Access::kWrite, __builtin_return_address(0)); \
  }
PLANET_PLAIN(1)
PLANET_PLAIN(2)
PLANET_PLAIN(4)
PLANET_PLAIN(8)
PLANET_PLAIN(16)
#undef PLANET_PLAIN

void __tsan_read_range(void* p, unsigned long bytes) {
  if (bytes > 0) note_access(p, bytes, Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* p, unsigned long bytes) {
  if (bytes > 0) note_access(p, bytes, Access::kWrite, __builtin_return_address(0));
}

// clang's, for copies that it does not inline.
void* __tsan_memcpy(void* to, const void* from, unsigned long bytes) {
  __tsan_read_range(const_cast<void*>(from), bytes);
  __tsan_write_range(to, bytes);
  return memcpy(to, from, bytes);
}
void* __tsan_memset(void* to, int value, unsigned long bytes) {
  __tsan_write_range(to, bytes);
  return memset(to, value, bytes);
}

// The atomic operations that the emulator's functions and the standard library's threads make.
#define PLANET_ATOMIC(bits, type)                                                                 \
  type __tsan_atomic##bits##_load(const volatile type* p, int) {                                  \
    note_access(const_cast<const type*>(p), bits / 8, Access::kAtomicRead,                        \
                __builtin_return_address(0));                                                     \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                               \
  void __tsan_atomic##bits##_store(volatile type* p, type value, int) {                           \
    note_access(const_cast<const type*>(p), bits / 8, Access::kAtomic,                            \
                __builtin_return_address(0));                                                     \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                               \
  type __tsan_atomic##bits##_fetch_add(volatile type* p, type value, int) {                       \
    note_access(const_cast<const type*>(p), bits / 8, Access::kAtomic,                            \
                __builtin_return_address(0));                                                     \
    return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);                                        \
  }                                                                                               \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile type* p, type* expected, type value, \
                                                    int, int) {                                   \
    note_access(const_cast<const type*>(p), bits / 8, Access::kAtomic,                            \
                __builtin_return_address(0));                                                     \
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST,               \
                                       __ATOMIC_SEQ_CST);                                         \
  }
PLANET_ATOMIC(8, unsigned char)
PLANET_ATOMIC(32, unsigned int)
PLANET_ATOMIC(64, unsigned long)
#undef PLANET_ATOMIC

}  // extern "C"
