// The tile instructions of AMX as they lie in memory.
#pragma once

#include <stdint.h>
#include <ucontext.h>

#include "tile_emulator.h"

namespace planet::tests {

// One instruction with a three-byte VEX prefix; registers with their fourth bit.
struct TileInstruction {
  TileOp op;
  int first, second, third;  // tiles: ModRM.reg, ModRM.rm, VEX.vvvv
  uint64_t address, stride;
  int length;
};

// The instruction at which a thread was interrupted; false if it is none of tiles.
bool decode(const ucontext_t& context, TileInstruction& out);

// Stops the program with a message if the condition does not hold.
void require(bool condition, TileOp op, const char* rule);

}  // namespace planet::tests
