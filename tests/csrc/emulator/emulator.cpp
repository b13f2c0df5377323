// Launches: limits, blocks in order, shared memory.
#include "emulator.h"

#include <string.h>

#include <mutex>
#include <set>

#include "faults.h"
#include "machine.h"
#include "sanitizers.h"
#include "shared_memory.h"

namespace planet::cuda::emulator {

Machine machine;
Thread* current = nullptr;

namespace {

Device chosen_device = Device::sm_90();
uint64_t chosen_seed = 0;
Counters totals{};
Stacks stacks;

SharedMemory shared_memory;

size_t volume(const dim3& size) {
  return static_cast<size_t>(size.x) * size.y * size.z;
}

// Texts that live for ever.
const char* kept(const std::string& text) {
  static std::set<std::string> texts;
  return texts.insert(text).first->c_str();
}

// What a device would refuse; empty if nothing.
std::string refusal(const Configuration& c) {
  const Device& d = chosen_device;
  const size_t blocks = volume(c.grid), threads = volume(c.block);
  if (d.count == 0) return "no CUDA-capable device is detected";
  if (blocks == 0 || threads == 0) return "invalid configuration argument: an empty grid or block";
  if (threads > 1024) return "invalid configuration argument: more than 1024 threads in a block";
  if (c.grid.x > 0x7FFFFFFFu || c.grid.y > 65535 || c.grid.z > 65535) {
    return "invalid configuration argument: grid size";
  }
  if (c.shared_bytes > static_cast<size_t>(d.shared_per_block)) {
    return "invalid argument: " + std::to_string(c.shared_bytes) +
           " bytes of shared memory, the device has " + std::to_string(d.shared_per_block);
  }
  if (c.cluster < 1 || c.grid.x % static_cast<unsigned>(c.cluster) != 0) {
    return "invalid cluster size: the grid is no multiple of it";
  }
  if (c.cluster > 1 && d.major < 9) return "clusters need sm_90 or newer";
  if (c.cluster > 16) return "invalid cluster size: more than 16 blocks";
  if (c.cooperative) {
    const size_t shared = c.shared_bytes + 1024;  // what the system keeps
    const size_t fit = std::min(static_cast<size_t>(d.shared_per_multiprocessor) / shared,
                                2048 / ((threads + 31) / 32 * 32));
    size_t most = fit * static_cast<size_t>(d.multiprocessors);
    if (c.cluster > 1 && d.active_clusters > 0) {
      most = static_cast<size_t>(d.active_clusters) * static_cast<size_t>(c.cluster);
    }
    if (blocks > most) return "too many blocks in cooperative launch";
  }
  return {};
}

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

void thread_main() {
  begin_context();
  acquire(&machine.started);
  machine.body(machine.kernel);
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
      void* fiber = thread.context.tsan_fiber;
      thread = Thread{};
      thread.context.tsan_fiber = fiber;
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

#if PLANET_TSAN
// Every thread of every block is new: nothing orders it after the blocks before.
void create_fibers() {
  machine.host.tsan_fiber = __tsan_get_current_fiber();
  for (Thread& thread : machine.threads) thread.context.tsan_fiber = __tsan_create_fiber(0);
  release(&machine.started);
}

void destroy_fibers() {
  for (Thread& thread : machine.threads) {
    __tsan_switch_to_fiber(thread.context.tsan_fiber, 1);
    release(&machine.finished);
    __tsan_switch_to_fiber(machine.host.tsan_fiber, 1);
    __tsan_destroy_fiber(thread.context.tsan_fiber);
    thread.context.tsan_fiber = nullptr;
  }
}
#else
void create_fibers() {}
void destroy_fibers() {}
#endif

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

// Runs blocks [first, first + count) of the grid together.
void run_blocks(size_t first, size_t count) {
  const size_t threads = volume(machine.configuration.block), warps = (threads + 31) / 32;
  stacks.require(count * threads);
  shared_memory.require(count, machine.configuration.shared_bytes);
  machine.blocks.resize(count);
  machine.warps.resize(count * warps);
  machine.threads.resize(count * threads);
  for (size_t i = 0; i < count; ++i) prepare_block(i, first + i);
  machine.alive = static_cast<int>(count * threads);
  create_fibers();
  schedule_until_done();
  check_after_blocks();
  forget_copies();
  destroy_fibers();
  machine.counters.blocks += static_cast<int64_t>(count);
}

void add_to_totals(const Counters& c) {
  totals.launches += c.launches;
  totals.blocks += c.blocks;
  totals.multiply_accumulates += c.multiply_accumulates;
  totals.load_matrices += c.load_matrices;
  totals.load_matrix_conflicts += c.load_matrix_conflicts;
  totals.streamed_bytes += c.streamed_bytes;
  totals.bulk_bytes += c.bulk_bytes;
  totals.block_barriers += c.block_barriers;
}

}  // namespace

Device& device() {
  return chosen_device;
}

uint64_t& jitter_seed() {
  return chosen_seed;
}

const Counters& last_launch() {
  return machine.counters;
}

Counters& total() {
  return totals;
}

const char* run(const Configuration& configuration, void (*body)(const void*), const void* kernel) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  const std::string refused = refusal(configuration);
  if (!refused.empty()) return kept(refused);
  machine.configuration = configuration;
  machine.body = body;
  machine.kernel = kernel;
  machine.random = chosen_seed;
  machine.failure.clear();
  machine.counters = {};
  machine.counters.launches = 1;
  const FaultScope faults(describe_address);
  const size_t blocks = volume(configuration.grid);
  const size_t together =
      configuration.cooperative ? blocks : static_cast<size_t>(configuration.cluster);
  for (size_t first = 0; first < blocks && machine.failure.empty(); first += together) {
    run_blocks(first, together);
  }
  acquire(&machine.finished);
  add_to_totals(machine.counters);
  return machine.failure.empty() ? nullptr : kept(machine.failure);
}

}  // namespace planet::cuda::emulator
