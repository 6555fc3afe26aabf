#!/usr/bin/env bash
# All programs of the bridge, one after another; one that fails does not keep the others from running.
# bench/bridge/all.sh [embedded|9b] [cpu|cuda]; `9b` needs two GPUs.
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
model=${1:-embedded}
device=${2:-cpu}
failed=0
bench() {
  printf '\n--- %s\n' "$*"
  local name=$1
  shift
  local begun=$SECONDS
  timeout 400 node --import tsx "bench/bridge/$name.ts" "$@" || failed=1
  echo "$((SECONDS - begun)) s"
}

bench tokens
bench tokens --pause-ms 1
bench picture
bench idle
bench streams --model "$model" --device "$device"
bench workers --model "$model" --device "$device"
exit $failed
