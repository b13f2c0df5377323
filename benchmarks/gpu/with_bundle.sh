#!/usr/bin/env bash
# Runs stages.py on a bare GPU machine with what a bundle brings, within a time limit that holds
# whatever happens. first.sh and second.sh call it; they say how.
#
#   with_bundle.sh RUN SECONDS [BUNDLE] [OPTION ...]     options go to stages.py
set -uo pipefail

export CDPATH= # cd goes where it is told
RUN=$1
LIMIT=${LIMIT:-$2} # seconds from here to the end
shift 2
HERE=$(cd -- "$(dirname -- "$0")" && pwd)
REPO=$(cd -- "$HERE/../.." && pwd)
BUNDLE=$REPO/gpu_bundle
if [ $# -gt 0 ] && [[ $1 != -* ]]; then
  BUNDLE=$1
  shift
fi
PYTHON=${PYTHON:-python3}
OUT=${OUT:-gpu_results}
OUT=$(mkdir -p -- "$OUT" && cd -- "$OUT" && pwd) || exit 1
BUNDLE=$(cd -- "$BUNDLE" 2>/dev/null && pwd || echo "$BUNDLE")
START=$OUT/start.txt
MARK=planet.$$.$RANDOM # in the environment of all that is started here
rm -f -- "$OUT/build.log"
: >"$START" || exit 1
WORK=$(mktemp -d) || exit 1

say() { printf '%-15s %s\n' "$1" "$2" | tee -a "$START"; }

end_leftovers() { # also those that left their group or session
  local file
  grep -lzxF "PLANET_GPU_RUN=$MARK" /proc/[0-9]*/environ 2>/dev/null | while read -r file; do
    file=${file#/proc/}
    kill -KILL "${file%/environ}" 2>/dev/null
  done
}

# shellcheck disable=SC2329 # the trap calls it
clean_up() {
  end_leftovers
  rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

# within SECONDS COMMAND...: its exit status; 124 if it was ended, by the end of all at the latest.
# Never waits for what cannot end.
within() {
  local ends=$((SECONDS + $1)) last=$((LIMIT - 6)) id asked=
  [ $ends -lt $last ] || ends=$last
  shift
  PLANET_GPU_RUN=$MARK "$@" </dev/null &
  id=$!
  while kill -0 $id 2>/dev/null; do
    if [ $SECONDS -ge $((ends + 3)) ]; then
      end_leftovers
      return 124
    elif [ $SECONDS -ge $ends ] && [ -z "$asked" ]; then
      asked=yes
      kill -TERM $id 2>/dev/null
    fi
    sleep 0.2
  done
  wait $id
  local status=$?
  [ -z "$asked" ] || status=124
  return $status
}

# A file, not a pipe, takes what is printed: a process that cannot end would hold a pipe open.
logged() { within "$@" >"$WORK/log" 2>&1; } # SECONDS COMMAND...

loads() { # the log begins with the architecture of the card, and ends with the finding
  logged 90 "$PYTHON" -c 'import sys, torch
card, number = "no GPU", ""
if torch.cuda.is_available():
    card = torch.cuda.get_device_name()
    major, minor = torch.cuda.get_device_capability()
    number = f"{major}{minor}"
    print(number + "a" * (major >= 9) + "-real", flush=True)
import planet
info = planet.build_info()
assert planet.__file__.startswith(sys.argv[1]), f"planet is {planet.__file__}"
assert info["extension"], info["reason"]
assert info["cuda"]["compiled"], info["cuda"]["status"]
built = info["cuda"]["architectures"]
assert number in built, f"built for {built}, not for {card} ({number})"
print("loads; built for", built, "and run on", card)' "$WORK/site"
}

build() { # the checkout, into the site
  local found
  found=$(grep -xm1 '[0-9]*a\?-real' "$WORK/log" || echo 90a-real)
  logged "${BUILD_LIMIT:-120}" env PLANET_CUDA=ON PLANET_CUDA_ARCHS="${PLANET_CUDA_ARCHS:-$found}" \
    "$PYTHON" -m pip install --no-index --no-build-isolation --no-deps --no-compile --upgrade \
    --disable-pip-version-check --target "$WORK/site" --config-settings build-dir="$WORK/build" "$REPO"
}

command -v "$PYTHON" >/dev/null || {
  say python "FAILED: no $PYTHON on PATH; PYTHON=... names one"
  exit 1
}
PYTHON=$(command -v "$PYTHON")
[[ $PYTHON = /* ]] || PYTHON=$PWD/$PYTHON
cd -- "$WORK" || exit 1 # no planet lies here, as one does in the checkout
export PYTHON PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

logged 60 "$PYTHON" "$HERE/bundle/unpack.py" "$BUNDLE" "$WORK"
status=$?
tail -n 12 "$WORK/log" | tee -a "$START"
if [ -f "$WORK/environment" ]; then
  # shellcheck source=/dev/null
  . "$WORK/environment"
else
  say bundle "FAILED: exit status $status"
  mkdir -p "$WORK/site"
  export PYTHONPATH=$WORK/site MUJOCO_GL=egl
fi
# Where the loader's path is not enough for find_library, its cache may be.
if [ -d "$WORK/gl" ] && ! logged 20 "$PYTHON" -c 'import sys, ctypes.util
sys.exit(not ctypes.util.find_library("EGL"))'; then
  { [ "$(id -u)" = 0 ] && ldconfig "$WORK/gl" 2>/dev/null && say gl "the loader's cache was changed"; } ||
    say gl "PROBLEM: OpenGL's libraries are not found"
fi
loads
status=$?
if [ $status = 0 ]; then
  say planet "$(tail -n 1 "$WORK/log"), after $SECONDS s"
elif [ $status = 124 ]; then # a slow disk; a build would not help
  say planet "PROBLEM: the bundle's build did not load in time"
else
  say planet "PROBLEM: the bundle's build does not load: $(tail -n 1 "$WORK/log")"
  unset PLANET_JITTER_SITE PLANET_CHECKED_SITE
  build && loads
  status=$?
  if [ $status = 0 ]; then
    say planet "BUILT FROM THE CHECKOUT, after $SECONDS s; $(tail -n 1 "$WORK/log")"
  else
    cp -- "$WORK/log" "$OUT/build.log"
    say planet "FAILED: nor does the checkout build (exit status $status, build.log)"
  fi
fi

if [ -z "${PLANET_AGAIN:-}" ] && [ -f "$BUNDLE/results.json" ]; then
  export PLANET_AGAIN=$BUNDLE/results.json # of the run before
fi
seconds=$((LIMIT - SECONDS - 6)) # the rest is for ending what does not end
within "$seconds" "$PYTHON" "$HERE/stages.py" "$RUN" --out "$OUT" --total "$seconds" "$@"
status=$?
[ $status != 124 ] || say "$RUN" "ENDED by the watchdog after $SECONDS s"
say "$RUN" "ended after $SECONDS s, exit status $status"
exit $status
