// Runs the tests of the core. No Python, no torch.
//
//   planet_tests [--quick] [--endurance] [--verbose] [--seed N] [--expect-isa NAME] [FILTER]
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "harness.h"
#include "isa.h"

namespace planet::tests {
namespace {

struct Entry {
  const char* name;
  bool endurance;
  void (*body)();
};

std::vector<Entry>& entries() {
  static std::vector<Entry> list;  // tests register before main, in any order of files
  return list;
}

struct Choice {
  std::string option;
  void (*body)();
};

std::vector<Choice>& choices() {
  static std::vector<Choice> list;  // as are options
  return list;
}

constexpr int kShown = 8;  // failed checks that one test prints

Options chosen;
const char* running = "no test";
int failures = 0;
std::string notes;
thread_local std::vector<std::string> scopes;

// A kernel that leaves its arrays stops here (memory.h puts them beside pages without access).
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
void name_test_on_signals() {}  // the sanitizers tell more
#else
void on_signal(int signal) {
  const char* parts[] = {"\nFAILED, stopped by a signal (", strsignal(signal), ") in: ", running,
                         "\n"};
  for (const char* part : parts) {
    if (write(STDERR_FILENO, part, strlen(part)) < 0) break;
  }
  _exit(3);
}

void name_test_on_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) sigaction(signal, &action, nullptr);
}
#endif

[[noreturn]] void usage(const char* what) {
  std::fprintf(stderr, "%s\nusage: planet_tests [--quick] [--endurance] [--verbose]", what);
  for (const Choice& choice : choices()) std::fprintf(stderr, " [%s]", choice.option.c_str());
  std::fprintf(stderr, " [--seed N] [--expect-isa NAME] [FILTER]\n");
  std::exit(2);
}

// Does what a test file's option asks for; returns whether there is such an option.
bool set_up(const std::string& option) {
  for (const Choice& choice : choices()) {
    if (choice.option != option) continue;
    choice.body();
    return true;
  }
  return false;
}

void parse(int count, char** words) {
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto value = [&]() -> std::string {
      if (++i == count) usage((word + ": expected a value").c_str());
      return words[i];
    };
    if (word == "--quick") {
      chosen.quick = true;
    } else if (word == "--endurance") {
      chosen.endurance = true;
    } else if (word == "--verbose") {
      chosen.verbose = true;
    } else if (word == "--seed") {
      chosen.seed = std::strtoull(value().c_str(), nullptr, 10);
    } else if (word == "--expect-isa") {
      chosen.expect_isa = value();
    } else if (set_up(word)) {
      continue;
    } else if (word.starts_with("-")) {
      usage((word + ": no such option").c_str());
    } else {
      chosen.filter = word;
    }
  }
}

// Runs one test; returns whether it passed.
bool run(const Entry& entry) {
  running = entry.name;
  failures = 0;
  notes.clear();
  const auto start = std::chrono::steady_clock::now();
  entry.body();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%-6s %6.2f s  %s%s%s\n", failures ? "FAILED" : "ok", took.count(), entry.name,
              notes.empty() ? "" : "; ", notes.c_str());
  if (failures > kShown) std::printf("       (%d failed checks, %d shown)\n", failures, kShown);
  std::fflush(stdout);
  running = "no test";
  return failures == 0;
}

int run_all() {
  std::printf("seed %llu%s; instruction sets:", static_cast<unsigned long long>(chosen.seed),
              chosen.quick ? ", quick" : "");
  for (int isa = 0; isa < cpu::isa_count(); ++isa) {
    std::printf(" %s%s", cpu::isa_name(isa), cpu::isa_supported(isa) ? "" : " (not run here)");
  }
  std::printf("\n");
  int passed = 0, failed = 0;
  for (const Entry& entry : entries()) {
    if (entry.endurance != chosen.endurance) continue;
    if (std::string(entry.name).find(chosen.filter) == std::string::npos) continue;
    ++(run(entry) ? passed : failed);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace

const Options& options() {
  return chosen;
}

Test::Test(const char* name, bool endurance, void (*body)()) {
  entries().push_back({name, endurance, body});
}

Setup::Setup(const char* option, void (*body)()) {
  choices().push_back({option, body});
}

void Scope::enter(const std::string& text) {
  scopes.push_back(text);
}

Scope::~Scope() {
  scopes.pop_back();
}

void report_failure(const char* file, int line, const std::string& text) {
  if (++failures > kShown) return;
  std::string where;
  for (const std::string& scope : scopes) where += scope + ": ";
  std::printf("  %s:%d: %s%s\n", file, line, where.c_str(), text.c_str());
}

void note(const std::string& text) {
  notes += (notes.empty() ? "" : ", ") + text;
}

}  // namespace planet::tests

int main(int count, char** words) {
  planet::tests::name_test_on_signals();
  planet::tests::parse(count, words);
  return planet::tests::run_all();
}
