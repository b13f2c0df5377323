// Bulk copies: when they arrive, what they tell their barriers.
#include "machine.h"

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
  CopyOrder order;
};
std::vector<Copy*> copies;

std::string copy_text(const Copy& copy) {
  return position(*copy.issuer) + ": " + copy.call + " (" + place(copy.where) + "): ";
}

[[noreturn]] void fail_copy(const Copy& copy, const char* text) {
  fail_all(copy_text(copy) + text);
}

void note_accesses(const Copy& copy) {
  if (!watching) return;
  const std::string text = copy_text(copy);
  note_copy(copy.order, *copy.issuer->block, copy.source, copy.bytes, Access::kCopyRead, text);
  note_copy(copy.order, *copy.block, copy.target, copy.bytes, Access::kCopyWrite, text);
  if (is_barrier(*copy.barrier)) order_copy_end(copy.order, copy.barrier, text);
}

void perform(Copy& copy) {
  note_accesses(copy);
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
  copy.issuer = current;
  copy.due = machine.tick + 64;
  if (machine.random) {
    copy.due = machine.tick + (random_below(2) ? random_below(64) : random_below(20000));
    if (random_below(2)) copy.staged.assign(copy.source, copy.source + copy.bytes);
  }
  Copy* kept = new Copy(std::move(copy));
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
              nullptr,
              {},
              order_copy_start(reinterpret_cast<uint64_t*>(word), call, where)});
}

bool advance_copies(bool now) {
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
