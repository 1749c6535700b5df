#!/usr/bin/env bash
# model.sh [small] [mutants] [large]: visits every order of events in worlds of one to three executions (model/), and
# prints how many states there are. small takes minutes, mutants are planners with one defect each, large takes long;
# without a word all of them. The crate stands apart: see model/Cargo.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/model"
cd model
exec cargo run --locked -- "$@"
