#!/usr/bin/env bash
# Compiles Launchway and starts the demo, which goes on from there (e2e/src/bin/demo.rs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
echo "Launchway demo: real packages become images, run on stage, are tested, approved, and run in production."
echo
echo "[1/9] compile  (operator, kubectl plugin and demo: 6 minutes on 2 cores the first time, then seconds)"
began=$SECONDS
"${CARGO:-cargo}" build --profile quick --locked --workspace --bins || {
  echo "The demo stopped: it does not compile. The compiler says why above; crates come from the registry that cargo is configured for." >&2
  exit 1
}
export LAUNCHWAY_COMPILED_IN=$((SECONDS - began)) LAUNCHWAY_BINARY="${LAUNCHWAY_BINARY:-$target/quick/launchway}"
exec "$target/quick/demo" "$@"
