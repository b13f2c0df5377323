// Runs CUDA kernels on the CPU, so that they can be tested where there is no GPU.
//
// Put emulator/ on the include path before everything else and compile the *.cu of csrc/cuda as
// C++20 (target planet_cuda_emulated): <cuda_runtime.h> is then ours. launch() of
// csrc/cuda/launch.h runs the kernel to its end and returns null, or the text of what went wrong.
// Pointers are ordinary memory; give kernels arrays beside pages without access
// (tests/csrc/memory.h).
//
// Every CUDA thread is a fiber. Blocks run one after another; the blocks of a cluster and those of
// a cooperative launch run at the same time. What is checked, and fails the launch with the block,
// warp, lane and place in the source: lanes that do not come to a warp's call, or come to another
// one; threads that leave while others wait for them; deadlocks; misaligned or outlying addresses
// of matrix loads, bulk copies and streaming loads; barriers and byte counts of bulk copies. Shared
// memory holds 0xFF (NaN, -1) before each block and ends at a page without access.
//
//   JitterScope jitter(seed);             random order of threads, random delays of bulk copies
//   DeviceScope small(Device::sm_120());  what the runtime says of the device, and its limits
//   last_launch().multiply_accumulates    counts
//
// Kernels that are compiled with instrumentation (target planet_cuda_watched) also fail where two
// accesses are not ordered by what orders them on a device: __syncthreads, __syncwarp, cluster and
// bulk copy barriers, release and acquire, launches on one stream. Warp calls such as mma, ldmatrix
// and shuffles order nothing, and a bulk copy comes behind what its issuer knows, and behind
// ordinary writes only with a fence.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <map>
#include <source_location>
#include <string>

#include "vector_types.h"

namespace planet::cuda::emulator {

// The device as the runtime describes it.
struct Device {
  int major, minor;
  int multiprocessors;
  int shared_per_block;  // at most, opt-in
  int shared_per_multiprocessor;
  // The sums of the matrix units: how many products are added at once, and the bits kept below the
  // largest one's 24 (see matrix_unit.h).
  int products_at_once, extra_bits;
  // How far half precision's special functions are off, in units of the most that they may be; up
  // or down by a hash of the argument.
  double function_error = 1.0;
  int active_clusters = 0;  // cudaOccupancyMaxActiveClusters; 0: multiprocessors / cluster
  int count = 1;            // devices
  int driver = 13000;       // 0: none
  int ptx_version = 0;      // the kernels' there; 0: the device's own; below: minus an error
  int number = 0;           // cudaGetDevice; a DeviceScope's is another device than all others

  static Device sm_80() { return {8, 0, 108, 166912, 167936, 8, 1}; }     // A100
  static Device sm_90() { return {9, 0, 132, 232448, 233472, 16, 2}; }    // H200
  static Device sm_100() { return {10, 0, 148, 232448, 233472, 16, 2}; }  // B200
  static Device sm_120() { return {12, 0, 170, 101376, 102400, 16, 2}; }  // RTX 5090
};

struct Counters {
  int64_t blocks;
  int64_t multiply_accumulates;   // of warps
  int64_t load_matrix_conflicts;  // extra passes over the banks
  int64_t streamed_bytes;         // by load_streaming, all lanes
  int64_t bulk_bytes;             // by copy_to_peer
};

// Calls of the runtime so far, for tests of what is asked once.
struct Asked {
  int shared_memory_limits;  // cudaFuncSetAttribute
  int attributes;            // cudaFuncGetAttributes
  int occupancies;           // cudaOccupancyMaxActiveClusters
};

Device& device();         // sm_90() at first
uint64_t& jitter_seed();  // 0: threads take turns in order
const Counters& last_launch();
Asked asked();

// The host waits for all streams.
void synchronize();

class DeviceScope {
 public:
  explicit DeviceScope(const Device& chosen) : before_(device()) {
    static int numbers = 0;
    device() = chosen;
    device().number = ++numbers;
  }
  ~DeviceScope() { device() = before_; }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device before_;
};

class JitterScope {
 public:
  explicit JitterScope(uint64_t seed) : before_(jitter_seed()) { jitter_seed() = seed; }
  ~JitterScope() { jitter_seed() = before_; }
  JitterScope(const JitterScope&) = delete;
  JitterScope& operator=(const JitterScope&) = delete;

 private:
  uint64_t before_;
};

// Where instrumented kernels have called what orders threads (barriers, fences, releases and
// acquires), by "file:line call in function".
using Calls = std::map<std::string, std::source_location>;
Calls take_ordering_calls();  // since the last time

// Leaves such a call out, as if it were not in the source; a release or acquire still counts.
class WithoutCall {
 public:
  explicit WithoutCall(const std::source_location& where);
  ~WithoutCall();
  WithoutCall(const WithoutCall&) = delete;
  WithoutCall& operator=(const WithoutCall&) = delete;
};

struct Configuration {
  dim3 grid, block;
  size_t shared_bytes;
  const void* stream;
  int cluster;
  bool cooperative;
};

// Runs body(kernel) once per thread.
const char* run(const Configuration& configuration, void (*body)(const void*), const void* kernel);

// Runs kernel() once per thread. Returns null, or what went wrong (a string that lives for ever).
template <class Kernel>
const char* launch(dim3 grid, dim3 block, size_t shared_bytes, const void* stream, int cluster,
                   bool cooperative, const Kernel& kernel) {
  return run(
      {grid, block, shared_bytes, stream, cluster, cooperative},
      [](const void* body) { (*static_cast<const Kernel*>(body))(); }, &kernel);
}

}  // namespace planet::cuda::emulator
