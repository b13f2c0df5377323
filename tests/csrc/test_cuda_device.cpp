// Machines that cannot run the kernels are told why.
#include <cuda_runtime.h>

#include <string>

#include "cuda/device.h"
#include "emulator.h"
#include "harness.h"

namespace planet::tests {
namespace {

using cuda::emulator::Device;
using cuda::emulator::DeviceScope;

std::string count_error(const Device& device) {
  const DeviceScope scope(device);
  const char* error = nullptr;
  CHECK_EQUAL(cuda::device_count(&error), 0);
  return error != nullptr ? error : "";
}

}  // namespace

TEST("CUDA: visible devices are counted") {
  Device two = Device::sm_90();
  two.count = 2;
  const DeviceScope scope(two);
  const char* error = "left from before";
  CHECK_EQUAL(cuda::device_count(&error), 2);
  CHECK(error == nullptr);
  CHECK(cuda::device_refusal() == nullptr);
}

TEST("CUDA: a missing driver, an old driver and a missing GPU are told apart") {
  Device device = Device::sm_90();
  device.count = 0;
  CHECK_EQUAL(count_error(device),
              std::string("the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES set?)"));
  device.driver = 0;
  CHECK_EQUAL(count_error(device), std::string("no NVIDIA driver found"));
  device.driver = 12020;
  CHECK_EQUAL(count_error(device),
              std::string("the NVIDIA driver is too old: it supports CUDA 12.2, this build needs "
                          "CUDA 13.0 or newer; update the driver"));
}

TEST("CUDA: a GPU older than Ampere is refused with what it would need") {
  Device turing = Device::sm_80();
  turing.major = 7;
  turing.minor = 5;
  const DeviceScope scope(turing);
  CHECK_EQUAL(std::string(cuda::device_refusal()),
              std::string("this GPU is too old: the planner needs compute capability 8.0 (Ampere) "
                          "or newer"));
}

TEST("CUDA: a GPU that does not run the build's code is told what was built and what helps") {
  const auto refusal_of = [](cudaError_t error) {
    Device thor = Device::sm_100();
    thor.major = 11;
    thor.ptx_version = -error;
    const DeviceScope scope(thor);
    const char* refusal = cuda::device_refusal();
    return std::string(refusal == nullptr ? "" : refusal);
  };
  CHECK_EQUAL(refusal_of(cudaErrorNoKernelImageForDevice),
              std::string("the build (emulated) does not run on this GPU of compute capability "
                          "11.0: no kernel image is available for execution on the device; build "
                          "planet with PLANET_CUDA_ARCHS=110-real"));
  CHECK(refusal_of(cudaErrorUnsupportedPtxVersion).find("toolchain") != std::string::npos);
  for (const cudaError_t error : {cudaErrorInvalidDeviceFunction, cudaErrorInvalidPtx,
                                  cudaErrorJitCompilerNotFound, cudaErrorJitCompilationDisabled}) {
    CHECK(refusal_of(error).find("does not run on this GPU") != std::string::npos);
  }
  // What is no fact of the device is left to the call that meets it.
  CHECK_EQUAL(refusal_of(cudaErrorLaunchFailure), std::string());
}

TEST("CUDA: a device is asked once whether it runs the build's code") {
  const DeviceScope scope(Device::sm_90());
  const int before = cuda::emulator::asked().attributes;
  for (int i = 0; i < 3; ++i) CHECK(cuda::device_refusal() == nullptr);
  CHECK_EQUAL(cuda::emulator::asked().attributes - before, 1);
}

}  // namespace planet::tests
