// Launches of small kernels whose accesses are watched, and what they say.
#pragma once

#include <string>
#include <vector>

#include "cuda/launch.h"
#include "harness.h"

namespace planet::tests {

// What launches say, one after another in three orders of threads; "nothing" if all went well.
template <class... Arguments>
std::string said(const cuda::Launch& how, Arguments... arguments) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const cuda::emulator::JitterScope jitter(seed);
    const char* error = cuda::launch(how, arguments...);
    if (error != nullptr) return error;
  }
  return "nothing";
}

inline void check_named(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    if (text.find(part) == std::string::npos) {
      report_failure(__FILE__, __LINE__, "expected '" + part + "' in: " + text);
    }
  }
}

inline void check_fine(const std::string& text) {
  CHECK_EQUAL(text, std::string("nothing"));
}

}  // namespace planet::tests
