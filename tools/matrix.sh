#!/usr/bin/env bash
# Runs the whole test suite with each Python that is named, in a clone of its own: tools/matrix.sh python3.10 python3.12
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
failed=0
for python in "$@"; do
  version=$("$python" -c 'import platform; print(platform.python_version())') || exit 2
  clone="$place/$version"
  git clone --quiet . "$clone"
  echo "Python $version: $(git rev-parse --short HEAD)"
  if (cd "$clone" && make setup PYTHON="$python" && .venv/bin/ros-env python -m pytest -q); then
    echo "Python $version: passed"
  else
    echo "Python $version: failed"
    failed=1
  fi
  rm -rf "$clone"
done
exit $failed
