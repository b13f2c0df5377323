#!/usr/bin/env bash
# The first run on a bare GPU machine, within 300 s: does planet compute the right numbers there?
#
#   python benchmarks/gpu/bundle                 where there is a network; then carry gpu_bundle/
#   OUT=FOLDER benchmarks/gpu/first.sh [BUNDLE] [OPTION ...]
#
# FOLDER (else ./gpu_results) gets start.txt about the bundle, summary.txt with a line per stage as it
# ends, stages.log and results.json. BUNDLE, if it is not named, is gpu_bundle in the checkout; PYTHON
# names the Python (else python3). Nothing is installed, and the checkout may be read-only.
# Options go to stages.py: `--only NAME NAME`; `--device cpu` tries every stage without a GPU, for
# which LIMIT=SECONDS and `--patience TIMES` stretch the limits.
exec bash "$(dirname -- "$0")/with_bundle.sh" first 300 "$@"
