// Accesses to pages without access become failures of the launch.
#pragma once

#include <signal.h>

namespace planet::cuda::emulator {

// While it lives, signals of bad accesses by kernels end the launch; `describe` says what lies at
// an address. Under the address sanitizer it does nothing: that tells more.
class FaultScope {
 public:
  FaultScope();
  ~FaultScope();
  FaultScope(const FaultScope&) = delete;
  FaultScope& operator=(const FaultScope&) = delete;

 private:
  struct sigaction before_[2];
  stack_t stack_before_;
};

}  // namespace planet::cuda::emulator
