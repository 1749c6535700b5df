#!/usr/bin/env bash
# generated.sh [--check]: writes the CRDs and docs/api.md from the Rust types, the chart's copy of the CRDs, and config/
# from the chart.
# With --check nothing is written, and a difference is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Built with the whole workspace: alone it would have other features, and compile its dependencies once more.
crds() {
  cargo build --quiet --profile quick --locked --workspace --bin crdgen --bin apidoc
  "${CARGO_TARGET_DIR:-target}/quick/crdgen" "$1" >/dev/null
}

api_page() {
  "${CARGO_TARGET_DIR:-target}/quick/apidoc"
}

main() {
  local scratch
  if ! command -v helm >/dev/null; then
    PATH="$(e2e/cluster/build.sh | tail -n 1):$PATH"
    export PATH
  fi
  case "${1:-}" in
    "")
      crds crds/yaml
      api_page >docs/api.md
      config/generate.sh
      ;;
    --check)
      scratch="$(mktemp -d)"
      # shellcheck disable=SC2064 # the folder's name is known now and local to this function
      trap "rm -rf '$scratch'" EXIT
      crds "$scratch"
      diff -r crds/yaml "$scratch" || {
        echo "crds/yaml is not what the Rust types say: run make generate and commit the result" >&2
        exit 1
      }
      api_page | diff docs/api.md - || {
        echo "docs/api.md is not what the Rust types say: run make generate and commit the result" >&2
        exit 1
      }
      config/generate.sh --check
      ;;
    *) echo "usage: hack/generated.sh [--check]" >&2; exit 2 ;;
  esac
}

main "$@"
