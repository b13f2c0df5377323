// What a processor and its operating system say of bf16 and tiles, and the permission to use tiles.
#if defined(__x86_64__)
#include "cpu/processor.h"

#include <errno.h>
#if defined(__linux__)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#endif

#include <cstring>
#include <string>

#include "harness.h"

namespace planet::tests {
namespace {

// A processor with everything, and the permission.
cpu::Processor with_amx() {
  cpu::Processor out{{}, 1u << 22 | 1u << 24, 1u << 5, 0x602e7, 0};
  std::memcpy(out.vendor, "GenuineIntel", 12);
  return out;
}

std::string reason(const char* refusal) {
  return refusal != nullptr ? refusal : "none";
}

}  // namespace

TEST("a processor with AMX and the permission is not refused") {
  cpu::Processor processor = with_amx();
  CHECK_EQUAL(reason(cpu::bf16_refusal(processor)), "none");
  for (const int permission : {0, cpu::kNotAsked}) {
    processor.permission = permission;
    CHECK_EQUAL(reason(cpu::amx_refusal(processor)), "none");
  }
}

TEST("what the processor lacks is named") {
  cpu::Processor processor = with_amx();
  processor.leaf7_1eax = ~(1u << 5);
  CHECK_EQUAL(reason(cpu::bf16_refusal(processor)), "the processor has no AVX512-BF16");
  CHECK_EQUAL(reason(cpu::amx_refusal(processor)), "none");  // it has bf16 of its own
  processor.leaf7_edx = ~(1u << 22);
  CHECK_EQUAL(reason(cpu::amx_refusal(processor)), "the processor's AMX has no bf16");
  processor.leaf7_edx = ~(1u << 24);
  CHECK_EQUAL(reason(cpu::amx_refusal(processor)), "the processor has no AMX");
  CHECK_EQUAL(reason(cpu::amx_refusal({})), "the processor has no AMX");
  CHECK_EQUAL(reason(cpu::bf16_refusal({})), "the processor has no AVX512-BF16");
}

TEST("tiles that the operating system does not save are refused") {
  cpu::Processor processor = with_amx();
  for (const uint64_t saved : {0x0ull, 0xe7ull, 0x202e7ull, 0x402e7ull, ~0x60000ull}) {
    processor.saved = saved;
    CHECK_EQUAL(reason(cpu::amx_refusal(processor)),
                "the operating system or the hypervisor does not save AMX's tiles");
  }
}

TEST("each refusal of the permission has its reason") {
  const std::string kernel =
      "the kernel grants no permission to use AMX's tiles (Linux has since 5.16)";
  const std::string sandbox = "a sandbox refuses the permission to use AMX's tiles (arch_prctl)";
  const struct {
    int permission;
    std::string expected;
  } cases[] = {
      {ENOSYS, kernel},
      {EINVAL, kernel},
      {EPERM, sandbox},
      {EACCES, sandbox},
      {ENOSPC, "the signal stack of a thread (sigaltstack) is too small for AMX's tiles"},
      {EOPNOTSUPP, "the kernel refuses the permission to use AMX's tiles (arch_prctl)"},
      {cpu::kNotLinux, "AMX's tiles are used on Linux alone"},
  };
  for (const auto& [permission, expected] : cases) {
    cpu::Processor processor = with_amx();
    processor.permission = permission;
    CHECK_EQUAL(reason(cpu::amx_refusal(processor)), expected);
    processor.leaf7_edx = 0;  // weighs more
    CHECK_EQUAL(reason(cpu::amx_refusal(processor)), "the processor has no AMX");
  }
}

TEST("bf16 is fast on AMD's processors and their kin alone") {
  cpu::Processor processor{};
  for (const char* vendor : {"AuthenticAMD", "HygonGenuine"}) {
    std::memcpy(processor.vendor, vendor, 12);
    CHECK(cpu::bf16_is_fast(processor));
  }
  for (const char* vendor : {"GenuineIntel", "CentaurHauls", "AuthenticAME"}) {
    std::memcpy(processor.vendor, vendor, 12);
    CHECK(!cpu::bf16_is_fast(processor));
  }
}

#if defined(__linux__)
namespace {

constexpr int kGet = 0x1022, kRequest = 0x1023;
constexpr uint64_t kEverything = ~uint64_t{0};

uint64_t granted;  // what the question for the granted permissions finds
int requests;      // how often the permission was asked for
int answer;        // to that

// Answers a system call in the kernel's place.
void on_arch_prctl(int, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (registers[REG_RDI] == kRequest) {
    ++requests;
    registers[REG_RAX] = registers[REG_RSI] == 18 ? -answer : -E2BIG;
  } else {
    std::memcpy(reinterpret_cast<void*>(registers[REG_RSI]), &granted, sizeof(granted));
    registers[REG_RAX] = 0;
  }
}

// Lets on_arch_prctl answer both questions, in this process from now on.
bool watch_arch_prctl() {
  struct sigaction action{};
  action.sa_sigaction = on_arch_prctl;
  action.sa_flags = SA_SIGINFO;
  const auto field = [](size_t offset) {
    return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
  };
  sock_filter filter[] = {
      field(offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 4),
      field(offsetof(seccomp_data, args)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kRequest, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kGet, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  return sigaction(SIGSYS, &action, nullptr) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Exit status of a forked child that runs `body` while on_arch_prctl answers.
template <class Body>
int in_child(const Body& body) {
  constexpr int kNotWatched = 77;
  const pid_t child = fork();
  if (child == 0) _exit(watch_arch_prctl() ? body() : kNotWatched);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotWatched) {
    note("not run: no system call filters here");
    return 0;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

TEST("the request says what the kernel says, and a success that grants nothing is none") {
  CHECK_EQUAL(in_child([] {
                granted = kEverything;
                for (const int error : {0, EPERM, EINVAL, ENOSPC, EOPNOTSUPP}) {
                  answer = error;
                  if (cpu::request_tiles() != error) return 1;
                }
                answer = 0;
                granted = ~(uint64_t{1} << 18);
                return cpu::request_tiles() == EPERM ? 0 : 2;
              }),
              0);
}

TEST("the permission is asked for once, and looking does not ask") {
  const int before = cpu::this_processor().permission;  // on a machine with AMX others have asked
  CHECK_EQUAL(
      in_child([before] {
        granted = kEverything;
        if (cpu::this_processor().permission != before || requests != 0) return 1;
        for (int i = 0; i < 3; ++i) cpu::ask_for_tiles();
        if (requests != (before == cpu::kNotAsked ? 1 : 0)) return 2;
        answer = EPERM;
        cpu::ask_for_tiles();
        return cpu::this_processor().permission == (before == cpu::kNotAsked ? 0 : before) ? 0 : 3;
      }),
      0);
}
#endif

}  // namespace planet::tests
#endif
