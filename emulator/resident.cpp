// The blocks that run at the same time: their threads, stacks and shared memory.
#include <algorithm>
#include <cstdio>

#include "machine.h"
#include "sanitizers.h"
#include "shared_memory.h"

namespace planet::cuda::emulator {
namespace {

// Groups of blocks run on a crew, one group after another. ThreadSanitizer takes a fiber for a
// thread, and what one fiber did for ordered: groups that run one after another here but at the
// same time on a device use different crews in turn, so that races between neighbours are found.
struct Crew {
  Stacks stacks;
  SharedMemory shared;
  std::vector<void*> fibers;  // ThreadSanitizer's
  uint64_t turns;             // groups so far
  char ended[2];              // what it knows the ends of this group and the one before by, in turn
};
constexpr size_t kCrews = PLANET_TSAN ? 4 : 1;
Crew crews[kCrews];
Crew* crew = crews;  // the one at work

}  // namespace

std::string describe_address(const void* address) {
  const unsigned char* shared = current->block->shared;
  const size_t bytes = machine.configuration.shared_bytes;
  const ptrdiff_t offset = static_cast<const unsigned char*>(address) - shared;
  if (offset >= 0 && offset < static_cast<ptrdiff_t>(bytes) + 4096) {
    return "access " + std::to_string(offset - static_cast<ptrdiff_t>(bytes)) +
           " bytes beyond the block's shared memory";
  }
  if (offset < 0 && offset > -4096 - 256) {
    return "access " + std::to_string(-offset) + " bytes before the block's shared memory";
  }
  if (crew->stacks.below_stack(address)) return "stack overflow";
  char text[32];
  snprintf(text, sizeof text, "%p", address);
  return "access to memory without access at " + std::string(text) +
         (address == nullptr ? " (or a misaligned vector)" : "");
}

namespace {

void thread_main() {
  begin_context();
  acquire(&machine.started);
  acquire(&crew->ended[(crew->turns - 1) % 2]);
  bool failed = false;
  try {
    machine.body(machine.kernel);
    check_leaving();
  } catch (const LaunchFailed&) {
    failed = true;  // leaving from here would leave the exception caught for ever
  }
  if (failed) switch_context(current->context, machine.host);
  release(&crew->ended[crew->turns % 2]);
  release(&machine.finished);
  leave_kernel();
}

// Sets up block `slot` of the resident ones as block `number` of the grid.
void prepare_block(size_t slot, size_t number) {
  const Configuration& c = machine.configuration;
  const size_t threads = volume(c.block), warps = (threads + 31) / 32;
  Block& block = machine.blocks[slot];
  block = Block{};
  block.index = {static_cast<unsigned>(number % c.grid.x),
                 static_cast<unsigned>(number / c.grid.x % c.grid.y),
                 static_cast<unsigned>(number / c.grid.x / c.grid.y)};
  block.rank = static_cast<uint32_t>(number % static_cast<size_t>(c.cluster));
  block.cluster = &block - block.rank;
  crew->shared.poison(slot);
  block.shared = crew->shared.block(slot);
  block.warps = &machine.warps[slot * warps];
  block.warp_count = static_cast<int>(warps);
  block.threads = static_cast<int>(threads);
  for (size_t w = 0; w < warps; ++w) {
    Warp& warp = block.warps[w];
    const size_t lanes = std::min<size_t>(32, threads - w * 32);
    warp.threads = &machine.threads[slot * threads + w * 32];
    warp.block = &block;
    warp.lanes = warp.alive = warp.runnable = static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
    warp.polling = warp.at_barrier = 0;
    warp.meetings = 0;
    for (size_t lane = 0; lane < lanes; ++lane) {
      const size_t t = w * 32 + lane;
      Thread& thread = warp.threads[lane];
      thread = Thread{};
      if (PLANET_TSAN) thread.context.tsan_fiber = crew->fibers[slot * threads + t];
      thread.index = {static_cast<unsigned>(t % c.block.x),
                      static_cast<unsigned>(t / c.block.x % c.block.y),
                      static_cast<unsigned>(t / c.block.x / c.block.y)};
      thread.lane = static_cast<int>(lane);
      thread.warp = &warp;
      thread.block = &block;
      prepare(thread.context, crew->stacks.stack(slot * threads + t),
              crew->stacks.bytes(slot * threads + t), thread_main);
    }
  }
}

#if PLANET_TSAN
void require_fibers(size_t count) {
  machine.host.tsan_fiber = __tsan_get_current_fiber();
  while (crew->fibers.size() < count) crew->fibers.push_back(__tsan_create_fiber(0));
}

// Threads that a failure has stopped in the middle end here.
void end_fibers() {
  if (machine.failure.empty()) return;
  for (const Thread& thread : machine.threads) {
    __tsan_switch_to_fiber(thread.context.tsan_fiber, 1);
    release(&crew->ended[crew->turns % 2]);
    release(&machine.finished);
    __tsan_switch_to_fiber(machine.host.tsan_fiber, 1);
  }
}
#else
void require_fibers(size_t) {}
void end_fibers() {}
#endif

void check_after_blocks() {
  if (!machine.failure.empty()) return;
  for (size_t i = 0; i < machine.blocks.size(); ++i) {
    if (!crew->shared.intact(i)) {
      machine.failure =
          "block " + block_text(machine.blocks[i]) + " wrote beside its shared memory";
    }
  }
  for (size_t i = 0; i < machine.threads.size(); ++i) {
    if (!crew->stacks.intact(i))
      machine.failure = position(machine.threads[i]) + ": stack overflow";
  }
  if (machine.failure.empty()) machine.failure = unfinished_copies();
}

}  // namespace

void run_blocks(size_t first, size_t count) {
  const size_t threads = volume(machine.configuration.block), warps = (threads + 31) / 32;
  const Unseen unseen;
  // Its clocks have an entry per fiber: large groups get fewer crews.
  const size_t in_turn = count * threads <= 64 ? kCrews : count * threads <= 256 ? 2 : 1;
  crew = &crews[first / count % std::min(kCrews, in_turn)];
  ++crew->turns;
  require_fibers(count * threads);
  crew->stacks.require(count * threads);
  crew->shared.require(count, machine.configuration.shared_bytes);
  machine.blocks.resize(count);
  machine.warps.resize(count * warps);
  machine.threads.resize(count * threads);
  for (size_t i = 0; i < count; ++i) prepare_block(i, first + i);
  machine.alive = static_cast<int>(count * threads);
  release(&machine.started);
  schedule_until_done();
  check_after_blocks();
  forget_copies();
  end_fibers();
  machine.counters.blocks += static_cast<int64_t>(count);
}

void forget_threads() {
#if PLANET_TSAN
  for (Crew& one : crews) {
    for (void* fiber : one.fibers) __tsan_destroy_fiber(fiber);
    one.fibers.clear();
  }
#endif
  forget_engines();
}

}  // namespace planet::cuda::emulator
