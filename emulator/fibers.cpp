#include "fibers.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "sanitizers.h"

#if !defined(__x86_64__) && !defined(__aarch64__)
#error "switching stacks is written for x86-64 and aarch64"
#endif

// Keeps the registers that a callee must keep on the stack it leaves.
#if defined(__x86_64__)
asm(R"(
.text
.globl planet_switch_stacks
.hidden planet_switch_stacks
.type planet_switch_stacks, @function
planet_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size planet_switch_stacks, . - planet_switch_stacks
)");
#else
asm(R"(
.text
.globl planet_switch_stacks
.hidden planet_switch_stacks
.type planet_switch_stacks, %function
planet_switch_stacks:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size planet_switch_stacks, . - planet_switch_stacks
)");
#endif
extern "C" void planet_switch_stacks(void** from, void* to);

namespace planet::cuda::emulator {
namespace {

// Registers that planet_switch_stacks restores, and which of them it returns to.
#if defined(__x86_64__)
constexpr size_t kSaved = 8, kReturn = 6;  // 6 registers, the address, 8 bytes: a call's alignment
#else
constexpr size_t kSaved = 20, kReturn = 11;
#endif

#if PLANET_ASAN
constexpr size_t kStackBytes = 256 << 10;  // instrumented frames are larger
#else
constexpr size_t kStackBytes = 64 << 10;
#endif
constexpr size_t kStrip = 16 << 10;  // without access, below each stack
constexpr size_t kStride = kStrip + kStackBytes;
constexpr size_t kMostStrips = 16384;  // Linux limits the number of mappings to 65530

Context* left = nullptr;  // by the switch under way

void finish_switch([[maybe_unused]] Context& entered) {
#if PLANET_ASAN
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(entered.fake_stack, &bottom, &bytes);
  if (left->stack == nullptr) {  // the host's: known from the first switch away from it
    left->stack = const_cast<void*>(bottom);
    left->stack_bytes = bytes;
  }
#endif
}

}  // namespace

void prepare(Context& context, void* stack, size_t stack_bytes, void (*entry)()) {
  void** top = reinterpret_cast<void**>(static_cast<unsigned char*>(stack) + stack_bytes);
  top -= reinterpret_cast<uintptr_t>(top) % 16 / sizeof(void*);
  void** frame = top - kSaved;
  for (size_t i = 0; i < kSaved; ++i) frame[i] = nullptr;
  frame[kReturn] = reinterpret_cast<void*>(entry);
  context.stack_pointer = frame;
  context.stack = stack;
  context.stack_bytes = stack_bytes;
  context.ends = false;
#if PLANET_ASAN
  __asan_unpoison_memory_region(stack, stack_bytes);  // of frames that a failure has left there
#endif
  context.fake_stack = nullptr;
}

void begin_context() {
  static Context none;
  none.fake_stack = nullptr;
  finish_switch(none);
}

void switch_context(Context& from, Context& to) {
  left = &from;
#if PLANET_ASAN
  __sanitizer_start_switch_fiber(from.ends ? nullptr : &from.fake_stack, to.stack, to.stack_bytes);
#endif
  planet_switch_stacks(&from.stack_pointer, to.stack_pointer);
  finish_switch(from);
}

Stacks::~Stacks() {
  if (base_ != nullptr) munmap(base_, count_ * kStride);
}

void Stacks::require(size_t count) {
  if (count <= count_) return;
  if (base_ != nullptr) munmap(base_, count_ * kStride);
  void* base = mmap(nullptr, count * kStride, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    std::perror("emulator: mapping the stacks of threads");
    std::abort();
  }
  base_ = static_cast<unsigned char*>(base);
  count_ = count;
  for (size_t i = 0; i < count && i < kMostStrips; ++i) {
    mprotect(base_ + i * kStride, kStrip, PROT_NONE);
  }
}

void* Stacks::stack(size_t index) const {
  return base_ + index * kStride + kStrip;
}

// Neighbours' stacks begin in different sets of the cache.
size_t Stacks::bytes(size_t index) const {
  return kStackBytes - index % 32 * (5 * 64);
}

bool Stacks::below_stack(const void* address) const {
  const size_t offset = static_cast<size_t>(static_cast<const unsigned char*>(address) - base_);
  return address >= base_ && offset < count_ * kStride && offset % kStride < kStrip;
}

bool Stacks::contains(const void* address) const {
  return static_cast<size_t>(static_cast<const unsigned char*>(address) - base_) < count_ * kStride;
}

bool Stacks::intact(size_t index) const {
  return *static_cast<const uint64_t*>(stack(index)) == 0;
}

}  // namespace planet::cuda::emulator
