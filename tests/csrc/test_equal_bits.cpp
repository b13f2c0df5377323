// Results that must not depend on how the work is cut: equal bit for bit.
#include <string>

#include "calls.h"
#include "harness.h"
#include "pools.h"
#include "random_filter.h"

namespace planet::tests {
namespace {

const Shape kShapes[] = {{19, 5, 3, 14, {7, 6, 2}, false}, {0, 4, 2, 13, {5, 1}, true, true}};

std::vector<int> worker_counts() {
  if (options().quick) return {2, 7};
  return {1, 2, 3, 7, 64};
}

int64_t many() {
  return options().quick ? 70 : 130;
}

// Every way to start and every kind of noise.
template <class Body>
void for_each_rollout(uint64_t seed, int64_t batch, int64_t candidates, Body body) {
  Random random(options().seed + seed);
  for (const Shape& shape : kShapes) {
    const RandomModel model(shape, random);
    for (const bool per_candidate : {false, true}) {
      for (const NoiseKind noise : {NoiseKind::kNone, NoiseKind::kValues, NoiseKind::kSeeds}) {
        const Rollout rollout(model.sizes, options().quick ? 2 : 3, batch, candidates, noise,
                              per_candidate, 0.95, random);
        for (const Kernels& kernels : all_kernels()) {
          const Scope scope(kernels.name(), ", ", shape.name(),
                            per_candidate ? ", start per candidate" : "", ", noise ",
                            static_cast<int>(noise));
          body(PackedModel(model, kernels).model, rollout);
        }
      }
    }
  }
}

// Columns [first, first + count) of [B, J].
std::vector<float> columns(const std::vector<float>& returns, int64_t batch, int64_t first,
                           int64_t count) {
  return middle(returns, batch, static_cast<int64_t>(returns.size()) / batch, 1, first, count);
}

}  // namespace

TEST("returns do not depend on the number of workers or their order, run after run") {
  for (const int64_t batch : {1, 3}) {
    for_each_rollout(10, batch, many(), [](const cpu::Model& model, const Rollout& rollout) {
      const std::vector<float> expected = run_rollout(model, rollout, serial(1));
      for (const int workers : worker_counts()) {
        const Scope scope("workers ", workers);
        CHECK(same_bits(run_rollout(model, rollout, serial(workers)), expected));
        if (workers > 7) continue;
        for (int run = 0; run < (options().quick ? 1 : 2); ++run) {
          CHECK(same_bits(run_rollout(model, rollout, threads(workers)), expected));
        }
      }
    });
  }
}

TEST("fewer candidates give the first columns of more") {
  for_each_rollout(11, 2, many(), [](const cpu::Model& model, const Rollout& rollout) {
    const std::vector<float> all = run_rollout(model, rollout, serial(1));
    for (int64_t count = 1; count <= rollout.candidates; count += options().quick ? 11 : 1) {
      const Scope scope("candidates ", count);
      const Rollout part = candidates_of(rollout, model.sizes, 0, count);
      CHECK(same_bits(run_rollout(model, part, serial(1 + static_cast<int>(count % 3))),
                      columns(all, rollout.batch, 0, count)));
    }
  });
}

TEST("a candidate's return does not depend on its place in the panel") {
  for_each_rollout(12, 1, many(), [](const cpu::Model& model, const Rollout& rollout) {
    if (rollout.noise == NoiseKind::kSeeds) return;  // its noise belongs to the index
    const std::vector<float> all = run_rollout(model, rollout, serial(1));
    for (const int64_t first : {1, 2, 3, 5, 16, 33, 64}) {
      const Scope scope("from candidate ", first);
      const int64_t count = rollout.candidates - first;
      const Rollout part = candidates_of(rollout, model.sizes, first, count);
      CHECK(same_bits(run_rollout(model, part, serial(1)), columns(all, 1, first, count)));
    }
  });
}

TEST("a problem alone equals its row of a batch") {
  for_each_rollout(13, 5, 21, [](const cpu::Model& model, const Rollout& rollout) {
    const std::vector<float> all = run_rollout(model, rollout, threads(2));
    for (int64_t b = 0; b < rollout.batch; ++b) {
      const Scope scope("problem ", b);
      const Rollout alone = problem_of(rollout, model.sizes, b);
      CHECK(same_bits(run_rollout(model, alone, serial(1)),
                      middle(all, 1, rollout.batch, rollout.candidates, b, 1)));
    }
  });
}

TEST("a start of its own per candidate equals the shared start") {
  for_each_rollout(14, 2, 37, [](const cpu::Model& model, const Rollout& rollout) {
    if (rollout.per_candidate) return;
    Rollout repeated = rollout;
    repeated.per_candidate = true;
    repeated.belief.clear();
    repeated.state.clear();
    const int64_t d = model.sizes.belief, s = model.sizes.state;
    for (int64_t i = 0; i < rollout.batch * rollout.candidates; ++i) {
      const int64_t b = i / rollout.candidates;
      const auto belief = rollout.belief.begin() + b * d, state = rollout.state.begin() + b * s;
      repeated.belief.insert(repeated.belief.end(), belief, belief + d);
      repeated.state.insert(repeated.state.end(), state, state + s);
    }
    CHECK(
        same_bits(run_rollout(model, repeated, serial(1)), run_rollout(model, rollout, serial(1))));
  });
}

TEST("an instruction set that has another's kernels gives its bits") {
  Random random(options().seed + 15);
  const RandomModel model(kShapes[0], random);
  const Rollout rollout(model.sizes, 4, 2, 77, NoiseKind::kSeeds, false, 1.0, random);
  for (const Kernels& kernels : all_kernels()) {
    const std::string name = cpu::isa_name(kernels.isa);
    for (cpu::Isa isa = kernels.isa + 1; isa < cpu::isa_count(); ++isa) {
      const char* used = cpu::kernels_name(isa, kernels.precision);
      if (used == nullptr || used != name || !cpu::isa_supported(isa)) continue;
      const Scope scope(kernels.name(), " in ", cpu::isa_name(isa));
      const PackedModel one(model, kernels), other(model, {isa, kernels.precision});
      CHECK(same_bits(run_rollout(one.model, rollout, serial(1)),
                      run_rollout(other.model, rollout, serial(1))));
    }
  }
}

// What `pack` writes into arrays of zeros and of ones is the same, to the last byte.
template <class Pack>
void check_written(int64_t bytes, Pack pack) {
  Fenced<unsigned char> zeros(bytes, 64), ones(bytes, 64);
  memset(zeros.data(), 0, static_cast<size_t>(bytes));
  pack(zeros.data());
  pack(ones.data());
  CHECK(zeros.equals(ones.values()));
}

TEST("packing writes every byte, whatever was there") {
  Random random(options().seed + 16);
  for (const Shape& shape : kShapes) {
    const RandomModel model(shape, random);
    for (const Kernels& kernels : all_kernels()) {
      const Scope scope(kernels.name(), ", ", shape.name());
      const int64_t bytes = cpu::packed_bytes(model.sizes, kernels.isa, kernels.precision);
      check_written(bytes, [&](void* packed) {
        cpu::pack(model.sizes, model.weights(), kernels.isa, kernels.precision, packed);
      });
    }
  }
  for (const FilterShape& shape : filter_shapes()) {
    const RandomModel model(shape.model, random);
    const RandomFilter filter(shape, random);
    for (const Kernels& kernels : kernels_of(Precision::kFloat32)) {
      const Scope scope(kernels.name(), ", ", shape.name());
      const int64_t bytes = cpu::filter_packed_bytes(model.sizes, filter.encoder, kernels.isa);
      check_written(bytes, [&](void* packed) {
        cpu::pack_filter(model.sizes, filter.encoder, model.weights(), filter.weights(),
                         kernels.isa, packed);
      });
    }
  }
}

}  // namespace planet::tests
