// Counter-based normals as tables (contract: csrc/philox.h).
#include <optional>

#include "arguments.h"
#include "cpu_support.h"
#include "cuda_support.h"
#include "library.h"
#include "normals.h"

namespace planet {
namespace {

NormalsCounter check_counter(const Tensor& seeds, int64_t candidates, int64_t dims,
                             int64_t most_dims, int64_t stream, int64_t time, int64_t iteration,
                             int64_t particle) {
  check_dims(seeds, "seeds", 1, "[B]");
  check_range("candidates", candidates, 1, kMaxCount);
  check_range("dims", dims, 1, most_dims);
  check_range("stream", stream, 0, 65535);
  check_range("time", time, 0, kMaxHorizon);
  check_range("iteration", iteration, 0, kMaxIteration);
  check_range("particle", particle, 0, kMaxParticle);
  return {static_cast<uint32_t>(stream), static_cast<uint32_t>(time),
          static_cast<uint32_t>(iteration), static_cast<uint32_t>(particle)};
}

#ifdef PLANET_WITH_CPU
Tensor normals(Tensor seeds, int64_t candidates, int64_t dims, int64_t stream, int64_t time,
               int64_t iteration, int64_t particle, std::optional<int64_t> isa_index) {
  const NormalsCounter counter =
      check_counter(seeds, candidates, dims, kMaxSize, stream, time, iteration, particle);
  const int64_t batch = seeds.size(0);
  const int64_t* seed = integers(seeds, "seeds", {batch}, Place());
  const cpu::Isa isa = check_isa(isa_index);
  Tensor out = new_floats(seeds, {batch, candidates, dims});
  for (int64_t b = 0; b < batch; ++b) {
    cpu::normals(isa, seed[b], counter, candidates, static_cast<int>(dims),
                 out.mutable_data_ptr<float>() + b * candidates * dims);
  }
  return out;
}
#endif

#ifdef PLANET_WITH_CUDA
constexpr int64_t kMaxDims = 65536;  // they share a word with the stream

Tensor normals_cuda(Tensor seeds, int64_t candidates, int64_t dims, int64_t stream_number,
                    int64_t time, int64_t iteration, int64_t particle, std::optional<int64_t> isa) {
  check_no_isa(isa);
  const NormalsCounter counter =
      check_counter(seeds, candidates, dims, kMaxDims, stream_number, time, iteration, particle);
  const Place place(seeds);
  const CudaStream stream(place);
  const int64_t batch = seeds.size(0);
  const int64_t* seed = integers(seeds, "seeds", {batch}, place);
  Tensor out = new_floats(seeds, {batch, candidates, dims});
  check_enqueued("normals", cuda::normals(seed, batch, counter, candidates, dims,
                                          out.mutable_data_ptr<float>(), stream.get()));
  return out;
}
#endif

}  // namespace
}  // namespace planet

PLANET_OP(normals,
          "(Tensor seeds, int candidates, int dims, int stream, int time, int iteration, int "
          "particle, int? isa) -> Tensor")
