// A small test harness: named tests, checks that print what they saw, a filter on the names.
#pragma once

#include <stdint.h>

#include <sstream>
#include <string>

namespace planet::tests {

struct Options {
  std::string filter;      // run the tests whose name contains it
  std::string expect_isa;  // if not empty, the instruction set that must be chosen here
  uint64_t seed = 20190612;
  bool quick = false;      // fewer sizes, every kernel: for emulators and sanitizers
  bool endurance = false;  // run the endurance tests instead of the others
  bool verbose = false;    // say more
};

const Options& options();

// One test. Construct it at namespace scope, through TEST or ENDURANCE_TEST.
class Test {
 public:
  Test(const char* name, bool endurance, void (*body)());
};

// An option that one of the test files adds to the command line: what it does before the tests.
class Setup {
 public:
  Setup(const char* option, void (*body)());
};

// Says in every failed check below it in the call stack where it was.
class Scope {
 public:
  template <class... Values>
  explicit Scope(const Values&... values) {
    std::ostringstream text;
    (text << ... << values);
    enter(text.str());
  }
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  static void enter(const std::string& text);
};

// Counts and prints a failed check of the running test; only the first few are printed.
void report_failure(const char* file, int line, const std::string& text);

// Shown at the end of the running test's line.
void note(const std::string& text);

template <class Value>
std::string show(const Value& value) {
  std::ostringstream text;
  text.precision(9);
  text << value;
  return text.str();
}

}  // namespace planet::tests

#define PLANET_JOIN_(a, b) a##b
#define PLANET_JOIN(a, b) PLANET_JOIN_(a, b)
#define PLANET_TEST_(name, endurance, function)                                                \
  static void function();                                                                      \
  static const ::planet::tests::Test PLANET_JOIN(function, _entry)(name, endurance, function); \
  static void function()

// TEST("a fact") { ... }
#define TEST(name) PLANET_TEST_(name, false, PLANET_JOIN(test_at_line_, __LINE__))
#define ENDURANCE_TEST(name) PLANET_TEST_(name, true, PLANET_JOIN(test_at_line_, __LINE__))

#define CHECK(condition)                                               \
  do {                                                                 \
    if (!(condition)) {                                                \
      ::planet::tests::report_failure(__FILE__, __LINE__, #condition); \
    }                                                                  \
  } while (0)

#define CHECK_EQUAL(got, expected)                                                      \
  do {                                                                                  \
    const auto got_ = (got);                                                            \
    const auto expected_ = (expected);                                                  \
    if (!(got_ == expected_)) {                                                         \
      ::planet::tests::report_failure(__FILE__, __LINE__,                               \
                                      std::string(#got " == " #expected ": got ") +     \
                                          ::planet::tests::show(got_) + ", expected " + \
                                          ::planet::tests::show(expected_));            \
    }                                                                                   \
  } while (0)

// NaN fails.
#define CHECK_AT_MOST(got, bound)                                                    \
  do {                                                                               \
    const auto got_ = (got);                                                         \
    const auto bound_ = (bound);                                                     \
    if (!(got_ <= bound_)) {                                                         \
      ::planet::tests::report_failure(__FILE__, __LINE__,                            \
                                      std::string(#got " <= " #bound ": got ") +     \
                                          ::planet::tests::show(got_) + ", bound " + \
                                          ::planet::tests::show(bound_));            \
    }                                                                                \
  } while (0)
