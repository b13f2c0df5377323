// The pool of threads for C++ programs.
#include <atomic>
#include <set>
#include <thread>

#include "calls.h"
#include "harness.h"
#include "thread_pool.h"

namespace planet::tests {
namespace {

// Counts the calls of each worker, and whether two calls of one worker overlap.
struct Calls {
  static constexpr int kMost = 64;
  std::atomic<int> of_worker[kMost] = {};
  std::atomic<int> wrong{0};

  static void body(void* context, int worker) {
    Calls& calls = *static_cast<Calls*>(context);
    if (worker < 0 || worker >= kMost) {
      ++calls.wrong;
    } else {
      ++calls.of_worker[worker];
    }
  }

  void check(int workers, int runs) const {
    CHECK_EQUAL(wrong.load(), 0);
    for (int worker = 0; worker < kMost; ++worker) {
      CHECK_EQUAL(of_worker[worker].load(), worker < workers ? runs : 0);
    }
  }
};

void run(const Parallel& parallel, int workers, Calls& calls) {
  parallel.run(parallel.pool, workers, Calls::body, &calls);
}

int many() {
  return options().quick ? 200 : 3000;
}

}  // namespace

TEST("a pool calls every worker once, as many as are asked for") {
  for (const int threads : {1, 2, 3, 8}) {
    cpu::ThreadPool pool(threads);
    CHECK_EQUAL(pool.parallel().workers, threads);
    for (const int workers : {1, 2, 3, 7, 8, 40}) {
      const Scope scope("threads ", threads, ", workers ", workers);
      Calls calls;
      for (int i = 0; i < many() / 10; ++i) run(pool.parallel(), workers, calls);
      calls.check(workers, many() / 10);
    }
  }
}

TEST("the work of a call is seen by the caller when it returns") {
  cpu::ThreadPool pool(4);
  const Parallel parallel = pool.parallel();
  int values[4] = {};  // not atomic: the pool orders the accesses
  for (int i = 1; i <= many(); ++i) {
    parallel.run(
        parallel.pool, 4, [](void* context, int worker) { ++static_cast<int*>(context)[worker]; },
        values);
    for (const int value : values) {
      if (value != i) CHECK_EQUAL(value, i);
    }
  }
}

TEST("several threads may use one pool, and one thread several pools") {
  cpu::ThreadPool shared(3), other(2);
  Calls of_shared, of_other;
  std::vector<std::thread> callers;
  const int runs = many() / 10;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < runs; ++i) {
        run(shared.parallel(), 3, of_shared);
        run(other.parallel(), 2, of_other);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  of_shared.check(3, 4 * runs);
  of_other.check(2, 4 * runs);
}

TEST("a call from within the pool's work runs on the thread that makes it") {
  struct Nested {
    Parallel parallel;
    Calls inner;
  };
  cpu::ThreadPool pool(3);
  Nested nested{pool.parallel(), {}};
  nested.parallel.run(
      nested.parallel.pool, 3,
      [](void* context, int) {
        Nested& n = *static_cast<Nested*>(context);
        run(n.parallel, 5, n.inner);
      },
      &nested);
  nested.inner.check(5, 3);
}

TEST("pools come and go, used or not") {
  for (int i = 0; i < (options().quick ? 20 : 200); ++i) {
    cpu::ThreadPool pool(1 + i % 5);
    if (i % 3 == 0) continue;
    Calls calls;
    run(pool.parallel(), 4, calls);
    calls.check(4, 1);
  }
}

TEST("plans on a pool equal plans on one thread, from several threads at the same time") {
  Random random(options().seed + 60);
  const Shape shape{15, 4, 3, 12, {9, 1}, false};
  const RandomModel source(shape, random);
  const PackedModel packed(source, {cpu::best_isa(nullptr), Precision::kFloat32});
  const Plan plan(packed.model.sizes, 4, 3, 130, 13, random);
  cpu::ThreadPool one(1), pool(3);
  const PlanResult expected = run_plan(packed.model, plan, one.parallel());
  std::atomic<int> different{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < (options().quick ? 3 : 20); ++i) {
        if (!(run_plan(packed.model, plan, pool.parallel()) == expected)) ++different;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQUAL(different.load(), 0);
}

}  // namespace planet::tests
