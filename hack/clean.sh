#!/usr/bin/env bash
# Stops the local cluster and removes everything that was built: its state, the caches, cargo's target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache="${LAUNCHWAY_CACHE:-$HOME/.cache/launchway}"
if [[ -d "$cache/cluster" ]]; then e2e/cluster/down.sh; fi
cargo clean
rm -rf "$cache"
echo "removed $cache: the next run builds everything again"
