// Clusters of blocks, barriers in shared memory that count arrivals and bytes, bulk copies.
#include <string.h>

#include "machine.h"
#include "sanitizers.h"

namespace planet::cuda::emulator {
namespace {

// A barrier is its 64 bits, as on the device; the layout is ours. Pending and expected arrivals,
// 20 bits each; bytes to come + 2^20, 21 bits; the parity of the phase under way; 01. What is not
// initialised (0xFF...) has 11.
constexpr uint32_t kMaxArrivals = (1u << 20) - 1;
constexpr int64_t kMaxBytes = (1 << 20) - 1;

struct Barrier {
  uint32_t pending, expected;
  int64_t bytes;
  uint32_t parity;
};

Barrier decode(uint64_t word) {
  return {static_cast<uint32_t>(word) & kMaxArrivals,
          static_cast<uint32_t>(word >> 20) & kMaxArrivals,
          static_cast<int64_t>(word >> 40 & 0x1FFFFF) - (1 << 20),
          static_cast<uint32_t>(word >> 61 & 1)};
}

uint64_t encode(const Barrier& barrier) {
  return barrier.pending | uint64_t{barrier.expected} << 20 |
         static_cast<uint64_t>(barrier.bytes + (1 << 20)) << 40 | uint64_t{barrier.parity} << 61 |
         uint64_t{1} << 62;
}

bool is_barrier(uint64_t word) {
  return word >> 62 == 1;
}

struct Copy {
  unsigned char* target;
  const unsigned char* source;
  size_t bytes;
  uint64_t* barrier;
  Block* block;  // of target and barrier
  uint64_t due;  // tick
  const char* call;
  Where where;
  const Thread* issuer;
  std::vector<unsigned char> staged;  // the source, read early
  char order;                         // what ThreadSanitizer knows it by
};
std::vector<Copy*> copies;

// Completes the phase if nothing is awaited; wakes (by `satisfied`) those who wait for it.
void complete_phase(uint64_t* word, Barrier& barrier, Block& block) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  for (int w = 0; w < block.warp_count; ++w) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      if (!(block.warps[w].alive >> lane & 1)) continue;
      Thread& thread = block.warps[w].threads[lane];
      if (thread.barrier != word) continue;
      if (thread.satisfied) {
        fail_all(
            position(thread) + ": barrier_wait (" + place(thread.where) + "): the barrier at " +
            std::to_string(reinterpret_cast<unsigned char*>(word) - block.shared) +
            " ran a whole phase ahead of this thread, which may never see the one it waits for");
      }
      thread.satisfied = thread.parity == barrier.parity;
    }
  }
  barrier.pending = barrier.expected;
  barrier.parity ^= 1;
  ++machine.progress;
}

void arrive(const char* call, Where where, uint64_t* word, int64_t bytes) {
  if (!is_barrier(*word)) fail(call, where, "not an initialised barrier");
  Barrier barrier = decode(*word);
  if (barrier.pending == 0) {
    fail(call, where,
         "more arrivals in a phase than the barrier's " + std::to_string(barrier.expected));
  }
  barrier.bytes += bytes;
  if (barrier.bytes > kMaxBytes) fail(call, where, "more bytes than a barrier counts");
  --barrier.pending;
  release(word);
  ++machine.progress;
  complete_phase(word, barrier, *current->block);
  *word = encode(barrier);
}

#if PLANET_TSAN
std::vector<void*> engines;

// A copy is a thread of its own: after who started it, before who waits for the barrier. Threads
// cost much: 64 take turns.
void perform_accesses(Copy& copy) {
  static size_t next = 0;
  if (engines.size() < 64) {
    engines.push_back(__tsan_create_fiber(0));
    next = engines.size() - 1;
  }
  void* here = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(engines[next], 1);
  next = (next + 1) % engines.size();
  acquire(&copy.order);
  note_read(copy.source, copy.bytes);
  note_write(copy.target, copy.bytes);
  release(copy.barrier);
  release(&machine.finished);
  __tsan_switch_to_fiber(here, 1);
}
#else
void perform_accesses(Copy&) {}
#endif

std::string copy_text(const Copy& copy) {
  return position(*copy.issuer) + ": " + copy.call + " (" + place(copy.where) + "): ";
}

[[noreturn]] void fail_copy(const Copy& copy, const char* text) {
  fail_all(copy_text(copy) + text);
}

void perform(Copy& copy) {
  perform_accesses(copy);
  const Unseen unseen;
  const unsigned char* from = copy.staged.empty() ? copy.source : copy.staged.data();
  for (size_t i = 0; i < copy.bytes; ++i) copy.target[i] = from[i];
  machine.counters.bulk_bytes += static_cast<int64_t>(copy.bytes);
  if (!is_barrier(*copy.barrier)) fail_copy(copy, "its barrier is not initialised");
  if (copy.block->exited == copy.block->threads) fail_copy(copy, "the target block has ended");
  Barrier barrier = decode(*copy.barrier);
  barrier.bytes -= static_cast<int64_t>(copy.bytes);
  if (barrier.bytes < -kMaxBytes) fail_copy(copy, "more bytes than a barrier counts");
  ++machine.progress;
  complete_phase(copy.barrier, barrier, *copy.block);
  *copy.barrier = encode(barrier);
}

void start_copy(Copy&& copy) {
  const auto misaligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 != 0; };
  if (copy.bytes % 16 != 0 || copy.bytes == 0) {
    fail(copy.call, copy.where, std::to_string(copy.bytes) + " bytes: not a multiple of 16");
  }
  if (misaligned(copy.target) || misaligned(copy.source)) {
    fail(copy.call, copy.where, "an address is not a multiple of 16");
  }
  const Unseen unseen;
  copy.issuer = current;
  copy.due = machine.tick + 64;
  if (machine.random) {
    copy.due = machine.tick + (random_below(2) ? random_below(64) : random_below(20000));
    if (random_below(2)) copy.staged.assign(copy.source, copy.source + copy.bytes);
  }
  Copy* kept = new Copy(std::move(copy));
  release(&kept->order);
  copies.push_back(kept);
  ++machine.copies;
}

// Where a peer's address points to, after checking `bytes` there.
unsigned char* peer_pointer(const char* call, Where where, uint32_t address, size_t bytes,
                            Block*& block) {
  const uint32_t rank = address >> 24, offset = address & 0xFFFFFF;
  if (rank == 0 || rank > static_cast<uint32_t>(machine.configuration.cluster)) {
    fail(call, where, "not an address of peer_address");
  }
  block = current->block->cluster + (rank - 1);
  if (offset + bytes > machine.configuration.shared_bytes) {
    fail(call, where, "beyond the peer's shared memory");
  }
  if (block->exited > 0) fail(call, where, "threads of the peer have left the kernel");
  return block->shared + offset;
}

}  // namespace

uint32_t cluster_rank() {
  return current->block->rank;
}

void cluster_arrive(Where where) {
  Block& cluster = *current->block->cluster;
  if (current->cluster_arrived) fail("cluster_arrive", where, "arrived already; no wait between");
  current->cluster_arrived = true;
  current->cluster_phase = cluster.cluster_phase;
  release(&cluster.cluster_objects[cluster.cluster_phase % 2]);
  ++machine.progress;
  if (++cluster.cluster_arrived == cluster.threads * machine.configuration.cluster) {
    cluster.cluster_arrived = 0;
    ++cluster.cluster_phase;
  }
  jitter();
}

void cluster_wait(Where where) {
  Block& cluster = *current->block->cluster;
  if (!current->cluster_arrived) fail("cluster_wait", where, "without cluster_arrive");
  while (cluster.cluster_phase == current->cluster_phase) poll("cluster_wait", where);
  current->cluster_arrived = false;
  acquire(&cluster.cluster_objects[current->cluster_phase % 2]);
}

void check_shared(const char* call, Where where, const void* pointer, size_t bytes,
                  size_t alignment) {
  const uintptr_t first = reinterpret_cast<uintptr_t>(current->block->shared);
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  if (address < first || address - first + bytes > machine.configuration.shared_bytes) {
    fail(call, where, "outside the block's shared memory");
  }
  if (address % alignment != 0) {
    fail(call, where, "address is not a multiple of " + std::to_string(alignment));
  }
}

uint32_t shared_address(const void* pointer, Where where) {
  check_shared("shared_address", where, pointer, 0, 1);
  return static_cast<uint32_t>(static_cast<const unsigned char*>(pointer) - current->block->shared);
}

uint32_t peer_address(const void* pointer, uint32_t rank, Where where) {
  if (rank >= static_cast<uint32_t>(machine.configuration.cluster)) {
    fail("peer_address", where, "no block " + std::to_string(rank) + " in the cluster");
  }
  return shared_address(pointer, where) | (rank + 1) << 24;
}

void barrier_init(uint64_t* barrier, uint32_t arrivals, Where where) {
  check_shared("barrier_init", where, barrier, 8, 8);
  if (arrivals == 0 || arrivals > kMaxArrivals) fail("barrier_init", where, "invalid count");
  if (is_barrier(*barrier)) fail("barrier_init", where, "initialised already");
  *barrier = encode({arrivals, arrivals, 0, 0});
  const Unseen unseen;
  current->block->barriers.push_back(barrier);
  release(barrier);
}

void barrier_arrive(uint64_t* barrier, uint32_t expected_bytes, Where where) {
  const char* call = expected_bytes ? "barrier_expect" : "barrier_arrive";
  check_shared(call, where, barrier, 8, 8);
  jitter();
  arrive(call, where, barrier, expected_bytes);
}

void barrier_wait(uint64_t* barrier, uint32_t parity, Where where) {
  check_shared("barrier_wait", where, barrier, 8, 8);
  if (!is_barrier(*barrier)) fail("barrier_wait", where, "not an initialised barrier");
  if (parity > 1) fail("barrier_wait", where, "parity is neither 0 nor 1");
  if (decode(*barrier).parity == parity) {
    current->barrier = barrier;
    current->parity = parity;
    current->satisfied = false;
    while (!current->satisfied) poll("barrier_wait", where);
    current->barrier = nullptr;
  } else {
    jitter();
  }
  acquire(barrier);
}

std::string barrier_text(const Thread& thread) {
  if (thread.barrier == nullptr) return {};
  const Barrier barrier = decode(*thread.barrier);
  return ": parity " + std::to_string(thread.parity) + "; phase of parity " +
         std::to_string(barrier.parity) + " awaits " + std::to_string(barrier.pending) + " of " +
         std::to_string(barrier.expected) + " arrivals and " + std::to_string(barrier.bytes) +
         " bytes";
}

void copy_to_peer(uint32_t target, const void* source, uint32_t bytes, uint32_t barrier,
                  Where where) {
  const char* call = "copy_to_peer";
  check_shared(call, where, source, bytes, 16);
  Block *block = nullptr, *barrier_block = nullptr;
  unsigned char* to = peer_pointer(call, where, target, bytes, block);
  unsigned char* word = peer_pointer(call, where, barrier, 8, barrier_block);
  if (block != barrier_block) fail(call, where, "target and barrier are of different blocks");
  start_copy({to,
              static_cast<const unsigned char*>(source),
              bytes,
              reinterpret_cast<uint64_t*>(word),
              block,
              0,
              call,
              where,
              {},
              {},
              0});
}

void copy_from_global(void* target, const void* source, uint32_t bytes, uint64_t* barrier,
                      Where where) {
  const char* call = "copy_from_global";
  check_shared(call, where, target, bytes, 16);
  check_shared(call, where, barrier, 8, 8);
  start_copy({static_cast<unsigned char*>(target),
              static_cast<const unsigned char*>(source),
              bytes,
              barrier,
              current->block,
              0,
              call,
              where,
              {},
              {},
              0});
}

bool advance_copies(bool now) {
  const Unseen unseen;
  for (size_t i = 0; i < copies.size(); ++i) {
    if (!now && copies[i]->due > machine.tick) continue;
    Copy* copy = copies[i];
    copies.erase(copies.begin() + static_cast<int64_t>(i));
    --machine.copies;
    perform(*copy);
    delete copy;
    return true;
  }
  return false;
}

void forget_engines() {
#if PLANET_TSAN
  for (void* fiber : engines) __tsan_destroy_fiber(fiber);
  engines.clear();
#endif
}

void forget_copies() {
  for (Copy* copy : copies) delete copy;
  copies.clear();
  machine.copies = 0;
}

std::string unfinished_copies() {
  if (!copies.empty()) {
    return copy_text(*copies.front()) + "still under way when the blocks ended";
  }
  for (const Block& block : machine.blocks) {
    for (const uint64_t* word : block.barriers) {
      if (is_barrier(*word) && decode(*word).bytes != 0) {
        return "block " + block_text(block) + ": a barrier's phase awaits " +
               std::to_string(decode(*word).bytes) + " bytes when the blocks have ended";
      }
    }
  }
  return {};
}

}  // namespace planet::cuda::emulator
