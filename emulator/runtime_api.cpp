// What the runtime keeps for kernels, per device.
#include "runtime_api.h"

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace planet::cuda::emulator {
namespace {

constexpr int kAlwaysAllowed = 48 * 1024;

std::mutex lock;
std::map<std::pair<int, const void*>, int> limits;
Asked calls{};

}  // namespace

int shared_memory_limit(const void* kernel) {
  const std::lock_guard guard(lock);
  const auto found = limits.find({device().number, kernel});
  return found == limits.end() ? kAlwaysAllowed : found->second;
}

void set_shared_memory_limit(const void* kernel, int bytes) {
  const std::lock_guard guard(lock);
  ++calls.shared_memory_limits;
  limits[{device().number, kernel}] = bytes;
}

const char* too_much_shared_memory(size_t bytes, int limit) {
  static std::set<std::string> texts;
  const std::lock_guard guard(lock);
  const std::string text = "invalid argument: " + std::to_string(bytes) +
                           " bytes of shared memory, the kernel may have " + std::to_string(limit);
  return texts.insert(text).first->c_str();
}

void count(int Asked::* call) {
  const std::lock_guard guard(lock);
  ++(calls.*call);
}

Asked asked() {
  const std::lock_guard guard(lock);
  return calls;
}

}  // namespace planet::cuda::emulator
