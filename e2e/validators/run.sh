#!/usr/bin/env bash
# run.sh [--cosign]: builds a signed release of a small site and lets other tools judge it.
# Needs a minute after the first time, which builds crane and fetches the schemas; --cosign builds cosign too (minutes).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$here/../.."
cache="$(realpath -m "${LAUNCHWAY_CACHE:-$HOME/.cache/launchway}/validators")"
launchway="${LAUNCHWAY_BINARY:-${CARGO_TARGET_DIR:-$root/target}/quick/launchway}"
work="$(mktemp -d)"
registry=""

# shellcheck source=../cluster/lib.sh
source "$root/e2e/cluster/lib.sh"
# shellcheck source=../cluster/toolchain.sh
source "$root/e2e/cluster/toolchain.sh"

part() { printf '\n== %s\n' "$*"; }
# The registry is ours: it ends with us.
finish() { if [[ -n "$registry" ]]; then kill "$registry" 2>/dev/null || true; fi; rm -rf "$work"; }
trap finish EXIT

install_packages() {
  local pair missing=()
  for pair in skopeo=skopeo umoci=umoci openssl=openssl curl=curl jq=jq; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  if ((${#missing[@]})); then apt_install "${missing[@]}"; fi
}

prepare() {
  mkdir -p "$cache"
  [[ -x "$launchway" ]] || die "no launchway at $launchway: run make validate-image, or set LAUNCHWAY_BINARY"
  install_packages
  ensure_registry "$cache"
  go_tool "$here/modules/crane" "$cache"
  if [[ ! -e "$cache/python/$(sha256sum "$here/requirements.txt" | cut -c1-16)" ]]; then
    part "fetching the schemas"
    rm -rf "$cache/python"
    python3 -m venv "$cache/python"
    "$cache/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    touch "$cache/python/$(sha256sum "$here/requirements.txt" | cut -c1-16)"
  fi
  PATH="$cache:$PATH"
}

start_registry() {
  local port
  port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
  host="127.0.0.1:$port"
  cat >"$work/registry.yml" <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "$host"}
YAML
  docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  registry=$!
  for _ in $(seq 100); do curl -fs "http://$host/v2/" >/dev/null && return 0; sleep 0.1; done
  die "docker-registry did not start: $(cat "$work/registry.log")"
}

# base TIER LABEL...: a base image made by another tool.
base() {
  local tier="$1" label layout="$work/base-$1" options=()
  shift
  for label in "contract=1" "tier=$tier" "command.ready=[\"/ready\"]" "$@"; do
    options+=(--config.label "dev.launchway.$label")
  done
  umoci init --layout "$layout"
  umoci new --image "$layout:img"
  echo "$tier" >"$work/$tier.txt"
  umoci insert --rootless --image "$layout:img" "$work/$tier.txt" "/$tier.txt"
  umoci config --image "$layout:img" --config.user 1000:1000 "${options[@]}"
}

# referrer TYPE FILE: the content of the only referrer of a type, found by the fallback tag.
referrer() {
  local digest blob
  digest="$(crane manifest "$host/images:sha256-${release#sha256:}" |
    jq -er --arg type "$1" '[.manifests[] | select(.artifactType == $type)] | if length == 1 then .[0].digest else error("not one") end')"
  blob="$(crane manifest "$host/images@$digest" | jq -er '.layers[0].digest')"
  crane blob "$host/images@$blob" >"$2"
}

# build TAG OPTION...: the signed release, and what was printed of it in built.json.
build() {
  local tag="$1"
  shift
  "$launchway" image build "$work/target" --to "$host/images:$tag" --plain-http "$host" --sign-key "$work/key.pem" -o json \
    --base-aem "oci:$work/base-aem:img" --base-dispatcher "oci:$work/base-dispatcher:img" "$@" >"$work/built.json"
  release="$(jq -er .release "$work/built.json")"
}

# judge_images [OPTION...]: of crane validate.
judge_images() {
  local tier digest copied
  rm -rf "$work"/layout "$work"/flat "$work"/unpacked-*
  for tier in aem dispatcher; do
    digest="$(jq -er ".$tier" "$work/built.json")"
    crane validate "$@" --remote "$host/images@$digest"
  done
  crane validate "$@" --remote "$host/images@$release"
  skopeo copy --quiet --all --preserve-digests --src-tls-verify=false "docker://$host/images@$release" "oci:$work/layout:release"
  copied="$(jq -er '.manifests[0].digest' "$work/layout/index.json")"
  [[ "$copied" == "$release" ]] || die "skopeo copied $copied, not $release"
  echo "ok skopeo copies the release digest for digest"
  for tier in aem dispatcher; do
    digest="$(jq -er ".$tier" "$work/built.json")"
    skopeo copy --quiet --preserve-digests --src-tls-verify=false "docker://$host/images@$digest" "oci:$work/flat:$tier"
    umoci unpack --rootless --image "$work/flat:$tier" "$work/unpacked-$tier"
  done
  jq -e '.packages | length == 4' "$work/unpacked-aem/rootfs/opt/launchway/packages.json" >/dev/null
  [[ -L "$work/unpacked-dispatcher/rootfs/etc/httpd/conf.d/enabled_vhosts/a.vhost" ]]
  echo "ok umoci unpacks both images"
}

judge_documents() {
  referrer application/vnd.cyclonedx+json "$work/sbom.json"
  referrer application/vnd.in-toto+json "$work/provenance.json"
  referrer application/vnd.dev.sigstore.bundle.v0.3+json "$work/bundle.json"
  "$cache/python/bin/python" "$here/schemas.py" "$work/sbom.json" "$work/provenance.json" "$work/bundle.json"
  openssl dgst -sha256 -verify "$work/key.pub" -signature "$work/bundle.json.signature" "$work/bundle.json.message"
  "$launchway" verify "$host/images@$release" "$work/target" --plain-http "$host" --key "$work/key.pub" \
    --base-aem "oci:$work/base-aem:img" --base-dispatcher "oci:$work/base-dispatcher:img"
}

judge_with_cosign() {
  go_tool "$here/modules/cosign" "$cache"
  cosign verify-attestation --new-bundle-format --key "$work/key.pub" --insecure-ignore-tlog --type slsaprovenance1 \
    --allow-http-registry "$host/images@$release" >"$work/cosign.json"
  echo "ok cosign verifies the attestation"
}

main() {
  prepare
  start_registry
  part "a signed release"
  mkdir "$work/target"
  python3 "$here/fixture.py" "$work/target"
  base aem port=8080 install-path=/opt/launchway/install index-path=/opt/launchway/packages.json data-path=/opt/launchway/data
  base dispatcher port=80 config-path=/etc/httpd
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key.pem"
  openssl pkey -in "$work/key.pem" -pubout -out "$work/key.pub"
  build v1
  part "images"
  judge_images
  part "documents"
  judge_documents
  if [[ "${1:-}" == --cosign ]]; then
    part "cosign"
    judge_with_cosign
  fi
  part "the same with layers that are plain tars"
  build tar --tar-layers
  jq -e '[.layers[] | .digest == .diffId] | all' "$work/built.json" >/dev/null
  # Whole, crane takes every layer for a gzip ("gzip: invalid header"); skopeo and umoci read the layers.
  judge_images --fast
  judge_documents
  part "every tool agrees"
}

main "$@"
