// The kernels of AMX as they are compiled, on tiles or their emulator, against the same kernels
// with a portable double of the tile instructions.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "calls.h"
#include "cpu/schedule.h"
#include "harness.h"
#include "pools.h"
#include "tile_emulator.h"

namespace planet::cpu {
extern const KernelSet kernels_tile_twin;
}

namespace planet::tests {
namespace {

cpu::Isa amx() {
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    if (std::string(cpu::isa_name(isa)) == "amx") return isa;
  }
  return -1;
}

bool emulates(const TileInstructions& tiles) {
  return tiles.emulated() && __builtin_cpu_supports("avx512bf16");
}

// The tests of all kernels then have those of AMX among them.
const Setup emulate_tiles("--emulate-tiles", [] {
  static const TileInstructions tiles;
  if (emulates(tiles)) run_too(amx());
  std::printf(emulates(tiles) ? "AMX is emulated\n" : "AMX is not emulated\n");
});

// Runs the body with the kernels where they run, and sees that they are not careless with tiles.
void with_kernels(void (*body)(const Kernels& kernels, TileInstructions& tiles)) {
  TileInstructions tiles;
  if (!emulates(tiles) && !has_tiles()) return note("not run: neither AMX nor AVX512-BF16");
  note(tiles.emulated() ? "emulated" : "on the processor's tiles");
  body({amx(), Precision::kBfloat16}, tiles);
  CHECK_EQUAL(tiles.unwritten(), int64_t{0});
  CHECK_EQUAL(tiles.reconfigured(), int64_t{0});
  CHECK_EQUAL(tiles.split_rows(), int64_t{0});
}

// What a job's panels of one width give.
std::vector<float> run_panels(const cpu::KernelSet& set, cpu::RolloutJob job, int vectors) {
  Fenced<float> returns(job.batch * job.candidates);
  Fenced<float> scratch(set.scratch(job.sizes), 64);
  job.returns = returns.data();
  for (int64_t problem = 0; problem < job.batch; ++problem) {
    for (int64_t first = 0; first < job.candidates; first += vectors * set.lanes) {
      const int64_t left = (job.candidates - first + set.lanes - 1) / set.lanes;
      set.panel(job, problem, first, left < vectors ? static_cast<int>(left) : vectors,
                scratch.data());
      CHECK(!tiles_in_use());
    }
  }
  return returns.values();
}

cpu::RolloutJob job_of(const cpu::Model& model, const Rollout& r) {
  StateNoise noise{nullptr, nullptr, r.iteration, r.particle};
  if (r.noise == NoiseKind::kValues) noise.values = r.values.data();
  if (r.noise == NoiseKind::kSeeds) noise.seeds = r.seeds.data();
  cpu::RolloutJob job = cpu::make_job(model, {r.belief.data(), r.state.data(), r.per_candidate},
                                      r.horizon, r.batch, r.candidates, noise, r.discount, nullptr);
  job.actions = r.actions.data();
  return job;
}

std::vector<Shape> shapes() {
  std::vector<Shape> out = small_shapes();
  out.push_back({35, 31, 3, 47, {18, 33, 49, 1}, true});  // two blocks of each layer
  return out;
}

}  // namespace

TEST("AMX: rollouts are those of the tiles' double, bit for bit") {
  with_kernels([](const Kernels& kernels, TileInstructions&) {
    Random random(options().seed + 40);
    for (const Shape& shape : shapes()) {
      const RandomModel model(shape, random, 2.0);
      const PackedModel packed(model, kernels);
      for (const bool per_candidate : {false, true}) {
        for (const NoiseKind noise : {NoiseKind::kNone, NoiseKind::kValues, NoiseKind::kSeeds}) {
          const Scope scope(shape.name(), per_candidate ? ", start per candidate" : "", ", noise ",
                            static_cast<int>(noise));
          const Rollout rollout(model.sizes, 2, 2, 39, noise, per_candidate, 0.9, random);
          const cpu::RolloutJob job = job_of(packed.model, rollout);
          const std::vector<float> expected = run_panels(cpu::kernels_tile_twin, job, 2);
          for (const float x : expected) CHECK(std::isfinite(x));
          for (const int vectors : {1, 2}) {
            const Scope width("vectors ", vectors);
            CHECK(same_bits(run_panels(cpu::kernel_set(packed.model), job, vectors), expected));
          }
        }
      }
    }
  });
}

TEST("AMX: candidates that are not finite are those of the tiles' double") {
  with_kernels([](const Kernels& kernels, TileInstructions&) {
    Random random(options().seed + 41);
    for (const Shape& shape : {shapes()[1], shapes()[2]}) {
      const Scope scope(shape.name());
      const RandomModel model(shape, random);
      const PackedModel packed(model, kernels);
      Rollout rollout(model.sizes, 2, 1, 32, NoiseKind::kSeeds, true, 1.0, random);
      rollout.state[static_cast<size_t>(5 * shape.state)] = INFINITY;
      rollout.belief[static_cast<size_t>(17 * shape.belief)] = NAN;
      rollout.actions[static_cast<size_t>((32 + 30) * shape.action)] = 1e38f;
      const cpu::RolloutJob job = job_of(packed.model, rollout);
      const std::vector<float> expected = run_panels(cpu::kernels_tile_twin, job, 2);
      const std::vector<float> got = run_panels(cpu::kernel_set(packed.model), job, 2);
      for (size_t i = 0; i < got.size(); ++i) {
        const Scope candidate("candidate ", i);
        const bool bad = i == 5 || i == 17 || i == 30;
        CHECK_EQUAL(std::isnan(expected[i]), bad);
        CHECK_EQUAL(std::isnan(got[i]), bad);
        if (!bad) CHECK_EQUAL(got[i], expected[i]);
      }
    }
  });
}

namespace {

// Runs a pool's bodies and counts those that leave the thread's tiles configured.
struct Watch {
  Parallel pool;
  std::atomic<int> left_in_use{0};

  Parallel parallel() {
    return {pool.workers,
            [](void* watch, int count, void (*body)(void*, int), void* context) {
              static_cast<Watch*>(watch)->run(count, body, context);
            },
            this};
  }

 private:
  void run(int count, void (*body)(void*, int), void* context) {
    struct Call {
      Watch* watch;
      void (*body)(void*, int);
      void* context;
    } call{this, body, context};
    pool.run(
        pool.pool, count,
        [](void* c, int worker) {
          const Call& mine = *static_cast<Call*>(c);
          mine.body(mine.context, worker);
          if (tiles_in_use()) ++mine.watch->left_in_use;
        },
        &call);
  }
};

}  // namespace

TEST("AMX: workers of a plan give their tiles back, and its bits are those of one") {
  with_kernels([](const Kernels& kernels, TileInstructions&) {
    Random random(options().seed + 42);
    const Shape shape = shapes()[2];
    const PackedModel packed(RandomModel(shape, random), kernels);
    Plan plan(shape.sizes(), 2, 2, 70, 7, random);
    plan.iterations = 2;
    const PlanResult expected = run_plan(packed.model, plan, serial(1));
    for (const Parallel& pool : {serial(3), threads(2), threads(5)}) {
      Watch watch{pool};
      CHECK(run_plan(packed.model, plan, watch.parallel()) == expected);
      CHECK_EQUAL(watch.left_in_use.load(), 0);
    }
  });
}

TEST("AMX: a step of the paper's size takes the products that its layers need") {
  with_kernels([](const Kernels& kernels, TileInstructions& tiles) {
    if (!tiles.emulated()) return note("not counted");
    Random random(options().seed + 43);
    const Shape shape = preset_shapes()[0];
    const RandomModel model(shape, random);
    const PackedModel packed(model, kernels);
    const Rollout rollout(model.sizes, 1, 1, 32, NoiseKind::kSeeds, false, 1.0, random);
    run_rollout(packed.model, rollout, serial(1));
    // Blocks of 16 features times tiles of 32 inputs: input; r and z; n from x and from h; prior
    // hidden; mean and raw; rewards. Each for two groups of 16 candidates.
    const int64_t products = 13 * 2 + 26 * 13 + 13 * (7 + 7) + 13 * 7 + 2 * 2 * 7 + 13 * 8 + 13 * 7;
    CHECK_EQUAL(tiles.count(TileOp::kMultiply), 2 * products);
    CHECK_EQUAL(tiles.count(TileOp::kLoadOnce), products);  // every weight once
    CHECK_EQUAL(tiles.count(TileOp::kConfigure), int64_t{1});
    CHECK_EQUAL(tiles.count(TileOp::kRelease), int64_t{1});
  });
}

}  // namespace planet::tests
