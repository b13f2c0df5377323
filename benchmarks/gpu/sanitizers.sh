#!/usr/bin/env bash
# Runs smoke.py under compute-sanitizer's memcheck, synccheck and initcheck, all three at once.
#
#   PYTHON=python3 benchmarks/gpu/sanitizers.sh FOLDER     FOLDER gets a log per tool
#
# Only planet's kernels are looked at; without torch's cache every tensor is an allocation of its own.
set -uo pipefail
smoke=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/smoke.py
logs=${1:?expected a folder for the logs}
python=${PYTHON:-python3}
command -v compute-sanitizer >/dev/null || {
  echo "no compute-sanitizer on PATH; it comes with the CUDA toolkit"
  exit 1
}

# How kernels are chosen depends on the version; a wrong option is answered by its name.
filter=()
for option in --kernel-regex --kernel-name --filter; do
  if ! compute-sanitizer $option kns=planet "$(command -v true)" 2>&1 |
    grep -qiE 'unrecogni|unknown|invalid|usage|not valid|ambiguous'; then
    filter=("$option" kns=planet)
    break
  fi
done
echo "kernels: ${filter[*]:-all}"

export PYTORCH_NO_CUDA_MEMORY_CACHING=1
tools=(memcheck synccheck initcheck)
ids=()
for tool in "${tools[@]}"; do
  compute-sanitizer --tool "$tool" "${filter[@]}" --error-exitcode 9 \
    "$python" "$smoke" --repeats 1 >"$logs/$tool.log" 2>&1 &
  ids+=($!)
done
bad=0
for i in "${!tools[@]}"; do
  wait "${ids[$i]}"
  status=$?
  echo "-- ${tools[$i]}: exit status $status"
  tail -n 6 "$logs/${tools[$i]}.log"
  [ $status = 0 ] || bad=1
done
exit $bad
