// Tells the sanitizers of threads. ThreadSanitizer sees every CUDA thread as a thread of its own
// that is ordered with others by these calls alone, so that it finds races of kernels; the
// emulator's own files are compiled without it.
#pragma once

#include <stddef.h>

#if defined(__SANITIZE_THREAD__) || defined(PLANET_EMULATOR_TSAN)
#define PLANET_TSAN 1
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_read_range(void* address, unsigned long bytes);
void __tsan_write_range(void* address, unsigned long bytes);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#else
#define PLANET_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define PLANET_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define PLANET_ASAN 0
#endif

namespace planet::cuda::emulator {

// What happened before release(object) happened before what follows acquire(object).
inline void acquire([[maybe_unused]] const void* object) {
#if PLANET_TSAN
  __tsan_acquire(const_cast<void*>(object));
#endif
}

inline void release([[maybe_unused]] const void* object) {
#if PLANET_TSAN
  __tsan_release(const_cast<void*>(object));
#endif
}

// While it lives, library functions that the emulator calls (new, memcpy) are not the thread's.
class Unseen {
 public:
#if PLANET_TSAN
  Unseen() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  Unseen() {}
#endif
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

// Accesses by instructions that the compiler does not see.
inline void note_read([[maybe_unused]] const void* address, [[maybe_unused]] size_t bytes) {
#if PLANET_TSAN
  __tsan_read_range(const_cast<void*>(address), bytes);
#endif
}

inline void note_write([[maybe_unused]] void* address, [[maybe_unused]] size_t bytes) {
#if PLANET_TSAN
  __tsan_write_range(address, bytes);
#endif
}

}  // namespace planet::cuda::emulator
