#!/bin/sh
# In the place of the interpreter that workers are started with: the worker's own process, with an engine of the bench.
exec "$GLIMPSE_BENCH_PYTHON" -P -W ignore::DeprecationWarning -m bench.bridge.worker
