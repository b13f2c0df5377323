// What was done to memory last, and whether the next access may follow it.
#include <string.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <unordered_map>

#include "machine.h"
#include "order.h"

namespace planet::cuda::emulator {
namespace {

// Accesses of one kind by lanes of a warp at one time, or of a bulk copy (`lanes` 1).
struct Record {
  uint32_t actor, lanes;  // of lane 0
  uint32_t time;
  uint32_t group;  // of blocks that ran at the same time
  uint32_t code;   // of one of them; of a copy: 0
  Access access;
};

// The one that accesses: a thread, or a copy (`self` is nobody's).
struct Actor {
  uint32_t actor, time, self;
  const Clock* known;
};

bool writes(Access access) {
  return access == Access::kWrite || access == Access::kAtomic || access == Access::kCopyWrite;
}
bool is_copy(Access access) {
  return access == Access::kCopyRead || access == Access::kCopyWrite;
}
bool is_atomic(Access access) {
  return access == Access::kAtomic || access == Access::kAtomicRead;
}

// Groups of blocks run one after another here; those of one launch do at the same time on a device,
// and those of launches on different streams.
struct Group {
  uint32_t launch, first_block;
  const void* stream;
};
std::vector<Group> groups;
uint32_t launches;

bool ordered(const Record& before, const Actor& actor) {
  if (before.group + 1 != groups.size()) {
    const Group &a = groups[before.group], &b = groups.back();
    const bool in_order = a.stream == b.stream || a.stream == nullptr || b.stream == nullptr;
    return a.launch != b.launch && in_order;
  }
  for (uint32_t rest = before.lanes; rest != 0; rest &= rest - 1) {
    const uint32_t other = before.actor + static_cast<uint32_t>(std::countr_zero(rest));
    if (other != actor.self && time_of(*actor.known, other) < before.time) return false;
  }
  return true;
}

// A bulk copy comes behind ordinary writes if their threads have fenced them.
bool fenced(const Record& before, const Actor& copy) {
  if (before.group + 1 != groups.size()) return true;
  for (uint32_t rest = before.lanes; rest != 0; rest &= rest - 1) {
    const uint32_t other = before.actor + static_cast<uint32_t>(std::countr_zero(rest));
    if (!fenced_after(other, before.time, *copy.known)) return false;
  }
  return true;
}

bool follows(const Record& before, const Actor& actor, Access access) {
  if (!writes(before.access) && !writes(access)) return true;
  if (is_atomic(before.access) && is_atomic(access)) return true;
  const bool proxies = is_copy(access) && writes(before.access) && !is_copy(before.access);
  return ordered(before, actor) && (!proxies || fenced(before, actor));
}

// The records of many cells; a cell knows its first one's place.
class Records {
 public:
  void clear() {
    nodes_.resize(1);
    free_ = 0;
  }

  // Notes an access to a cell. Returns the record that it may not follow, or null.
  const Record* note(uint32_t& cell, const Actor& actor, Access access, uint32_t code) {
    const uint32_t lane = is_copy(access) ? 0 : actor.actor % 32;
    Record* same = nullptr;
    int length = 0;
    for (uint32_t at = cell; at != 0; at = nodes_[at].next, ++length) {
      Record& record = nodes_[at].record;
      if (!follows(record, actor, access)) return &record;
      if (record.access == access && record.time == actor.time && !is_copy(access) &&
          record.actor == actor.actor - lane && record.group + 1 == groups.size()) {
        same = &record;
      }
    }
    const bool replaces = writes(access) && !is_atomic(access);
    if (same != nullptr && (!replaces || length == 1)) {
      same->lanes |= 1u << lane;
      if (replaces) same->lanes = 1u << lane;
      return nullptr;
    }
    if (length > 0) forget(cell, actor, access, replaces);
    push(cell, {actor.actor - lane, 1u << lane, actor.time,
                static_cast<uint32_t>(groups.size() - 1), code, access});
    return nullptr;
  }

 private:
  struct Node {
    Record record;
    uint32_t next;
  };

  // Whoever comes behind the new access comes behind these, too; and two groups of readers are
  // enough to find a writer's mistake.
  void forget(uint32_t& cell, const Actor& actor, Access access, bool all) {
    int others = 0;
    for (uint32_t* at = &cell; *at != 0;) {
      Node& node = nodes_[*at];
      const Record& record = node.record;
      const bool alike = record.access == access;
      const bool here = record.group + 1 == groups.size();
      if (all || (alike && (here ? ordered(record, actor) : ++others > 2))) {
        const uint32_t gone = *at;
        *at = node.next;
        nodes_[gone].next = free_;
        free_ = gone;
      } else {
        at = &node.next;
      }
    }
  }

  void push(uint32_t& cell, const Record& record) {
    uint32_t at = free_;
    if (at != 0) {
      free_ = nodes_[at].next;
    } else {
      at = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
    }
    nodes_[at] = {record, cell};
    cell = at;
  }

  std::vector<Node> nodes_{1};
  uint32_t free_ = 0;
};

constexpr size_t kSharedCell = 2, kCell = 4, kPage = 4096;  // bytes
using Page = std::unique_ptr<uint32_t[]>;

Records shared_records, global_records;
std::vector<uint32_t> shared_cells;
size_t shared_stride;  // bytes from one block's shared memory to the next
std::unordered_map<uintptr_t, Page> pages;
uintptr_t last_number;
uint32_t* last_page;

uint32_t& global_cell(uintptr_t address) {
  const uintptr_t number = address / kPage;
  if (last_page == nullptr || number != last_number) {
    Page& page = pages[number];
    if (!page) page.reset(new uint32_t[kPage / kCell]());
    last_page = page.get();
    last_number = number;
  }
  return last_page[address % kPage / kCell];
}

void forget_global() {
  pages.clear();
  last_page = nullptr;
  global_records.clear();
  groups.clear();
}

const Record* note_shared(size_t block, size_t offset, size_t bytes, const Actor& actor,
                          Access access, uint32_t code) {
  uint32_t* cells = &shared_cells[block * (shared_stride / kSharedCell)];
  for (size_t c = offset / kSharedCell; c <= (offset + bytes - 1) / kSharedCell; ++c) {
    if (const Record* other = shared_records.note(cells[c], actor, access, code)) return other;
  }
  return nullptr;
}

const Record* note_global(uintptr_t address, size_t bytes, const Actor& actor, Access access,
                          uint32_t code) {
  for (uintptr_t at = address / kCell * kCell; at < address + bytes; at += kCell) {
    if (const Record* other = global_records.note(global_cell(at), actor, access, code)) {
      return other;
    }
  }
  return nullptr;
}

const char* verb(Access access) {
  constexpr const char* kVerbs[] = {"reads",   "writes", "reads (atomically)",
                                    "updates", "copies", "copies"};
  return kVerbs[static_cast<int>(access)];
}

std::string text_of(const Record& record) {
  std::string who;
  const uint32_t warp = record.actor / 32;
  if (record.group + 1 != groups.size()) {
    const Group &group = groups[record.group], &here = groups.back();
    who = (group.launch == here.launch
               ? "block number " + std::to_string(group.first_block) + " or one that runs with it"
               : std::string("a launch on another stream"));
  } else if (is_copy(record.access)) {
    return "a bulk copy " + std::string(record.access == Access::kCopyRead ? "reads" : "writes");
  } else {
    const Warp& of = machine.warps[warp];
    who = "block " + block_text(*of.block) + " warp " + std::to_string(&of - of.block->warps) +
          " lanes " + lanes_text(record.lanes);
  }
  return who + " " + verb(record.access) +
         (record.code == 0 ? "" : " (" + code_place(record.code) + ")");
}

std::string race_text(const Record& other, Access access, const Actor& actor) {
  const bool unfenced = is_copy(access) && ordered(other, actor);
  return (unfenced ? "without bulk_copy_fence behind what " : "race: not ordered with what ") +
         text_of(other);
}

}  // namespace

void begin_shadow(size_t first_block) {
  groups.push_back({launches, static_cast<uint32_t>(first_block), machine.configuration.stream});
  shared_records.clear();
  shared_stride = machine.blocks.size() > 1
                      ? static_cast<size_t>(machine.blocks[1].shared - machine.blocks[0].shared)
                      : (machine.configuration.shared_bytes + 1) / kSharedCell * kSharedCell;
  shared_cells.assign(machine.blocks.size() * shared_stride / kSharedCell, 0);
}

void begin_launch(const void* stream) {
  if (!watching) return;
  ++launches;
  const auto elsewhere = [stream](const Group& group) { return group.stream != stream; };
  if (stream == nullptr || std::none_of(groups.begin(), groups.end(), elsewhere)) forget_global();
}

void synchronize() {
  forget_global();
}

void host_writes(const void* address, size_t bytes, const void* stream) {
  if (!watching) return;
  begin_launch(stream);
  groups.push_back({launches, 0, stream});
  static const Clock nothing;
  note_global(reinterpret_cast<uintptr_t>(address), bytes, {0, 1, 0, &nothing}, Access::kWrite, 0);
}

void note_access(const void* address, size_t bytes, Access access, const void* code) {
  if (current == nullptr) return;
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  const size_t offset = at - reinterpret_cast<uintptr_t>(machine.blocks[0].shared);
  const Actor actor{current->order.actor, current->order.time, current->order.actor,
                    current->order.known.get()};
  const uint32_t place_of = code_offset(code);
  const Record* other;
  std::string where;
  if (offset < machine.blocks.size() * shared_stride) {
    const size_t block = offset / shared_stride, inner = offset % shared_stride;
    if (inner + bytes > shared_stride) return;
    other = note_shared(block, inner, bytes, actor, access, place_of);
  } else {
    if (of_emulator(address)) return;
    other = note_global(at, bytes, actor, access, place_of);
  }
  if (other == nullptr) return;
  leave_failed(position(*current) + ": " + verb(access) + " " + std::to_string(bytes) + " bytes (" +
               code_place(place_of) + "), " + race_text(*other, access, actor));
}

void note_read(const void* address, size_t bytes, Where where) {
  if (!watching) return;
  const ThreadOrder& order = current->order;
  const Actor actor{order.actor, order.time, order.actor, order.known.get()};
  const size_t offset =
      static_cast<size_t>(static_cast<const unsigned char*>(address) - machine.blocks[0].shared);
  const Record* other =
      note_shared(offset / shared_stride, offset % shared_stride, bytes, actor, Access::kRead, 0);
  if (other != nullptr) {
    fail("load_matrix_x4", where, race_text(*other, Access::kRead, actor));
  }
}

void note_copy(const CopyOrder& copy, const Block& block, const void* address, size_t bytes,
               Access access, const std::string& text) {
  if (!watching) return;
  const Actor actor{copy.actor, copy.time, ~0u, copy.known.get()};
  const size_t offset =
      static_cast<size_t>(static_cast<const unsigned char*>(address) - block.shared);
  const size_t index = static_cast<size_t>(&block - machine.blocks.data());
  if (const Record* other = note_shared(index, offset, bytes, actor, access, 0)) {
    fail_all(text + (access == Access::kCopyRead ? "reads its source " : "writes its target ") +
             race_text(*other, access, actor));
  }
}

}  // namespace planet::cuda::emulator
