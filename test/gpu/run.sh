#!/usr/bin/env bash
# On a GPU machine: a checkpoint in the published layout, loaded by launch(), against a plain transformers script.
# test/gpu/run.sh PYTHON PARITY.js [DIRECTORY]; `npx tsc -p test/gpu` makes it: dist-gpu/test/gpu/parity.js.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
python=$1
parity=$2
directory=${3:-$(mktemp -d)}
time "$python" "$here/make_checkpoint.py" "$directory/checkpoint"
"$python" "$here/make_requests.py" "$directory/requests"
PYTHONPATH=$here/../../python-worker:${PYTHONPATH-} "$python" "$here/pixels.py" "$directory/checkpoint" "$directory/requests"
requests=$directory/requests/requests.json
for dtype in float32 bfloat16; do
  "$python" "$here/plain_script.py" "$directory/checkpoint" "$requests" "$directory/$dtype.json" "$dtype"
  GLIMPSE_PYTHON=$python node "$parity" "$directory/checkpoint" "$requests" "$directory/$dtype.json" "$dtype"
done
