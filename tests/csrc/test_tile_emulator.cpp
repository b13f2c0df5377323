// The tile emulator itself: what it counts, and what it refuses.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "harness.h"
#include "tile_calls.h"
#include "tile_emulator.h"

namespace planet::tests {

TEST("tiles: the emulator counts what it carries out, and mistakes that are no faults") {
  TileInstructions tiles;
  if (!tiles.emulated()) return note("not run: nothing is emulated here");
  std::vector<uint32_t> words(256 + 32);
  uint32_t* aligned = words.data() + 16 - reinterpret_cast<uintptr_t>(words.data()) % 64 / 4;
  configure(full());
  zero0();
  load1(aligned, 64);
  load2(aligned, 64);
  multiply();
  store0(aligned, 64);
  CHECK_EQUAL(tiles.split_rows(), int64_t{0});
  CHECK_EQUAL(tiles.unwritten(), int64_t{0});
  load0(aligned - 1, 64);
  CHECK_EQUAL(tiles.split_rows(), int64_t{16});
  CHECK_EQUAL(tiles.reconfigured(), int64_t{0});
  configure(full());
  CHECK_EQUAL(tiles.reconfigured(), int64_t{1});
  multiply();
  CHECK_EQUAL(tiles.unwritten(), int64_t{3});
  release();
  const int64_t expected[kTileOps] = {2, 0, 1, 1, 2, 1, 1, 2};
  for (int op = 0; op < kTileOps; ++op) {
    const Scope scope("op ", op);
    CHECK_EQUAL(tiles.count(static_cast<TileOp>(op)), expected[op]);
  }
}

namespace {

// What a child that runs the body writes to its standard error before it is aborted.
std::string last_words(void (*body)()) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    body();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[256];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(count));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  return text;
}

void product_with(const TileShapes& shape) {
  configure(shape);
  multiply();
}

struct Case {
  const char* message;
  void (*body)();
};
const Case kCases[] = {
    {"tilezero: tiles are not configured", [] { zero0(); }},
    {"tilestored: tiles are not configured",
     [] {
       configure(full());
       release();
       std::vector<uint32_t> out(256);
       store0(out.data(), 64);
     }},
    {"ldtilecfg: no such palette",
     [] {
       TileShapes shape = full();
       shape.palette = 2;
       configure(shape);
     }},
    {"ldtilecfg: a reserved byte is not 0",
     [] {
       TileShapes shape = full();
       shape.reserved[13] = 1;
       configure(shape);
     }},
    {"ldtilecfg: more than 16 rows", [] { configure(full().tile(7, 17, 64)); }},
    {"ldtilecfg: more than 64 bytes in a row", [] { configure(full().tile(7, 16, 68)); }},
    {"ldtilecfg: rows without bytes", [] { configure(full().tile(7, 16, 0)); }},
    {"ldtilecfg: more than eight tiles", [] { configure(full().tile(8, 16, 64)); }},
    {"tilezero: the tile has no rows",
     [] {
       configure(TileShapes().tile(1, 16, 64));
       zero0();
     }},
    {"tilezero: the bytes of a row are no multiple of four",
     [] {
       configure(full().tile(0, 16, 62));
       zero0();
     }},
    {"tdpbf16ps: rows of the sum", [] { product_with(full().tile(0, 15, 64)); }},
    {"tdpbf16ps: columns of the sum", [] { product_with(full().tile(0, 16, 60)); }},
    {"tdpbf16ps: the factors' shapes do not fit", [] { product_with(full().tile(1, 16, 60)); }},
    {"tdpbf16ps: the same tile twice",
     [] {  // tdpbf16ps tmm0, tmm1, tmm1, which assemblers refuse
       configure(full());
       asm volatile(".byte 0xC4, 0xE2, 0x72, 0x5C, 0xC1");
     }},
    {"tileloadd: its address has no SIB byte",
     [] { asm volatile(".byte 0xC4, 0xE2, 0x7B, 0x4B, 0x00"); }},  // tileloadd tmm0, [rax]
    {"tileloadd: VEX.W or VEX.L is not 0",
     [] { asm volatile(".byte 0xC4, 0xE2, 0xFB, 0x4B, 0x04, 0x20"); }},
    {"tilezero: no such tile",
     [] {
       configure(full());
       asm volatile(".byte 0xC4, 0x62, 0x7B, 0x49, 0xC0");  // tmm8
     }},
};
}  // namespace

TEST("tiles: the emulator refuses what processors refuse") {
  TileInstructions tiles;
  if (!tiles.emulated()) return note("not run: nothing is emulated here");
  for (const Case& wrong : kCases) {
    const Scope scope(wrong.message);
    const std::string text = last_words(wrong.body);
    CHECK(text.find(std::string("tile emulator: ") + wrong.message) != std::string::npos);
  }
}

}  // namespace planet::tests
