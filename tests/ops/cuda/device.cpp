// Lets tests choose what the emulated device is like.
#include "emulator.h"

extern "C" __attribute__((visibility("default"))) void planet_emulated_function_error(
    double error) {
  planet::cuda::emulator::device().function_error = error;
}
