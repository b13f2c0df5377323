#!/usr/bin/env bash
# The second run on a bare GPU machine, within 330 s: how fast is planet there? Used as first.sh,
# after what that has shown is mended and the bundle is made again. The first run's results.json,
# copied into the bundle, names the tests that are run again.
exec bash "$(dirname -- "$0")/with_bundle.sh" second 330 "$@"
