// Which thread runs next, and who waits for whom.
#include <bit>

#include "machine.h"

namespace planet::cuda::emulator {
namespace {

bool same_place(Where a, Where b) {
  return a.line() == b.line() && a.column() == b.column() && a.file_name() == b.file_name();
}

// Lane of `set` after `lane`, in a circle.
int next_lane(uint32_t set, int lane) {
  const uint32_t later = lane == 31 ? 0 : set >> (lane + 1) << (lane + 1);
  return std::countr_zero(later ? later : set);
}

int random_lane(uint32_t set) {
  uint32_t skip = random_below(static_cast<uint32_t>(std::popcount(set)));
  for (; skip > 0; --skip) set &= set - 1;
  return std::countr_zero(set);
}

// A warp after `from`, in a circle, for which `ready`; with jitter after a random one.
template <class Ready>
Warp* next_warp(const Warp* from, const Ready& ready) {
  const size_t count = machine.warps.size();
  size_t at = static_cast<size_t>(from - machine.warps.data());
  if (machine.random) at = random_below(static_cast<uint32_t>(count));
  for (size_t i = 0; i < count; ++i) {
    at = at + 1 == count ? 0 : at + 1;
    if (ready(machine.warps[at])) return &machine.warps[at];
  }
  return nullptr;
}

[[noreturn]] void report_deadlock() {
  std::string text = "deadlock:";
  int lines = 0;
  for (const Warp& warp : machine.warps) {
    uint32_t left = warp.alive;
    while (left != 0 && lines < 16) {
      // Lanes that wait at the same place.
      const Thread& first = warp.threads[std::countr_zero(left)];
      uint32_t same = 0;
      for (uint32_t rest = left; rest != 0; rest &= rest - 1) {
        const int lane = std::countr_zero(rest);
        const Thread& thread = warp.threads[lane];
        if (thread.call == first.call && same_place(thread.where, first.where)) {
          same |= 1u << lane;
        }
      }
      text += "\n  block " + block_text(*warp.block) + " warp " +
              std::to_string(&warp - warp.block->warps) + " lanes " + lanes_text(same) + " at " +
              first.call + " (" + place(first.where) + ")" + barrier_text(first);
      left &= ~same;
      ++lines;
    }
  }
  if (lines == 16) text += "\n  ...";
  fail_all(text);
}

Thread& thread_of(Warp& warp) {
  const int lane =
      machine.random
          ? random_lane(warp.runnable)
          : next_lane(warp.runnable, warp.threads == current->warp->threads ? current->lane : 31);
  return warp.threads[lane];
}

// When the current thread's warp can no longer run, or jitter wants another.
[[gnu::noinline]] Thread& thread_elsewhere() {
  for (;;) {
    Warp* warp = next_warp(current->warp, [](const Warp& w) { return w.runnable != 0; });
    if (warp != nullptr) return thread_of(*warp);
    if (!advance_copies(true)) break;
  }
  // Only threads that poll: they try again, in vain unless something has happened meanwhile.
  Warp* warp = next_warp(current->warp, [](const Warp& w) { return w.polling != 0; });
  if (warp == nullptr) report_deadlock();
  if (machine.polled_at != machine.progress) {
    machine.polled_at = machine.progress;
    machine.polls = 0;
  }
  if (++machine.polls > 1000 + 8 * machine.threads.size()) report_deadlock();
  warp->runnable |= warp->polling;
  warp->polling = 0;
  return thread_of(*warp);
}

inline void hand_over() {
  Thread& from = *current;
  Warp& warp = *from.warp;
  ++machine.tick;
  if (machine.copies != 0) advance_copies(false);
  Thread* to;
  if (warp.runnable == 0 || (machine.random && random_below(8) == 0)) {
    to = &thread_elsewhere();
  } else if (machine.random) {
    to = &warp.threads[random_lane(warp.runnable)];
  } else {
    to = &warp.threads[next_lane(warp.runnable, from.lane)];
  }
  if (to == &from) return;
  current = to;
  switch_context(from.context, to->context);
}

void release_block_barrier(Block& block) {
  for (int w = 0; w < block.warp_count; ++w) {
    Warp& warp = block.warps[w];
    warp.runnable |= warp.at_barrier;
    warp.at_barrier = 0;
  }
  block.at_barrier = 0;
  ++machine.progress;
}

// Lanes of a warp come to one __syncthreads together.
void check_block_barrier(const Warp& warp, Where where) {
  const Block& block = *warp.block;
  if (block.exited > 0) {
    fail("__syncthreads", where, "another thread of the block has left the kernel");
  }
  if (warp.at_barrier != 0) {
    const Thread& other = warp.threads[std::countr_zero(warp.at_barrier)];
    if (!same_place(other.where, where)) {
      fail("__syncthreads", where,
           "lane " + std::to_string(other.lane) + " of the warp came to the one at " +
               place(other.where));
    }
  }
  for (int i = 0; i < warp.meetings; ++i) {
    const Meeting& meeting = warp.meeting[i];
    if (meeting.mask >> current->lane & 1) {
      fail("__syncthreads", where,
           "lanes " + lanes_text(meeting.arrived) + " wait for this one at " + meeting.call + " (" +
               place(meeting.where) + ")");
    }
  }
}

[[noreturn]] void fail_meeting(const char* call, Where where, const Meeting& other) {
  fail(call, where,
       "lanes " + lanes_text(other.arrived) + " wait for this one at " + other.call + " (" +
           place(other.where) + "), mask " + mask_text(other.mask));
}

// The meeting that the current lane comes to, a new one if it is the first.
[[gnu::noinline]] Meeting& find_meeting(const char* call, Where where, uint32_t mask, bool aligned,
                                        void (*perform)(Warp&, uint32_t)) {
  Warp& warp = *current->warp;
  const uint32_t bit = 1u << current->lane;
  for (int i = 0; i < warp.meetings; ++i) {
    Meeting& meeting = warp.meeting[i];
    if (!(meeting.mask & bit)) continue;
    if (meeting.mask != mask || meeting.perform != perform ||
        (aligned && !same_place(meeting.where, where))) {
      fail_meeting(call, where, meeting);
    }
    return meeting;
  }
  if (!(mask & bit)) fail(call, where, "the lane is not in its own mask " + mask_text(mask));
  if (mask & ~warp.alive) {
    fail(call, where,
         "lanes " + lanes_text(mask & ~warp.alive) +
             " of the mask do not exist or have left the kernel");
  }
  if (mask & warp.at_barrier) {
    fail(call, where,
         "lanes " + lanes_text(mask & warp.at_barrier) + " of the mask wait at __syncthreads (" +
             place(warp.threads[std::countr_zero(mask & warp.at_barrier)].where) + ")");
  }
  Meeting& meeting = warp.meeting[warp.meetings++];
  meeting = {call, where, perform, mask, 0};
  return meeting;
}

}  // namespace

uint32_t random_below(uint32_t count) {
  machine.random += 0x9E3779B97F4A7C15u;  // SplitMix64 (Steele, Lea and Flood 2014)
  uint64_t z = machine.random;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return static_cast<uint32_t>(((z ^ z >> 31) >> 32) * count >> 32);
}

void wait(const char* call, Where where) {
  current->call = call;
  current->where = where;
  current->warp->runnable &= ~(1u << current->lane);
  hand_over();
}

void poll(const char* call, Where where) {
  current->warp->polling |= 1u << current->lane;
  wait(call, where);
}

void jitter() {
  if (machine.random && random_below(4) == 0) hand_over();
}

void made_progress() {
  ++machine.progress;
}

void count_streamed(int64_t bytes) {
  machine.counters.streamed_bytes += bytes;
}

uint64_t nanoseconds() {
  return current->clock += 5'000'000;
}

bool spins(const uint32_t* counter, uint32_t value) {
  const bool again = current->polled == counter && current->polled_value == value;
  current->polled = counter;
  current->polled_value = value;
  return again;
}

void meet(const char* call, Where where, uint32_t mask, bool aligned,
          void (*perform)(Warp& warp, uint32_t mask), void* data) {
  Warp& warp = *current->warp;
  // Nearly always the warp's one meeting is under way, and this call belongs to it.
  const Meeting& first = warp.meeting[0];
  const bool joins = warp.meetings == 1 && first.mask == mask && first.perform == perform &&
                     std::bit_cast<void*>(first.where) == std::bit_cast<void*>(where);
  Meeting& meeting = joins ? warp.meeting[0] : find_meeting(call, where, mask, aligned, perform);
  warp.data[current->lane] = data;
  meeting.arrived |= 1u << current->lane;
  if (meeting.arrived != mask) {
    wait(call, where);
    return;
  }
  meeting = warp.meeting[--warp.meetings];
  perform(warp, mask);
  warp.runnable |= mask;
  ++machine.progress;
  jitter();
}

void synchronize_warp(uint32_t mask, Where where) {
  if (left_out("__syncwarp", where)) return;
  meet("__syncwarp", where, mask, false, order_lanes, nullptr);
}

void synchronize_block(Where where) {
  if (left_out("__syncthreads", where)) return;
  Warp& warp = *current->warp;
  Block& block = *warp.block;
  check_block_barrier(warp, where);
  warp.at_barrier |= 1u << current->lane;
  if (++block.at_barrier < block.threads) {
    wait("__syncthreads", where);
  } else {
    order_block(block);
    release_block_barrier(block);
    jitter();
  }
}

void check_leaving() {
  const Warp& warp = *current->warp;
  for (int i = 0; i < warp.meetings; ++i) {
    if (warp.meeting[i].mask >> current->lane & 1) {
      fail_meeting("the kernel's end", Where{}, warp.meeting[i]);
    }
  }
  if (warp.block->at_barrier > 0) {
    fail("left the kernel while other threads of the block wait at __syncthreads");
  }
  if (current->cluster_arrived) fail("left the kernel between cluster_arrive and cluster_wait");
}

void leave_kernel() {
  Warp& warp = *current->warp;
  const uint32_t bit = 1u << current->lane;
  warp.alive &= ~bit;
  warp.runnable &= ~bit;
  ++warp.block->exited;
  current->context.ends = true;
  ++machine.progress;
  if (--machine.alive > 0) {
    try {
      hand_over();
    } catch (const LaunchFailed&) {  // all others wait
    }
  }
  switch_context(current->context, machine.host);
  __builtin_unreachable();
}

void schedule_until_done() {
  machine.tick = machine.progress = machine.polled_at = machine.polls = 0;
  current = &machine.threads[0];
  switch_context(machine.host, current->context);
  current = nullptr;
}

}  // namespace planet::cuda::emulator
