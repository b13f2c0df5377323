// The filter of a chunk and its gradients: memory and threads; tests/ops/test_filter.py has the
// numbers.
#include "filter.h"

#include <memory>
#include <vector>

#include "harness.h"
#include "memory.h"
#include "pools.h"
#include "random_model.h"

namespace planet::tests {
namespace {

// The arrays of FilterParameters, given or written.
struct Parameters {
  std::vector<int64_t> counts;
  std::vector<std::unique_ptr<Fenced<float>>> arrays;

  explicit Parameters(const FilterSizes& sizes) {
    const int64_t d = sizes.belief, s = sizes.state, m = sizes.hidden;
    counts = {
        m * (s + sizes.action), m, 3 * d * m, 3 * d * d, 3 * d, 3 * d, m * d, 2 * s * m, 2 * s};
    for (const int64_t count : counts) arrays.push_back(std::make_unique<Fenced<float>>(count));
  }
  Parameters(const FilterSizes& sizes, Random& random) : Parameters(sizes) {
    for (size_t i = 0; i < counts.size(); ++i) {
      arrays[i] = std::make_unique<Fenced<float>>(random.uniforms(counts[i], -0.5, 0.5));
    }
  }

  template <class T>
  FilterParameters<T> pointers() {
    const auto at = [this](int i) { return arrays[i]->data(); };
    return {at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8)};
  }
};

// What filter_chunk and filter_chunk_backward write, one after another.
std::vector<float> run(cpu::Isa isa, const FilterSizes& sizes, const Parallel& pool) {
  Random random(options().seed + 90);
  Parameters parameters(sizes, random), gradients(sizes);
  const int64_t rows = sizes.steps * sizes.batch;
  const auto given = [&](int64_t features) { return random.uniforms(rows * features, -1.0, 1.0); };
  const int64_t d = sizes.belief, s = sizes.state, m = sizes.hidden;
  Fenced<float> share(given(m)), action(given(sizes.action)), noise(given(s));
  Fenced<float> belief(rows * d), state(rows * s), mean(rows * s), stddev(rows * s);
  Fenced<float> kept(cpu::filter_kept(isa, sizes)), space(cpu::filter_workspace(isa, sizes));
  const auto model = parameters.pointers<const float>();
  cpu::filter_chunk(isa, sizes, 0.1f, model, share.data(), action.data(), noise.data(),
                    {belief.data(), state.data(), mean.data(), stddev.data()}, kept.data(),
                    space.data(), pool);

  Fenced<float> of_belief(given(d)), of_mean(given(s)), of_share(rows * m);
  Fenced<float> more(cpu::filter_backward_workspace(isa, sizes, pool.workers));
  cpu::filter_chunk_backward(isa, sizes, model, noise.data(), kept.data(),
                             {of_belief.data(), nullptr, of_mean.data(), nullptr}, of_share.data(),
                             gradients.pointers<float>(), more.data(), pool);
  std::vector<float> written;
  const auto append = [&](const Fenced<float>& array) {
    for (const float value : array.values()) written.push_back(value);
  };
  for (const auto* array : {&belief, &state, &mean, &stddev, &of_share}) append(*array);
  for (const auto& array : gradients.arrays) append(*array);
  return written;
}

}  // namespace

TEST("a filter keeps to its arrays, writes all results and gives all workers the same bits") {
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    if (!cpu::isa_supported(isa)) continue;
    for (const FilterSizes& sizes :
         {FilterSizes{1, 1, 1, 1, 1, 1, true}, FilterSizes{3, 11, 16, 5, 3, 20, false},
          FilterSizes{4, 37, 33, 17, 2, 65, true}}) {
      const Scope scope(cpu::isa_name(isa), " B=", sizes.batch);
      const std::vector<float> alone = run(isa, sizes, serial(1));
      bool finite = true;
      for (const float value : alone) finite = finite && value - value == 0.0f;
      CHECK(finite);  // arrays start as NaN
      CHECK(same_bits(run(isa, sizes, serial(3)), alone));
      CHECK(same_bits(run(isa, sizes, threads(3)), alone));
    }
  }
}

}  // namespace planet::tests
