#!/usr/bin/env bash
# Builds every program of the local cluster from pinned Go modules; prints the folder that holds them, alone, as the
# last line. A second run finds them in the cache.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=toolchain.sh
source "$CLUSTER_DIR/toolchain.sh"

KUBERNETES=v1.36.3
CONTAINERD=v2.4.2
HELM=v4.3.1

cache_key() {
  (
    cd "$CLUSTER_DIR"
    find modules -mindepth 2 -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    sha256sum build.sh | cut -d' ' -f1
    uname -m
  ) | sha256sum | cut -c1-16
}

# part NAME MODULE ABOUT COMMAND...: builds once, then leaves a stamp.
part() {
  local name="$1" module="$2" about="$3" started
  shift 3
  if [[ -f "$DEST/.done-$name" ]]; then return 0; fi
  say "building $name ($about from an empty Go cache on 2 cores)"
  started=$SECONDS
  (cd "$CLUSTER_DIR/modules/$module" && "$@") || die "building $name failed; the Go output above says why"
  touch "$DEST/.done-$name"
  say "built $name in $((SECONDS - started)) s"
}

kubernetes_ldflags() {
  local flags="-s -w" package
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$KUBERNETES -X $package.gitMajor=1 -X $package.gitMinor=36 -X $package.gitTreeState=clean"
  done
  echo "$flags"
}

main() {
  local root
  root="$CLUSTER_CACHE/$(cache_key)"
  DEST="$root/bin"
  ensure_packages
  if [[ ! -f "$DEST/.complete" ]]; then
    mkdir -p "$DEST"
    exec 8>"$root/lock"
    flock -w 3600 8 || die "another build has held $root/lock for an hour; look for it with: fuser $root/lock"
    ensure_registry "$DEST"
    ensure_go
    export CGO_ENABLED=0 GOBIN="$DEST" GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false"
    part etcd etcd "25 s" go build -trimpath -ldflags "-s -w" -o "$DEST/etcd" .
    part kubernetes kubernetes "7 minutes" go install -trimpath -ldflags "$(kubernetes_ldflags)" tool
    part containerd containerd "50 s" go install -trimpath -tags no_btrfs,no_zfs,no_devmapper,no_aufs \
      -ldflags "-s -w -X github.com/containerd/containerd/v2/version.Version=$CONTAINERD" tool
    part coredns coredns "75 s" go build -trimpath -ldflags "-s -w" -o "$DEST/coredns" .
    part pause pause "3 s" go build -trimpath -ldflags "-s -w" -o "$DEST/pause" .
    part helm helm "2 minutes" go install -trimpath \
      -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$HELM" tool
    touch "$DEST/.complete"
  fi
  echo "$DEST"
}

main "$@"
