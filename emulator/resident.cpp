// The blocks that run at the same time: their threads, stacks and shared memory.
#include <algorithm>
#include <cstdio>

#include "machine.h"
#include "shared_memory.h"

namespace planet::cuda::emulator {
namespace {

Stacks stacks;
SharedMemory shared_memory;

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
  if (stacks.below_stack(address)) return "stack overflow";
  char text[32];
  snprintf(text, sizeof text, "%p", address);
  return "access to memory without access at " + std::string(text) +
         (address == nullptr ? " (or a misaligned vector)" : "");
}

namespace {

void thread_main() {
  begin_context();
  bool failed = false;
  try {
    machine.body(machine.kernel);
    check_leaving();
  } catch (const LaunchFailed&) {
    failed = true;  // leaving from here would leave the exception caught for ever
  }
  if (failed) switch_context(current->context, machine.host);
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
  shared_memory.poison(slot);
  block.shared = shared_memory.block(slot);
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
      thread.index = {static_cast<unsigned>(t % c.block.x),
                      static_cast<unsigned>(t / c.block.x % c.block.y),
                      static_cast<unsigned>(t / c.block.x / c.block.y)};
      thread.lane = static_cast<int>(lane);
      thread.warp = &warp;
      thread.block = &block;
      prepare(thread.context, stacks.stack(slot * threads + t), stacks.bytes(slot * threads + t),
              thread_main);
    }
  }
}

void check_after_blocks() {
  if (!machine.failure.empty()) return;
  for (size_t i = 0; i < machine.blocks.size(); ++i) {
    if (!shared_memory.intact(i)) {
      machine.failure =
          "block " + block_text(machine.blocks[i]) + " wrote beside its shared memory";
    }
  }
  for (size_t i = 0; i < machine.threads.size(); ++i) {
    if (!stacks.intact(i)) machine.failure = position(machine.threads[i]) + ": stack overflow";
  }
  if (machine.failure.empty()) machine.failure = unfinished_copies();
}

}  // namespace

void run_blocks(size_t first, size_t count) {
  const size_t threads = volume(machine.configuration.block), warps = (threads + 31) / 32;
  stacks.require(count * threads);
  shared_memory.require(count, machine.configuration.shared_bytes);
  machine.blocks.resize(count);
  machine.warps.resize(count * warps);
  machine.threads.resize(count * threads);
  for (size_t i = 0; i < count; ++i) prepare_block(i, first + i);
  machine.alive = static_cast<int>(count * threads);
  begin_order(first);
  schedule_until_done();
  check_after_blocks();
  forget_copies();
  machine.counters.blocks += static_cast<int64_t>(count);
}

bool of_emulator(const void* address) {
  const auto within = [address](const auto* first, size_t count) {
    return address >= first && address < first + count;
  };
  return stacks.contains(address) || within(&current, 1) || within(&machine, 1) ||
         within(machine.threads.data(), machine.threads.size()) ||
         within(machine.warps.data(), machine.warps.size()) ||
         within(machine.blocks.data(), machine.blocks.size());
}

}  // namespace planet::cuda::emulator
