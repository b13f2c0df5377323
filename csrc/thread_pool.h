// Threads for programs that have no pool of their own to lend to the planner.
#pragma once

#include <memory>

#include "parallel.h"

namespace planet::cpu {

// `threads` - 1 threads that sleep until there is work; the thread that calls is a worker too. They
// have the priority and the cores of the thread that makes the pool. Work is handed out without
// allocating memory.
//
// Any thread may use the pool: calls from several threads take turns. A call from within the pool's
// own work (nested) runs all its workers on the calling thread. The pool must outlive every call;
// its destructor waits for its threads, which are idle by then. A child process made by fork() has
// none of the threads and must not use the pool.
class ThreadPool {
 public:
  // threads >= 1. Throws std::system_error if the system refuses a thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The argument of the planner's functions; valid as long as the pool.
  Parallel parallel();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace planet::cpu
