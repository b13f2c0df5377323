#include "order.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "machine.h"

namespace planet::cuda::emulator {

bool watching = false;

namespace {

constexpr uint32_t kCopies = 256;  // clocks that bulk copies take in turn

struct BarrierOrder {
  uint32_t actor;    // whose time is the number of complete phases
  uint32_t phases;   // complete
  uint32_t creator;  // thread that initialised it
  uint32_t created;
  Clock pending;       // what is known to those that have come in this phase
  Knowledge complete;  // ... that had come when the last phase was complete
  std::vector<std::pair<uint32_t, uint32_t>> waited;  // who has waited for that one, and when
};

struct ClusterOrder {
  Clock arrived;
  Knowledge complete[2];  // phases, in turn
};

uint32_t now;           // the latest time
uint32_t first_copy;    // actor
uint32_t copies;        // so far
uint32_t next_barrier;  // actor
std::unordered_map<const void*, Clock> counters;
std::unordered_map<const uint64_t*, BarrierOrder> barriers;
std::unordered_map<const Block*, ClusterOrder> clusters;

ThreadOrder& mine() {
  return current->order;
}

void add(Clock& to, const Clock& from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}

void add(Clock& to, uint32_t actor, uint32_t time) {
  if (to.size() <= actor) to.resize(actor + 1);
  to[actor] = std::max(to[actor], time);
}

// What a thread knows, itself included.
void add(Clock& to, const ThreadOrder& from) {
  add(to, *from.known);
  add(to, from.actor, from.time);
}

bool contains(const Clock& all, const Clock& part) {
  for (size_t i = 0; i < part.size(); ++i) {
    if (part[i] > time_of(all, static_cast<uint32_t>(i))) return false;
  }
  return true;
}

// The sum of two. Threads of a block mostly ask for the same one.
Knowledge sum_of(const Knowledge& a, const Knowledge& b) {
  struct Sum {
    Knowledge a, b, sum;
  };
  static Sum sums[64];
  if (a == b) return a;
  const size_t hash = std::hash<const void*>()(a.get()) * 31 + std::hash<const void*>()(b.get());
  Sum& sum = sums[hash / 16 % 64];
  if (sum.a == a && sum.b == b) return sum.sum;
  sum = {a, b, a};
  if (!contains(*a, *b)) {
    Clock all = *a;
    add(all, *b);
    sum.sum = std::make_shared<const Clock>(std::move(all));
  }
  return sum.sum;
}

void learn(const Knowledge& what) {
  mine().known = sum_of(mine().known, what);
}

void publish(Clock& to) {
  add(to, mine());
  mine().time = ++now;
}

BarrierOrder* known_barrier(const uint64_t* barrier, const char* call, Where where) {
  const auto found = barriers.find(barrier);
  if (found == barriers.end()) return nullptr;
  BarrierOrder& b = found->second;
  if (b.creator != mine().actor && time_of(*mine().known, b.creator) < b.created) {
    fail(call, where, "race: nothing orders it behind the barrier's initialisation");
  }
  return &b;
}

[[noreturn]] void fail_phase(const std::string& what) {
  fail_all("race: " + what +
           " a phase of a barrier without knowing that the one before is complete");
}

// For all threads of a warp in `mask`: what they know, and their times.
void collect(const Warp& warp, uint32_t mask, std::vector<Knowledge>& known, Clock& times) {
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const ThreadOrder& order = warp.threads[std::countr_zero(rest)].order;
    if (std::find(known.rbegin(), known.rend(), order.known) == known.rend()) {
      known.push_back(order.known);
    }
    add(times, order.actor, order.time);
  }
}

void share(Warp& warp, uint32_t mask, const Knowledge& known) {
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    ThreadOrder& order = warp.threads[std::countr_zero(rest)].order;
    order.known = known;
    order.time = now;
  }
}

Knowledge sum_of(const std::vector<Knowledge>& known, Clock&& times) {
  for (const Knowledge& one : known) add(times, *one);
  ++now;
  return std::make_shared<const Clock>(std::move(times));
}

}  // namespace

void begin_order(size_t first_block) {
  if (!watching) return;
  now = 1;
  first_copy = static_cast<uint32_t>(machine.warps.size()) * 32;
  copies = 0;
  next_barrier = first_copy + kCopies;
  counters.clear();
  barriers.clear();
  clusters.clear();
  const Knowledge nothing = std::make_shared<const Clock>(next_barrier);
  for (size_t w = 0; w < machine.warps.size(); ++w) {
    Warp& warp = machine.warps[w];
    for (uint32_t rest = warp.lanes; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      warp.threads[lane].order = {
          static_cast<uint32_t>(w * 32) + static_cast<uint32_t>(lane), now, nothing, {}, {}};
    }
  }
  begin_shadow(first_block);
}

void order_lanes(Warp& warp, uint32_t mask) {
  if (!watching) return;
  std::vector<Knowledge> known;
  Clock times;
  collect(warp, mask, known, times);
  share(warp, mask, sum_of(known, std::move(times)));
}

void order_block(Block& block) {
  if (!watching) return;
  std::vector<Knowledge> known;
  Clock times;
  for (int w = 0; w < block.warp_count; ++w) {
    collect(block.warps[w], block.warps[w].lanes, known, times);
  }
  const Knowledge sum = sum_of(known, std::move(times));
  for (int w = 0; w < block.warp_count; ++w) share(block.warps[w], block.warps[w].lanes, sum);
}

void order_cluster_arrival(Block& cluster, uint64_t phase, bool last) {
  if (!watching) return;
  ClusterOrder& order = clusters[&cluster];
  publish(order.arrived);
  if (last) order.complete[phase % 2] = std::make_shared<const Clock>(std::move(order.arrived));
  if (last) order.arrived = {};
}

void order_cluster_wait(Block& cluster, uint64_t phase) {
  if (watching) learn(clusters[&cluster].complete[phase % 2]);
}

void release(const void* counter) {
  if (watching) publish(counters[counter]);
}

void acquire(const void* counter) {
  if (watching) learn(std::make_shared<const Clock>(counters[counter]));
}

void order_fence() {
  if (!watching) return;
  mine().time = ++now;
  mine().fences.push_back(now);
}

void order_init_fence() {
  if (!watching) return;
  mine().time = ++now;
  mine().init_fences.push_back(now);
}

void order_barrier_init(const uint64_t* barrier) {
  if (!watching) return;
  BarrierOrder order{next_barrier++, 0, mine().actor, mine().time, {}, {}, {}};
  order.complete = std::make_shared<const Clock>();
  barriers[barrier] = std::move(order);
}

void order_barrier_arrival(const uint64_t* barrier, const char* call, Where where) {
  if (!watching) return;
  BarrierOrder* b = known_barrier(barrier, call, where);
  if (b == nullptr) return;
  if (time_of(*mine().known, b->actor) != b->phases) {
    fail_phase(position(*current) + ": " + call + " (" + place(where) + ") arrives in");
  }
  publish(b->pending);
}

void order_barrier_wait(const uint64_t* barrier, const char* call, Where where) {
  if (!watching) return;
  BarrierOrder* b = known_barrier(barrier, call, where);
  if (b == nullptr) return;
  learn(b->complete);
  b->waited.emplace_back(mine().actor, mine().time);
}

void order_barrier_completion(const uint64_t* barrier) {
  if (!watching) return;
  const auto found = barriers.find(barrier);
  if (found == barriers.end()) return;
  BarrierOrder& b = found->second;
  for (const auto& [actor, time] : b.waited) {
    if (time_of(b.pending, actor) < time) {
      const Warp& warp = machine.warps[actor / 32];
      fail_all("race: a phase of a barrier may be complete before " +
               position(warp.threads[actor % 32]) + " has waited for the one before");
    }
  }
  b.waited.clear();
  add(b.pending, b.actor, ++b.phases);
  b.complete = sum_of(b.complete, std::make_shared<const Clock>(std::move(b.pending)));
  b.pending = {};
}

CopyOrder order_copy_start(const uint64_t* barrier, const char* call, Where where) {
  if (!watching) return {};
  const auto found = barriers.find(barrier);
  if (found != barriers.end()) {
    const BarrierOrder& b = found->second;
    const ThreadOrder& creator = machine.warps[b.creator / 32].threads[b.creator % 32].order;
    const auto fence =
        std::upper_bound(creator.init_fences.begin(), creator.init_fences.end(), b.created);
    if (fence == creator.init_fences.end() ||
        (b.creator != mine().actor && time_of(*mine().known, b.creator) < *fence)) {
      fail(call, where, "its barrier may not be initialised yet: no barrier_init_fence before");
    }
  }
  Clock known;
  publish(known);
  return {first_copy + copies++ % kCopies, ++now, std::make_shared<const Clock>(std::move(known))};
}

void order_copy_end(const CopyOrder& copy, const uint64_t* barrier, const std::string& text) {
  if (!watching) return;
  const auto found = barriers.find(barrier);
  if (found == barriers.end()) return;
  BarrierOrder& b = found->second;
  if (time_of(*copy.known, b.actor) != b.phases) fail_phase(text + "counts its bytes in");
  add(b.pending, *copy.known);
  add(b.pending, copy.actor, copy.time);
}

bool fenced_after(uint32_t actor, uint32_t time, const Clock& known) {
  const std::vector<uint32_t>& fences = machine.warps[actor / 32].threads[actor % 32].order.fences;
  const auto fence = std::upper_bound(fences.begin(), fences.end(), time);
  return fence != fences.end() && *fence <= time_of(known, actor);
}

}  // namespace planet::cuda::emulator
