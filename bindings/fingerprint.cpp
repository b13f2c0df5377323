// Which sources this extension was built from; the header is written by planet/ops/fingerprint.py.
#include "sources.h"

namespace planet {

extern const char kSources[];
const char kSources[] = PLANET_SOURCES;

}  // namespace planet
