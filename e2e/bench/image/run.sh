#!/usr/bin/env bash
# Compares our image builds with crane, skopeo and buildah on one registry in memory. Options go to bench.py:
# --rounds N, --cases one,unchanged, --only job,crane, --json FILE. LAUNCHWAY names another binary to measure, with
# examples/push_layer beside it.
set -euo pipefail
BENCH_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=../../cluster/lib.sh
source "$BENCH_DIR/../../cluster/lib.sh"
# shellcheck source=../../cluster/toolchain.sh
source "$BENCH_DIR/../../cluster/toolchain.sh"

tools() {
  local pair missing=()
  for pair in skopeo=skopeo buildah=buildah python3=python3 curl=curl; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [[ -x /usr/bin/time ]] || missing+=(time)
  if ((${#missing[@]} > 0)); then apt_install "${missing[@]}"; fi
}

main() {
  local bin binary="${LAUNCHWAY:-${CARGO_TARGET_DIR:-target}/release/launchway}"
  [[ -x "$binary" ]] || die "no binary at $binary: make bench-image builds it"
  tools
  bin="$CLUSTER_CACHE/bench"
  mkdir -p "$bin"
  ensure_registry "$bin"
  go_tool "$BENCH_DIR/../../validators/modules/crane" "$bin"
  stay_local
  {
    echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(awk '/MemTotal/ {printf "%d GiB", $2 / 1048576}' /proc/meminfo), Linux $(uname -r)"
    echo "docker-registry $("$bin/docker-registry" --version | awk '{print $3}'), storage on tmpfs; crane $("$bin/crane" version), $(skopeo --version), $(buildah --version | cut -d' ' -f1-3)"
    echo
  }
  PYTHONDONTWRITEBYTECODE=1 python3 "$BENCH_DIR/bench.py" --launchway "$(realpath "$binary")" \
    --push-layer "$(dirname "$(realpath "$binary")")/examples/push_layer" --registry "$bin/docker-registry" --crane "$bin/crane" "$@"
}

main "$@"
