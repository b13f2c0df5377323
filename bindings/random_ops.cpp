// Counter-based random numbers as tables (contract: csrc/philox.h).
#include "arguments.h"
#include "cpu_support.h"
#include "library.h"
#include "normals.h"

namespace planet {
namespace {

NormalsCounter check_counter(const Tensor& seeds, int64_t candidates, int64_t dims, int64_t stream,
                             int64_t time, int64_t iteration, int64_t particle) {
  check_dims(seeds, "seeds", 1, "[B]");
  check_range("candidates", candidates, 1, kMaxCount);
  check_range("dims", dims, 1, kMaxSize);
  check_range("stream", stream, 0, 65535);
  check_range("time", time, 0, kMaxHorizon);
  check_range("iteration", iteration, 0, kMaxIteration);
  check_range("particle", particle, 0, kMaxParticle);
  return {static_cast<uint32_t>(stream), static_cast<uint32_t>(time),
          static_cast<uint32_t>(iteration), static_cast<uint32_t>(particle)};
}

Tensor normals(Tensor seeds, int64_t candidates, int64_t dims, int64_t stream, int64_t time,
               int64_t iteration, int64_t particle, int64_t kernel) {
  const NormalsCounter counter =
      check_counter(seeds, candidates, dims, stream, time, iteration, particle);
  const int64_t batch = seeds.size(0);
  const int64_t* seed = integers(seeds, "seeds", {batch}, Place());
  const cpu::Isa isa = check_isa(kernel);
  Tensor out = new_floats(seeds, {batch, candidates, dims});
  for (int64_t b = 0; b < batch; ++b) {
    cpu::normals(isa, seed[b], counter, candidates, static_cast<int>(dims),
                 out.mutable_data_ptr<float>() + b * candidates * dims);
  }
  return out;
}

}  // namespace
}  // namespace planet

PLANET_SCHEMA(m) {
  m.def(
      "normals(Tensor seeds, int candidates, int dims, int stream, int time, int iteration, "
      "int particle, int kernel) -> Tensor");
}

PLANET_CPU(m) {
  m.impl("normals", TORCH_BOX(&planet::normals));
}
