// Camera images as network inputs.
#include "images.h"

#include <optional>

#include "arguments.h"
#include "cpu_support.h"
#include "cuda_support.h"
#include "library.h"

namespace planet {
namespace {

constexpr int64_t kMaxSide = 16384;  // so that an image's values are counted in 31 bits

ImagesProblem make_problem(const Tensor& observation, const Tensor& seeds, int64_t bit_depth,
                           Tensor& out) {
  check_dims(observation, "observation", 5, "[T, B, h, w, 3]");
  const Place place(observation);
  const int64_t t = observation.size(0), b = observation.size(1);
  const int64_t h = observation.size(2), w = observation.size(3), channels = observation.size(4);
  check_range("observation (T)", t, 1, kMaxHorizon + 1);
  check_range("observation (h)", h, 1, kMaxSide);
  check_range("observation (w)", w, 1, kMaxSide);
  check_range("observation (channels)", channels, 3, 3);
  check_range("bit_depth", bit_depth, 1, 8);
  ImagesProblem problem{};
  problem.steps = t;
  problem.batch = b;
  problem.values = h * w * channels;
  problem.bit_depth = static_cast<int>(bit_depth);
  problem.observation =
      static_cast<const uint8_t*>(data_of(observation, "observation", ScalarType::Byte, place));
  problem.seeds = integers(seeds, "seeds", {b}, place);
  out = new_floats(observation, {t, b, h, w, channels});
  problem.out = out.mutable_data_ptr<float>();
  return problem;
}

#ifdef PLANET_WITH_CPU
Tensor images(Tensor observation, Tensor seeds, int64_t bit_depth, std::optional<int64_t> isa) {
  Tensor out;
  const ImagesProblem problem = make_problem(observation, seeds, bit_depth, out);
  cpu::images(check_isa(isa), problem, torch_threads());
  return out;
}
#endif

#ifdef PLANET_WITH_CUDA
Tensor images_cuda(Tensor observation, Tensor seeds, int64_t bit_depth,
                   std::optional<int64_t> isa) {
  check_no_isa(isa);
  const CudaStream stream{Place(observation)};
  Tensor out;
  const ImagesProblem problem = make_problem(observation, seeds, bit_depth, out);
  check_enqueued("images", cuda::images(problem, stream.get()));
  return out;
}
#endif

}  // namespace
}  // namespace planet

PLANET_OP(images, "(Tensor observation, Tensor seeds, int bit_depth, int? isa) -> Tensor")
