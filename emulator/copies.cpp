// Bulk copies: when they arrive, what they tell their barriers.
#include "machine.h"
#include "sanitizers.h"

namespace planet::cuda::emulator {
namespace {

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
  if (!count_bytes(copy.barrier, copy.bytes, *copy.block)) {
    fail_copy(copy, "more bytes than a barrier counts");
  }
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

}  // namespace

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
      if (is_barrier(*word) && awaited_bytes(*word) != 0) {
        return "block " + block_text(block) + ": a barrier's phase awaits " +
               std::to_string(awaited_bytes(*word)) + " bytes when the blocks have ended";
      }
    }
  }
  return {};
}

}  // namespace planet::cuda::emulator
