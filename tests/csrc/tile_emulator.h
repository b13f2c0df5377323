// The tile instructions of AMX on Linux, on processors with AVX-512 that lack them: a handler of
// SIGILL carries them out one by one, as the Intel SDM (volume 2) describes them.
//
// What processors refuse stops the program with a message that names the instruction and the rule.
// Sanitizers know neither tiles nor inline assembler. Here a load or store of a tile is an ordinary
// copy in instrumented code, so they see it: its bounds, and its races with other threads. They do
// not see tiles that were never written (`unwritten` counts those), and on a processor with AMX,
// where nothing is emulated, they see nothing of it.
#pragma once

#include <signal.h>
#include <stdint.h>

namespace planet::tests {

enum class TileOp {
  kConfigure,    // ldtilecfg
  kStoreConfig,  // sttilecfg
  kRelease,      // tilerelease
  kZero,         // tilezero
  kLoad,         // tileloadd
  kLoadOnce,     // tileloaddt1
  kStore,        // tilestored
  kMultiply,     // tdpbf16ps
};
constexpr int kTileOps = 8;

// Whether this processor and operating system run them, and so does this process.
bool has_tiles();

// Whether the calling thread has its tiles configured: it then pays for 8 KB more when it is
// switched, and other code of the thread finds a configuration that is not its own.
bool tiles_in_use();

// Makes the instructions work while it lives, in all threads. Where the processor has them nothing
// is installed.
class TileInstructions {
 public:
  TileInstructions();
  ~TileInstructions();
  TileInstructions(const TileInstructions&) = delete;
  TileInstructions& operator=(const TileInstructions&) = delete;

  bool available() const;
  bool emulated() const { return emulated_; }
  // Since the last construction, in all threads; 0 if not emulated.
  int64_t count(TileOp op) const;
  // No faults, but mistakes: reads of a tile before anything was written to it, and configurations
  // of tiles that already were.
  int64_t unwritten() const;
  int64_t reconfigured() const;
  // No mistakes, but slow: rows that lie in two lines of the cache.
  int64_t split_rows() const;

 private:
  bool emulated_;
  struct sigaction previous_ = {};
};

}  // namespace planet::tests
