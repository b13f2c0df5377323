// The state of a launch that runs, shared by the emulator's files and by the functions that kernels
// call. Everything is on one core: nothing here is atomic.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <source_location>
#include <string>
#include <vector>

#include "emulator.h"
#include "fibers.h"
#include "order.h"

namespace planet::cuda::emulator {

struct Thread {
  Context context;
  uint3 index;  // threadIdx
  int lane;
  Warp* warp;
  Block* block;
  // The call that it waits at, for reports.
  const char* call;
  Where where;
  // Used by barriers.cpp and clusters.cpp.
  uint64_t* barrier;  // waited for, or null
  uint32_t parity;
  bool satisfied;          // the phase is complete
  bool cluster_arrived;    // and has not waited yet
  uint64_t cluster_phase;  // that it arrived in
  // The last read of load_acquire: the same again means that the thread spins.
  const uint32_t* polled;
  uint32_t polled_value;
  uint64_t clock;  // nanoseconds
  ThreadOrder order;
};

// Lanes on their way into one call of a warp.
struct Meeting {
  const char* call;
  Where where;
  void (*perform)(Warp& warp, uint32_t mask);
  uint32_t mask, arrived;
};

struct Warp {
  Thread* threads;  // lanes 0, 1, ...
  Block* block;
  uint32_t lanes;     // that exist
  uint32_t alive;     // that have not left the kernel
  uint32_t runnable;  // that wait for nothing
  uint32_t polling;   // that try again when nobody else can run
  uint32_t at_barrier;
  int meetings;
  Meeting meeting[32];
  void* data[32];  // what each lane brought to its meeting
};

struct Block {
  dim3 index;
  uint32_t rank;          // in its cluster
  Block* cluster;         // block of rank 0
  unsigned char* shared;  // shared_bytes
  Warp* warps;
  int warp_count;
  int threads, exited;
  int at_barrier;
  // State of the cluster, kept by its block of rank 0.
  int cluster_arrived;
  uint64_t cluster_phase;
  std::vector<uint64_t*> barriers;  // initialised in its shared memory
};

struct Machine {
  Configuration configuration;
  Context host;
  void (*body)(const void*);
  const void* kernel;
  std::vector<Thread> threads;  // of the blocks that run now, as all below
  std::vector<Warp> warps;
  std::vector<Block> blocks;
  int alive;           // threads
  int copies;          // under way
  uint64_t tick;       // hand-overs so far
  uint64_t progress;   // events that may end a wait
  uint64_t polled_at;  // progress when the polling began
  uint64_t polls;      // in vain since then
  uint64_t random;     // state of the jitter, 0: none
  std::string failure;
  Counters counters;
};

extern Machine machine;
extern Thread* current;

inline size_t volume(const dim3& size) {
  return static_cast<size_t>(size.x) * size.y * size.z;
}

// Runs blocks [first, first + count) of the grid at the same time (resident.cpp).
void run_blocks(size_t first, size_t count);
// Says what lies at an address that the current thread cannot access.
std::string describe_address(const void* address);
// Whether the memory at an address is no kernel's.
bool of_emulator(const void* address);

// Thrown by fail, so that nothing is left on the thread's stack; caught where it began.
struct LaunchFailed {};

// Ends the launch with this text and the current thread's position.
[[noreturn]] void fail(const std::string& text);
[[noreturn]] void fail(const char* call, Where where, const std::string& text);
// Ends it without a current thread's position.
[[noreturn]] void fail_all(const std::string& text);
// As fail, where nothing can be thrown: what is on the thread's stack stays there.
[[noreturn]] void leave_failed(const std::string& text);
std::string position(const Thread& thread);
std::string place(Where where);
std::string block_text(const Block& block);
std::string lanes_text(uint32_t mask);
std::string mask_text(uint32_t mask);
std::string barrier_text(const Thread& thread);  // what is known of the one waited for

// Whether a call that orders threads is to be passed over (emulator.h, WithoutCall).
bool left_out(const char* call, Where where);

// The current thread waits until somebody sets its bit of `runnable`.
void wait(const char* call, Where where);
// The current thread lets all others run, then tries again.
void poll(const char* call, Where where);
// With jitter, sometimes lets others run. Kernels' functions call it before what others may see.
void jitter();
// Something has happened that others may poll for.
void made_progress();
void count_streamed(int64_t bytes);
// The current thread's clock: each look at it takes five milliseconds.
uint64_t nanoseconds();
// Whether the current thread reads the same value of a counter again.
bool spins(const uint32_t* counter, uint32_t value);
// A random number below `count`.
uint32_t random_below(uint32_t count);

// The current thread's part in a call of its warp: when all lanes of `mask` have come, the last one
// performs it. Aligned calls must be the same place in the source for all lanes.
void meet(const char* call, Where where, uint32_t mask, bool aligned,
          void (*perform)(Warp& warp, uint32_t mask), void* data);

// At the end of the kernel: fails if others wait for the current thread; then never returns.
void check_leaving();
[[noreturn]] void leave_kernel();
void schedule_until_done();  // all threads, from the host

void synchronize_block(Where where);
void synchronize_warp(uint32_t mask, Where where);

// Checks that `bytes` at `pointer` are this block's shared memory, aligned to `alignment`.
void check_shared(const char* call, Where where, const void* pointer, size_t bytes,
                  size_t alignment);

// ---- clusters.cpp ----
uint32_t cluster_rank();
void cluster_arrive(Where where);
void cluster_wait(Where where);
uint32_t shared_address(const void* pointer, Where where);
uint32_t peer_address(const void* pointer, uint32_t rank, Where where);
// Where a peer's address points to, after checking `bytes` there; `block` is the peer.
unsigned char* peer_pointer(const char* call, Where where, uint32_t address, size_t bytes,
                            Block*& block);

// ---- barriers.cpp ----
void barrier_init(uint64_t* barrier, uint32_t arrivals, Where where);
void barrier_arrive(uint64_t* barrier, uint32_t expected_bytes, Where where);
void barrier_wait(uint64_t* barrier, uint32_t parity, Where where);
bool is_barrier(uint64_t word);  // an initialised one
// Counts bytes that have come to a barrier of `block`; false if they are more than it counts.
bool count_bytes(uint64_t* barrier, size_t bytes, Block& block);
int64_t awaited_bytes(uint64_t barrier);

// ---- copies.cpp ----
void copy_to_peer(uint32_t target, const void* source, uint32_t bytes, uint32_t barrier,
                  Where where);
// Performs bulk copies that are due, or one if `now`. Whether there was one.
bool advance_copies(bool now);
void forget_copies();
// Says which copies are under way or bytes awaited when the blocks have ended; empty if none.
std::string unfinished_copies();

}  // namespace planet::cuda::emulator
