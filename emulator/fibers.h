// Threads of control on one core that hand over to each other: what CUDA threads run on here.
#pragma once

#include <stddef.h>

namespace planet::cuda::emulator {

struct Context {
  void* stack_pointer = nullptr;  // where it stands while others run
  void* stack = nullptr;          // lowest address; null: the host's own
  size_t stack_bytes = 0;
  bool ends = false;           // the next switch away from it is its last
  void* fake_stack = nullptr;  // AddressSanitizer's
};

// Makes `context` begin with entry() on its stack; entry never returns.
void prepare(Context& context, void* stack, size_t stack_bytes, void (*entry)());

// To be called first thing by entry().
void begin_context();

// Leaves `from`, which is running, and goes on where `to` stands.
void switch_context(Context& from, Context& to);

// The stacks of many contexts, mapped at once; pages cost memory when they are touched.
class Stacks {
 public:
  Stacks() = default;
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  // At least `count` stacks; forgets what was on them.
  void require(size_t count);
  void* stack(size_t index) const;
  size_t bytes(size_t index) const;  // of a stack
  // Whether `address` lies in the strip without access below a stack.
  bool below_stack(const void* address) const;
  // Whether `address` lies on any of the stacks, or below one.
  bool contains(const void* address) const;
  // Whether the lowest bytes of a stack were never written.
  bool intact(size_t index) const;

 private:
  unsigned char* base_ = nullptr;
  size_t count_ = 0;
};

}  // namespace planet::cuda::emulator
