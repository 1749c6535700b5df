#!/usr/bin/env bash
# What needs no cluster, no network and no other program: the unit tests, and the integration tests that are quick.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=(--profile quick --locked --workspace)
# Those that need a registry, a cluster or other programs are named in hack/test.sh.
quick=(documents generated structure packages_doc conformance determinism fixtures hostile_registry hostile_sinks hostile_zips corpus order_oracle model)

"${CARGO:-cargo}" test "${build[@]}" --lib --bins
"${CARGO:-cargo}" test "${build[@]}" --exclude launchway-e2e "${quick[@]/#/--test=}"
