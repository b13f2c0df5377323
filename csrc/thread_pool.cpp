#include "thread_pool.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace planet::cpu {
namespace {

using Body = void (*)(void* context, int worker);

// Whether this thread is a worker at the moment, of any pool: then it must not wait for one.
thread_local bool working = false;

// Workers first, first + step, ... of a call.
void work(int first, int step, int workers, Body body, void* context) {
  working = true;
  for (int worker = first; worker < workers; worker += step) body(context, worker);
  working = false;
}

}  // namespace

struct ThreadPool::State {
  explicit State(int count) : threads(count) {
    try {
      for (int i = 1; i < threads; ++i) helpers.emplace_back([this, i] { serve(i); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~State() { stop(); }

  void stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
    }
    wake.notify_all();
    for (std::thread& helper : helpers) helper.join();
  }

  void serve(int index) {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stopping || call != seen; });
      if (stopping) return;
      seen = call;
      if (index >= workers) continue;
      const int count = workers;
      const Body run_body = body;
      void* const run_context = context;
      lock.unlock();
      work(index, threads, count, run_body, run_context);
      lock.lock();
      if (--busy == 0) done.notify_one();
    }
  }

  void run(int count, Body new_body, void* new_context) {
    const std::lock_guard<std::mutex> one_call_at_a_time(turn);
    {
      const std::lock_guard<std::mutex> lock(mutex);
      workers = count;
      body = new_body;
      context = new_context;
      busy = std::min(count, threads) - 1;
      ++call;
    }
    wake.notify_all();
    work(0, threads, count, new_body, new_context);
    std::unique_lock<std::mutex> lock(mutex);
    done.wait(lock, [&] { return busy == 0; });
  }

  const int threads;
  std::vector<std::thread> helpers;
  std::mutex turn;   // held during a call
  std::mutex mutex;  // guards everything below
  std::condition_variable wake, done;
  uint64_t call = 0;  // how many calls there were
  int workers = 0, busy = 0;
  Body body = nullptr;
  void* context = nullptr;
  bool stopping = false;
};

ThreadPool::ThreadPool(int threads) : state_(new State(threads)) {}

ThreadPool::~ThreadPool() = default;

Parallel ThreadPool::parallel() {
  const auto run = [](void* pool, int workers, Body body, void* context) {
    State& state = *static_cast<State*>(pool);
    if (workers > 1 && state.threads > 1 && !working) {
      state.run(workers, body, context);
    } else {
      for (int worker = 0; worker < workers; ++worker) body(context, worker);
    }
  };
  return {state_->threads, run, state_.get()};
}

}  // namespace planet::cpu
