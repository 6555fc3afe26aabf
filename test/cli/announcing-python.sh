#!/bin/sh
# Becomes $REAL_PYTHON, and says under which pid if it is to be a worker.
case "$*" in
  *glimpse_worker*) echo "pid=$$" >&2 ;;
esac
exec "$REAL_PYTHON" "$@"
