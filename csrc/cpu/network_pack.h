// A layer's weights, packed for either direction: tiles of `rows` output channels, the last one
// padded with zeros, each [bias[rows]] and the weights of its inputs in the order in which they are
// read, [input][rows]. Scattering has tiles for each of the stride^2 classes of pixels of the large
// map that meet the same taps.
#pragma once

#include "../network.h"

namespace planet::cpu {

// Floats of a layer packed for gathering, for scattering.
int64_t gather_floats(const NetworkLayer& layer, int rows);
int64_t scatter_floats(const NetworkLayer& layer, int rows);

// Packs tiles of `rows` channels for gathering: small = large times weights. Null biases are zeros.
void pack_gather(const NetworkLayer& layer, const float* weights, const float* bias, int rows,
                 float* out);

// Likewise for scattering: large = small times weights.
void pack_scatter(const NetworkLayer& layer, const float* weights, const float* bias, int rows,
                  float* out);

}  // namespace planet::cpu
