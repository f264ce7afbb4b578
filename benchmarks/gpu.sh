#!/usr/bin/env bash
# Everything that docs/gpu.md reports, limited to 8 minutes: the tests marked "cuda" and the training speed.
#
#   benchmarks/gpu.sh cuda|cpu FOLDER [PART ...]
#
# Each part has a time limit, and the next one runs if it fails. FOLDER gets a log as it goes, with a line of JSON for
# each turn of a measurement, a line of parts.jsonl for each part that ended, and the figures of each setting. "cpu"
# rehearses: it records no graphs, and its figures mean nothing. Without PART, all parts run.
set -u
settings=$(echo gpu-mlp-{16,256,4096} gpu-images-{8,64,256})
known="machine versions autograd graphs $settings"
usage() {
    sed -n '4s/# *//p' "$0"
    echo "parts: $known"
    exit 2
} >&2

[ $# -ge 2 ] || usage
device=$1 folder=$(realpath -m "$2") python=${PYTHON:-python3}
shift 2
wanted=" ${*:-$known} " failed=0
for name in $wanted; do [[ " $known " == *" $name "* ]] || usage; done
case $device in
    cuda) turns=(--rounds 3 --seconds 1) slack=1 ;;
    cpu) turns=(--rounds 1 --seconds 0.1) slack=8 ;;
    *) usage ;;
esac
cd "$(dirname "$0")/.." && mkdir -p "$folder" || exit
export PYTHONUNBUFFERED=1 PYTHONPATH=$PWD
if [ -d gpu_wheels ]; then # from `make gpu_wheels`, for a machine without a network
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --target "$packages" gpu_wheels/*.whl || exit
    PYTHONPATH=$PWD:$packages
fi
if [ "$device" = cuda ]; then
    "$python" -c 'import sys, torch; torch.cuda.is_available() or sys.exit("PyTorch finds no GPU")' || exit
    "$python" -c 'import gymnasium, sb3_contrib, stable_baselines3' || { echo "what to install: docs/gpu.md" >&2; exit 1; }
fi

# part NAME SECONDS COMMAND ...
part() {
    local name=$1 limit=$(($2 * slack)) start=$SECONDS status
    [[ $wanted == *" $name "* ]] || return
    shift 2
    echo "== $name" | tee --append "$folder/log"
    # on SIGINT, Python reports what it has
    timeout --signal INT --kill-after 5 "$limit" "$@" 2>&1 | tee --append "$folder/log"
    status=${PIPESTATUS[0]}
    echo "{\"part\": \"$name\", \"device\": \"$device\", \"status\": $status, \"seconds\": $((SECONDS - start))}" |
        tee --append "$folder/parts.jsonl"
    [ "$status" = 0 ] || failed=1
}

# tests NAME EXPRESSION; other versions of the packages may warn (-W), which is no failure of a test
tests() {
    part "$1" 70 "$python" -m pytest -m cuda --gpu "$device" -k "$2" -n 0 -v -rs -W default -p no:cacheprovider \
        -o faulthandler_timeout=30 tests/algorithms/tda2c/test_cuda.py tests/export/test_export.py
}

part machine 20 "$python" -m torch.utils.collect_env
part versions 20 "$python" -c 'import json; from benchmarks.conditions import conditions; print(json.dumps(conditions()))'
# in two processes, since a failure of a graph may break what follows
tests autograd "not (graph or [cuda or -cuda)"
tests graphs "graph or [cuda or -cuda"
for setting in $settings; do
    part "$setting" 40 "$python" -m benchmarks.speed throughput --device "$device" --setting "$setting" "${turns[@]}" \
        --output "$folder"
done
exit $failed
