// Barriers in shared memory that count arrivals and bytes.
#include "machine.h"

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
  order_barrier_completion(word);
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
  order_barrier_arrival(word, call, where);
  ++machine.progress;
  complete_phase(word, barrier, *current->block);
  *word = encode(barrier);
}

}  // namespace

bool is_barrier(uint64_t word) {
  return word >> 62 == 1;
}

// They may come before the arrival that announces them: the count is then negative.
bool count_bytes(uint64_t* word, size_t bytes, Block& block) {
  Barrier barrier = decode(*word);
  barrier.bytes -= static_cast<int64_t>(bytes);
  if (barrier.bytes < -kMaxBytes) return false;
  ++machine.progress;
  complete_phase(word, barrier, block);
  *word = encode(barrier);
  return true;
}

int64_t awaited_bytes(uint64_t word) {
  return decode(word).bytes;
}

void barrier_init(uint64_t* barrier, uint32_t arrivals, Where where) {
  check_shared("barrier_init", where, barrier, 8, 8);
  if (arrivals == 0 || arrivals > kMaxArrivals) fail("barrier_init", where, "invalid count");
  if (is_barrier(*barrier)) fail("barrier_init", where, "initialised already");
  *barrier = encode({arrivals, arrivals, 0, 0});
  current->block->barriers.push_back(barrier);
  order_barrier_init(barrier);
}

void barrier_arrive(uint64_t* barrier, uint32_t expected_bytes, Where where) {
  const char* call = expected_bytes ? "barrier_expect" : "barrier_arrive";
  if (left_out(call, where)) return;
  check_shared(call, where, barrier, 8, 8);
  jitter();
  arrive(call, where, barrier, expected_bytes);
}

void barrier_wait(uint64_t* barrier, uint32_t parity, Where where) {
  if (left_out("barrier_wait", where)) return;
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
  order_barrier_wait(barrier, "barrier_wait", where);
}

std::string barrier_text(const Thread& thread) {
  if (thread.barrier == nullptr) return {};
  const Barrier barrier = decode(*thread.barrier);
  return ": parity " + std::to_string(thread.parity) + "; phase of parity " +
         std::to_string(barrier.parity) + " awaits " + std::to_string(barrier.pending) + " of " +
         std::to_string(barrier.expected) + " arrivals and " + std::to_string(barrier.bytes) +
         " bytes";
}

}  // namespace planet::cuda::emulator
