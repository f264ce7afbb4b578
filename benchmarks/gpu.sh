#!/usr/bin/env bash
# Everything that docs/gpu.md reports, in less than 8 minutes: the tests marked "cuda" and the training speed.
#
#   benchmarks/gpu.sh [cuda|cpu] [FOLDER] [PART ...]
#
# Each part has a time limit, and the next one runs if it fails. FOLDER gets a log as it goes, a line of parts.jsonl for
# each part that ended, and the figures of each setting. "cpu" rehearses: it records no graphs, and its figures mean
# nothing. Without PART, all parts run.
set -u
device=${1:-cuda} folder=$(realpath -m "${2:-gpu_results}") python=${PYTHON:-python3}
shift $(($# < 2 ? $# : 2))
wanted="$*" failed=0
case $device in
    cuda) turns=(--rounds 3 --seconds 1) slack=1 ;;
    cpu) turns=(--rounds 1 --seconds 0.1) slack=8 ;;
    *) sed -n '4s/# *//p' "$0" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.." && mkdir -p "$folder" || exit
export PYTHONUNBUFFERED=1 PYTHONPATH=$PWD
if [ -d gpu_wheels ]; then # from `make gpu_wheels`, for a machine without a network
    packages=$(mktemp -d)
    "$python" -m pip install --quiet --no-index --no-deps --target "$packages" gpu_wheels/*.whl || exit
    PYTHONPATH=$PWD:$packages
fi

# part NAME SECONDS COMMAND ...
part() {
    local name=$1 limit=$(($2 * slack)) start=$SECONDS
    [[ -z $wanted || " $wanted " == *" $name "* ]] || return
    shift 2
    echo "== $name" | tee --append "$folder/log"
    timeout --kill-after 5 "$limit" "$@" 2>&1 | tee --append "$folder/log"
    local status=${PIPESTATUS[0]}
    echo "{\"part\": \"$name\", \"status\": $status, \"seconds\": $((SECONDS - start))}" >>"$folder/parts.jsonl"
    [ "$status" = 0 ] || failed=1
}

[ "$device" = cpu ] || part card 30 nvidia-smi
part versions 30 "$python" -c 'import json; from benchmarks.conditions import conditions; print(json.dumps(conditions()))'
# -W: other versions of the packages may warn, which is no failure of a test
part tests 150 "$python" -m pytest -m cuda --gpu "$device" -n 0 -v -rs -W default -p no:cacheprovider --durations 10 \
    tests/algorithms/tda2c/test_cuda.py tests/export/test_export.py
for setting in gpu-mlp-{16,256,4096} gpu-images-{8,64,256}; do
    part "$setting" 45 "$python" -m benchmarks.speed throughput --device "$device" --setting "$setting" "${turns[@]}" \
        --output "$folder"
done
cat "$folder/parts.jsonl"
exit $failed
