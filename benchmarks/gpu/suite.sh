#!/usr/bin/env bash
# Everything that only a GPU can show, in one command and at most nine minutes: builds planet from
# this checkout, runs the GPU tests, sanitizers, a jitter build and the benchmarks.
#
#   benchmarks/gpu/suite.sh [FOLDER] [STAGE ...]
#
# FOLDER (else $OUT, else ./gpu_results) gets suite.log, summary.txt and the benchmarks' JSON files.
# Needs: nvcc, a C++20 compiler, and a Python that has torch >= 2.11 with CUDA, numpy, pytest,
# hypothesis, scikit-build-core, pybind11, cmake and ninja; no network. PYTHON names it (else
# python3). PLANET_CUDA_ARCHS overrides what to build for (else the GPU's own; 90a-real without one).
# Nothing is installed but into a temporary folder, and the checkout stays as it is.
#
# Stages have time limits and go on after a failure. The exit status is 0 only if every stage passed;
# without a GPU the stages that need one are skipped, and it is not 0.
set -uo pipefail

export CDPATH= # cd goes where it is told
REPO=$(cd -- "$(dirname -- "$0")/../.." && pwd)
PYTHON=${PYTHON:-python3}
TOTAL=${TOTAL:-540} # seconds
PATIENCE=${PATIENCE:-1} # times the stages' limits, for a busy machine
OUT=$(mkdir -p -- "${1:-${OUT:-gpu_results}}" && cd -- "${1:-${OUT:-gpu_results}}" && pwd)
shift $(($# > 0))
ONLY=" $* "
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
LOG=$OUT/suite.log
: >"$LOG"
export PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
command -v "$PYTHON" >/dev/null && PYTHON=$(command -v "$PYTHON")
GPU=no
"$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null && GPU=yes
if [ -z "${PLANET_CUDA_ARCHS:-}" ]; then
  PLANET_CUDA_ARCHS=90a-real
  if [ $GPU = yes ]; then
    PLANET_CUDA_ARCHS=$("$PYTHON" -c 'import torch
major, minor = torch.cuda.get_device_capability()
print(f"{major}{minor}{chr(97) if (major, minor) in ((9, 0), (10, 0)) else str()}-real")')
  fi
fi
export PLANET_CUDA=ON PLANET_CUDA_ARCHS PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ROWS=()
FAILED=0
ends=$((SECONDS + TOTAL))

row() { # NAME RESULT SECONDS
  ROWS+=("$(printf '%-14s %-28s %5s s' "$1" "$2" "$3")")
  [ "$2" = passed ] || FAILED=1
}

wanted() { [ "$ONLY" = "  " ] || [[ $ONLY == *" $1 "* ]]; }

# stage NAME SECONDS gpu|any COMMAND: runs a command of bash, with its output into the log.
stage() {
  local name=$1 limit=$(($2 * PATIENCE)) needs=$3 command=$4 began=$SECONDS left=$((ends - SECONDS)) status
  wanted "$name" || return 0
  if [ "$needs" = gpu ] && [ $GPU = no ]; then
    row "$name" "skipped: no GPU" 0
    return 0
  fi
  if [ $left -lt 5 ]; then
    row "$name" "skipped: out of time" 0
    return 0
  fi
  [ $limit -lt $left ] || limit=$left
  echo "== $name (at most $limit s)" | tee -a "$LOG"
  timeout -k 5 "$limit" bash -o pipefail -c "$command" >"$WORK/$name.log" 2>&1
  status=$?
  cat "$WORK/$name.log" >>"$LOG"
  tail -n 25 "$WORK/$name.log"
  case $status in
    0) row "$name" passed $((SECONDS - began)) ;;
    124 | 137) row "$name" "FAILED: over $limit s" $((SECONDS - began)) ;;
    *) row "$name" "FAILED: exit status $status" $((SECONDS - began)) ;;
  esac
}

build() { # FOLDER: the command that builds planet into it
  echo "${PYTHON@Q} -m pip install -q --no-index --no-build-isolation --no-deps --no-compile \
    --disable-pip-version-check --target ${1@Q} --config-settings build-dir=${1@Q}.build ${REPO@Q}"
}

export PYTHON
RUN="cd ${WORK@Q} && PYTHONPATH=${WORK@Q}/site ${PYTHON@Q}"
BENCH="$RUN ${REPO@Q}/benchmarks"
WORKERS=$("$PYTHON" -c 'import xdist; print("-n 4")' 2>/dev/null) # most of a test is the CPU's part

stage facts 20 any "nvidia-smi || true; nvcc --version; g++ --version | head -1
  ${PYTHON@Q} -c 'import sys, torch; print(sys.version, torch.__version__, torch.version.cuda)'
  git -C ${REPO@Q} log -1 --oneline || true; echo 'builds for $PLANET_CUDA_ARCHS'"
# The jitter build runs beside the other stages; only timed stages wait for it.
if wanted jitter && [ $GPU = yes ]; then
  CUDAFLAGS="-include \"$REPO/benchmarks/gpu/jitter.cuh\"" timeout -k 5 200 \
    bash -c "$(build "$WORK/jitter")" >"$WORK/jitter_build.log" 2>&1 &
  JITTER=$!
fi
stage build 180 any "$(build "$WORK/site") && cd ${WORK@Q} && PYTHONPATH=${WORK@Q}/site ${PYTHON@Q} -c '
import planet, torch
info = planet.build_info()
print(planet.__file__, info)
assert planet.__file__.startswith(\"$WORK\"), \"another planet is installed and comes first\"
assert info[\"extension\"] and info[\"cuda\"][\"compiled\"]'"
stage smoke 30 gpu "$BENCH/gpu/smoke.py"
stage tests 90 gpu "cd ${REPO@Q}/tests && export OMP_NUM_THREADS=2 PYTHONPATH=${WORK@Q}/site &&
  ${PYTHON@Q} -m pytest -q $WORKERS -p no:cacheprovider -rfEs -k 'cuda and not emulated' \
    acting ops test_noise.py | tee ${WORK@Q}/pytest.txt &&
  grep -q '[1-9][0-9]* passed' ${WORK@Q}/pytest.txt"
[ -z "${JITTER:-}" ] || wait "$JITTER" || true
stage first_run 45 gpu "$BENCH/gpu/first_run.py --architecture '${PLANET_CUDA_ARCHS%-real}' \
  --output ${OUT@Q}/gpu_first_run.json"
stage plans 150 gpu "$BENCH/cem/bench.py --device cuda --seconds 8 --output ${OUT@Q}/cem_cuda.json"
stage control_step 75 gpu "$BENCH/control_step/bench.py --device cuda --seconds 40 \
  --output ${OUT@Q}/control_step_cuda.json"
stage sanitizers 90 gpu "cd ${WORK@Q} && PYTHONPATH=${WORK@Q}/site ${REPO@Q}/benchmarks/gpu/sanitizers.sh ${WORK@Q}"
stage jitter 60 gpu "cat ${WORK@Q}/jitter_build.log; test -d ${WORK@Q}/jitter/planet && cd ${WORK@Q} &&
  PYTHONPATH=${WORK@Q}/jitter ${PYTHON@Q} ${REPO@Q}/benchmarks/gpu/smoke.py --repeats 100"

{
  printf '%s\n' "stage          result                        time"
  printf '%s\n' "${ROWS[@]}"
  [ $GPU = yes ] || echo "no GPU: what needs one was skipped"
} | tee "$OUT/summary.txt" | tee -a "$LOG"
exit $FAILED
