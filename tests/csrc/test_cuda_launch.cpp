// Launches from several threads, and on several devices.
#include <string>
#include <thread>
#include <vector>

#include "cuda/launch.h"
#include "harness.h"

namespace planet::tests {
namespace {

using namespace planet::cuda;

constexpr size_t kLarge = 120 << 10, kSmall = 60 << 10;

// One per test: limits stay with their kernel.
template <int>
__global__ void nothing() {}

template <class... Parameters>
std::string said(const Launch& how, void (*kernel)(Parameters...)) {
  const char* error = launch(how, kernel);
  return error ? error : "nothing";
}

}  // namespace

TEST("CUDA: a kernel's shared memory is allowed once per device, whatever its launches take") {
  const int before = emulator::asked().shared_memory_limits;
  for (const size_t bytes : {kLarge, kSmall, kLarge}) {
    CHECK_EQUAL(said({1, 32, bytes, nullptr}, nothing<0>), std::string("nothing"));
    CHECK(emulator::shared_memory_limit(reinterpret_cast<const void*>(&nothing<0>)) >=
          static_cast<int>(kLarge));
  }
  CHECK_EQUAL(emulator::asked().shared_memory_limits - before, 1);
  const emulator::DeviceScope other(emulator::Device::sm_80());
  CHECK_EQUAL(said({1, 32, kLarge, nullptr}, nothing<0>), std::string("nothing"));
  CHECK_EQUAL(emulator::asked().shared_memory_limits - before, 2);
}

TEST("CUDA: threads launch a kernel with different amounts of shared memory") {
  const int before = emulator::asked().shared_memory_limits;
  std::vector<std::thread> threads;
  std::string first_error[2];
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([i, &first_error] {
      for (int round = 0; round < 200 && first_error[i].empty(); ++round) {
        const std::string text = said({1, 32, i == 0 ? kLarge : kSmall, nullptr}, nothing<1>);
        if (text != "nothing") first_error[i] = text;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : first_error) CHECK_EQUAL(error, std::string());
  CHECK_EQUAL(emulator::asked().shared_memory_limits - before, 1);
}

TEST("emulator refuses a launch with more shared memory than its kernel was allowed") {
  cudaLaunchConfig_t config{};
  config.gridDim = config.blockDim = dim3(1);
  config.dynamicSmemBytes = kSmall;
  CHECK_EQUAL(std::string(cudaGetErrorString(cudaLaunchKernelEx(&config, nothing<2>))),
              std::string("invalid argument: 61440 bytes of shared memory, the kernel may have "
                          "49152"));
}

}  // namespace planet::tests
