// How the core gets its threads: the caller lends them.
#pragma once

namespace planet {

// A pool of workers. `run` calls body(context, worker) once for every worker in [0, workers),
// possibly at the same time and from other threads, and returns when all calls have returned.
// Running all of them one after another on the calling thread is a valid pool. `body` does not
// throw. `pool` is handed to `run` as it is; all pointers must stay valid during the call.
struct Parallel {
  int workers;
  void (*run)(void* pool, int workers, void (*body)(void* context, int worker), void* context);
  void* pool;
};

}  // namespace planet
