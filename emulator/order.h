// What happened before what, by the rules of the device's memory model: barriers, releases and
// acquires, bulk copies. Known only while instrumented kernels run (instrumentation.cpp).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <source_location>
#include <string>
#include <vector>

namespace planet::cuda::emulator {

using Where = std::source_location;

struct Thread;
struct Warp;
struct Block;

// Everything that acts has a clock: threads, bulk copies, the phases of barriers. A Clock says up
// to which time of each somebody knows what it did.
using Clock = std::vector<uint32_t>;
using Knowledge = std::shared_ptr<const Clock>;

// A thread's share. Times grow with every release and fence; its own is not in `known`.
struct ThreadOrder {
  uint32_t actor = 0, time = 0;
  Knowledge known;
  std::vector<uint32_t> fences, init_fences;  // times of bulk_copy_fence, barrier_init_fence
};

// A bulk copy's: what its issuer knew.
struct CopyOrder {
  uint32_t actor = 0, time = 0;
  Knowledge known;
};

extern bool watching;  // instrumented kernels run

// New blocks run, which know nothing of each other.
void begin_order(size_t first_block);

// All lanes of `mask`, or all threads of a block, know what each of them knew.
void order_lanes(Warp& warp, uint32_t mask);
void order_block(Block& block);

// cluster_arrive releases, cluster_wait acquires. Two phases in turn.
void order_cluster_arrival(Block& cluster, uint64_t phase, bool last);
void order_cluster_wait(Block& cluster, uint64_t phase);

// Counters in global memory.
void release(const void* counter);
void acquire(const void* counter);

void order_fence();       // bulk_copy_fence
void order_init_fence();  // barrier_init_fence

// Barriers in shared memory. An arrival, a wait or a copy must know that the barrier has been
// initialised, and the phases before; `where` is for the report of what does not.
void order_barrier_init(const uint64_t* barrier);
void order_barrier_arrival(const uint64_t* barrier, const char* call, Where where);
void order_barrier_wait(const uint64_t* barrier, const char* call, Where where);
void order_barrier_completion(const uint64_t* barrier);

// Bulk copies: started by the current thread, which must know the barrier; performed later.
CopyOrder order_copy_start(const uint64_t* barrier, const char* call, Where where);
void order_copy_end(const CopyOrder& copy, const uint64_t* barrier, const std::string& text);

// ---- memory (shadow.cpp) ----

enum class Access : uint8_t { kRead, kWrite, kAtomicRead, kAtomic, kCopyRead, kCopyWrite };

// Forgets what was done to the shared memory of the blocks that ran before.
void begin_shadow(size_t first_block);
// Forgets what was done to global memory, unless `stream` is to run beside others.
void begin_launch(const void* stream);
// The host writes global memory in the order of a stream.
void host_writes(const void* address, size_t bytes, const void* stream);
// Notes an access of the current thread by the instruction at `code`; a race ends the launch, and
// the call does not return.
void note_access(const void* address, size_t bytes, Access access, const void* code);
// An access by an instruction that the compiler does not see.
void note_read(const void* address, size_t bytes, Where where);
// Where that is, for reports.
uint32_t code_offset(const void* code);
std::string code_place(uint32_t offset);
// Notes what a bulk copy does to a block's shared memory; fails the launch with `text`.
void note_copy(const CopyOrder& copy, const Block& block, const void* address, size_t bytes,
               Access access, const std::string& text);

// The time up to which `known` knows an actor.
inline uint32_t time_of(const Clock& known, uint32_t actor) {
  return actor < known.size() ? known[actor] : 0;
}
// Whether `known` contains a fence of the actor, a thread, after `time`.
bool fenced_after(uint32_t actor, uint32_t time, const Clock& known);

}  // namespace planet::cuda::emulator
