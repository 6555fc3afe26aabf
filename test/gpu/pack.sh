#!/usr/bin/env bash
# For a GPU machine without a network, without Node: what Glimpse needs there, in one directory of about 40 MB.
# test/gpu/pack.sh DIRECTORY, in a checkout whose packages are installed; there: test/gpu/unpack.sh.
# Taken along: HEAD without the training of the embedded model, Node itself, the packages that run, and wheels for its
# Python (PYTHON_VERSION, default 3.12), which has torch, transformers and their needs.
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..
out=$(mkdir -p "$1" && readlink -f "$1")
cd "$root"
python=$(node test/prepare.mjs)

git archive HEAD -- . ':!models/training' ':!models/evaluation' | xz -T0 > "$out/source.tar.xz"
[[ -f $out/node.xz ]] || xz -T0 -c "$(readlink -f "$(command -v node)")" > "$out/node.xz"

# The packages of the library and of tsx, with zeromq's build for this platform only.
system=$(node -p 'process.platform + "-" + process.arch')
packages=$(node -p '
  const { packages } = require("./package-lock.json");
  const tools = ["tsx", "esbuild", `@esbuild/${process.argv[1]}`].map((name) => `node_modules/${name}`);
  const runs = Object.keys(packages).filter((name) => name && !packages[name].dev);
  [...new Set([...runs, ...tools])].filter(fs.existsSync).join(" ")' "$system")
tar -c --dereference --exclude='*.map' --exclude='zeromq/build/*' $packages | xz -T0 > "$out/packages.tar.xz"
tar -c node_modules/zeromq/build/manifest.json "node_modules/zeromq/build/${system/-//}" |
  xz -T0 > "$out/zeromq.tar.xz"

"$python" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
  --python-version "${PYTHON_VERSION:-3.12}" --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
  -d "$out/wheels" $("$python" -m pip freeze | grep -E '^(pyzmq|msgspec)==')
du -sh "$out"
