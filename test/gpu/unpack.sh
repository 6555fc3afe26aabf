#!/usr/bin/env bash
# On the GPU machine: makes a checkout of what pack.sh has packed, and names it on stdout.
# test/gpu/unpack.sh PACKED DIRECTORY; then `. DIRECTORY/environment` puts node and the wheels in place.
set -euo pipefail
packed=$(readlink -f "$1")
mkdir -p "$2"
cd "$2"
for archive in source packages zeromq; do tar -xJf "$packed/$archive.tar.xz" & done
mkdir -p bin && xz -dc "$packed/node.xz" > bin/node && chmod +x bin/node
wait
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target site "$packed"/wheels/*.whl
cat > environment <<END
export PATH=$PWD/bin:\$PATH PYTHONPATH=$PWD/site GLIMPSE_PYTHON=$(command -v python3)
END
echo "$PWD"
