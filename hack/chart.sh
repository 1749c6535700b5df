#!/usr/bin/env bash
# The chart passes helm lint, and its tests that need no cluster.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v helm >/dev/null || ! command -v kubectl >/dev/null; then
  PATH="$(e2e/cluster/build.sh | tail -n 1):$PATH"
  export PATH
fi
helm lint --strict charts/launchway
cargo test --profile quick --locked --workspace --test chart
