# Compiles a hash of the sources into _C, by which a source folder recognises an extension of its own
# (planet/ops/fingerprint.py). The hash is taken in every build; only a new one compiles anything.
set(PLANET_FINGERPRINT ${PROJECT_BINARY_DIR}/fingerprint/sources.h)
add_custom_target(planet_fingerprint
  COMMAND ${Python_EXECUTABLE} -I ${PROJECT_SOURCE_DIR}/planet/ops/fingerprint.py
          ${PROJECT_SOURCE_DIR} ${PLANET_FINGERPRINT}
  BYPRODUCTS ${PLANET_FINGERPRINT} VERBATIM)
add_dependencies(_C planet_fingerprint)
target_sources(_C PRIVATE ${PROJECT_SOURCE_DIR}/bindings/fingerprint.cpp)
target_include_directories(_C PRIVATE ${PROJECT_BINARY_DIR}/fingerprint)
