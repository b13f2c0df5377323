// Pools that lend threads to the core: what parallel.h allows, at its extremes.
#pragma once

#include <thread>
#include <vector>

#include "parallel.h"

namespace planet::tests {

// All workers on the calling thread, the last one first.
inline Parallel serial(int workers) {
  const auto run = [](void*, int count, void (*body)(void*, int), void* context) {
    for (int worker = count - 1; worker >= 0; --worker) body(context, worker);
  };
  return {workers, run, nullptr};
}

// A new thread for every worker of every call; the caller only waits.
inline Parallel threads(int workers) {
  const auto run = [](void*, int count, void (*body)(void*, int), void* context) {
    std::vector<std::thread> started;
    for (int worker = 0; worker < count; ++worker) started.emplace_back(body, context, worker);
    for (std::thread& thread : started) thread.join();
  };
  return {workers, run, nullptr};
}

}  // namespace planet::tests
