// The choice of an instruction set.
#include <set>
#include <string>

#include "cpu/processor.h"
#include "harness.h"
#include "isa.h"

namespace planet::tests {

namespace {

bool taken_by_default(cpu::Isa isa) {
  const std::string name = cpu::isa_name(isa);
#if defined(__x86_64__)
  if (name == "avx512bf16") return cpu::bf16_is_fast(cpu::this_processor());
#endif
  return name != "amx-double";
}

}  // namespace

TEST("the widest supported instruction set is chosen") {
  cpu::Isa widest = -1;
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    if (cpu::isa_supported(isa) && taken_by_default(isa)) widest = isa;
  }
  CHECK(cpu::isa_supported(0));
  CHECK_EQUAL(cpu::best_isa(nullptr), widest);
  note(cpu::isa_name(widest));
  if (!options().expect_isa.empty()) {
    CHECK_EQUAL(std::string(cpu::isa_name(widest)), options().expect_isa);
  }
}

TEST("a name caps the choice") {
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    const cpu::Isa best = cpu::best_isa(cpu::isa_name(isa));
    CHECK_AT_MOST(best, isa);
    CHECK(best >= 0 && cpu::isa_supported(best));
    if (cpu::isa_supported(isa)) {
      CHECK_EQUAL(best, isa);
    } else {
      CHECK(taken_by_default(best));
    }
    CHECK_EQUAL(cpu::isa_supported(isa), cpu::isa_refusal(isa) == nullptr);
  }
  for (const char* name : {"", "AVX2", "avx", "avx5120", "none"})
    CHECK_EQUAL(cpu::best_isa(name), -1);
}

TEST("instruction sets are those of the architecture, each with its own name") {
  std::string names;
  std::set<std::string> different;
  for (cpu::Isa isa = 0; isa < cpu::isa_count(); ++isa) {
    names += std::string(isa ? " " : "") + cpu::isa_name(isa);
    different.insert(cpu::isa_name(isa));
  }
#if defined(__x86_64__)
  std::string expected = "baseline avx2 avx512 avx512vnni avx512bf16 amx";
  if (cpu::isa_count() == 7) expected += " amx-double";  // as the build chose
  CHECK_EQUAL(names, expected);
  CHECK(cpu::kernels_name(3, Precision::kInt8));
#elif defined(__aarch64__)
  CHECK_EQUAL(names, std::string("neon"));
#endif
  CHECK_EQUAL(static_cast<int>(different.size()), cpu::isa_count());
}

}  // namespace planet::tests
