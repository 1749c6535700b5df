#!/usr/bin/env bash
# Builds Flux's source controller from pinned Go modules; prints the folder that holds it, as source-controller beside the
# folder crds of the same version, as the last line. A second run finds both in the cache.
set -euo pipefail
FLUX_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=../cluster/lib.sh
source "$FLUX_DIR/../cluster/lib.sh"
# shellcheck source=../cluster/toolchain.sh
source "$CLUSTER_DIR/toolchain.sh"

MODULE=github.com/fluxcd/source-controller

say() { printf 'flux: %s\n' "$*" >&2; }

cache_key() {
  (
    cd "$FLUX_DIR"
    sha256sum build.sh go.mod go.sum
    uname -m
  ) | sha256sum | cut -c1-16
}

main() {
  local dest source started
  dest="$(dirname "$CLUSTER_CACHE")/flux/$(cache_key)"
  mkdir -p "$dest"
  exec 8>"$dest/lock"
  flock -w 1800 8 || die "another build has held $dest/lock for half an hour; look for it with: fuser $dest/lock"
  if [[ ! -f "$dest/.complete" ]]; then
    ensure_go
    export CGO_ENABLED=0 GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false"
    cd "$FLUX_DIR"
    say "building the source controller (5 minutes from an empty Go cache on 2 cores, 2 GB of modules)"
    started=$SECONDS
    go build -trimpath -ldflags "-s -w" -o "$dest/source-controller" "$MODULE" ||
      die "the source controller could not be built; the Go output above says why"
    source="$(go list -m -f '{{.Dir}}' "$MODULE")"
    rm -rf "$dest/crds"
    mkdir "$dest/crds"
    # A module's files come read-only.
    install -m 644 "$source"/config/crd/bases/*.yaml "$dest/crds/"
    touch "$dest/.complete"
    say "built in $((SECONDS - started)) s"
  fi
  echo "$dest"
}

main "$@"
