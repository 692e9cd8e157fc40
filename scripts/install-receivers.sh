#!/usr/bin/env bash
# Installs what the examples import, so that the tests can run them: npm packages beside the Node ones, and a virtual
# environment in target/python for the Python one and for what judges results in tests. Quick when it was done before
# and the lists are unchanged.
set -euo pipefail
cd "$(dirname "$0")/.."

for node in examples/receivers/node examples/uploads/node; do
  if ! cmp -s "$node/package-lock.json" "$node/node_modules/.installed"; then
    echo "Installing the packages of $node"
    (cd "$node" && npm ci --loglevel=error >/dev/null)
    cp "$node/package-lock.json" "$node/node_modules/.installed"
  fi
done

wanted=(examples/receivers/python/requirements.txt crates/testkit/requirements.txt)
venv=target/python
if ! cat "${wanted[@]}" | cmp -s - "$venv/.installed"; then
  echo "Installing the Python receiver's packages and those of tests"
  python3 -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${wanted[@]/#/--requirement=}"
  cat "${wanted[@]}" >"$venv/.installed"
fi
