#include "faults.h"

#include "machine.h"
#include "sanitizers.h"

namespace planet::cuda::emulator {

#if PLANET_ASAN

FaultScope::FaultScope() = default;
FaultScope::~FaultScope() = default;

#else
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS};
alignas(16) unsigned char signal_stack[64 << 10];  // a thread's own may be full

// Leaves for the host's context, never to return: the signal is not blocked (SA_NODEFER), and what
// the kernel was doing is given up.
void on_fault(int number, siginfo_t* info, void*) {
  if (current == nullptr) {  // not a kernel's
    signal(number, SIG_DFL);
    raise(number);
    return;
  }
  machine.failure = position(*current) + ": " + describe_address(info->si_addr);
  switch_context(current->context, machine.host);
}

}  // namespace

FaultScope::FaultScope() {
  stack_t stack = {};
  stack.ss_sp = signal_stack;
  stack.ss_size = sizeof signal_stack;
  sigaltstack(&stack, &stack_before_);
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (int i = 0; i < 2; ++i) sigaction(kSignals[i], &action, &before_[i]);
}

FaultScope::~FaultScope() {
  for (int i = 0; i < 2; ++i) sigaction(kSignals[i], &before_[i], nullptr);
  sigaltstack(&stack_before_, nullptr);
}

#endif

}  // namespace planet::cuda::emulator
