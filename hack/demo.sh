#!/usr/bin/env bash
# Compiles Launchway and starts the demo, which goes on from there (e2e/src/bin/demo.rs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="${CARGO_TARGET_DIR:-target}"
echo "Launchway: compiling the operator, its kubectl plugin and the demo (about 6 minutes on 2 cores the first time, then seconds)"
began=$SECONDS
"${CARGO:-cargo}" build --release --locked --workspace --bins
export LAUNCHWAY_COMPILED_IN=$((SECONDS - began))
exec "$target/release/demo" "$@"
