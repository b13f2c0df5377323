// Launches: limits, blocks in order, shared memory.
#include "emulator.h"

#include <string.h>

#include <bit>
#include <mutex>
#include <set>
#include <utility>

#include "faults.h"
#include "machine.h"

namespace planet::cuda::emulator {

Machine machine;
Thread* current = nullptr;

namespace {

Device chosen_device = Device::sm_90();
uint64_t chosen_seed = 0;
Calls calls;
std::set<const void*> seen;  // places of calls
const Where* without = nullptr;

// Texts that live for ever.
const char* kept(const std::string& text) {
  static std::set<std::string> texts;
  return texts.insert(text).first->c_str();
}

// Says what a device would refuse; empty if nothing.
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

}  // namespace

Device& device() {
  return chosen_device;
}

uint64_t& jitter_seed() {
  return chosen_seed;
}

Calls take_ordering_calls() {
  seen.clear();
  return std::exchange(calls, {});
}

WithoutCall::WithoutCall(const Where& where) {
  without = &where;
}

WithoutCall::~WithoutCall() {
  without = nullptr;
}

// "run" of "void planet::cuda::WeightStreams<kDepth>::run(int) [with ...]"
static std::string function_of(Where where) {
  const std::string name = where.function_name();
  const std::string head = name.substr(0, name.find('('));
  return head.substr(head.find_last_of(": ") + 1);
}

bool left_out(const char* call, Where where) {
  if (!watching && without == nullptr) return false;
  const auto is = [where](Where other) {
    return where.line() == other.line() && where.column() == other.column() &&
           strcmp(where.file_name(), other.file_name()) == 0;
  };
  if (without != nullptr && is(*without)) return true;
  if (seen.insert(std::bit_cast<const void*>(where)).second) {
    calls.emplace(place(where) + " " + call + " in " + function_of(where), where);
  }
  return false;
}

const Counters& last_launch() {
  return machine.counters;
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
  begin_launch(configuration.stream);
  const FaultScope faults;
  const size_t blocks = volume(configuration.grid);
  const size_t together =
      configuration.cooperative ? blocks : static_cast<size_t>(configuration.cluster);
  for (size_t first = 0; first < blocks && machine.failure.empty(); first += together) {
    run_blocks(first, together);
  }
  return machine.failure.empty() ? nullptr : kept(machine.failure);
}

}  // namespace planet::cuda::emulator
