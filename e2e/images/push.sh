#!/usr/bin/env bash
# push.sh NAME REGISTRY: puts the image that build.sh made last into a registry that speaks plain HTTP.
# Its only line on stdout is the pinned reference REGISTRY/launchway/NAME@sha256:…
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
  [ $# -eq 2 ] || die "usage: $0 NAME REGISTRY"
  local name=$1 registry=$2 layout digest reference
  layout=$CACHE_DIR/$name/current
  [ -e "$layout/index.json" ] || die "image $name is not built: run $IMAGES_DIR/build.sh $name first"
  need skopeo=skopeo jq=jq
  digest=$(jq -r '.manifests[0].digest' "$layout/index.json")
  reference=$registry/launchway/$name
  if ! timeout 20 skopeo inspect --raw --tls-verify=false "docker://$reference@$digest" >/dev/null 2>&1; then
    say "$name: pushing to $registry (1 to 30 s)"
    timeout 600 skopeo --insecure-policy copy --quiet --preserve-digests --dest-tls-verify=false \
      "oci:$layout:img" "docker://$reference:$(basename "$(readlink -f "$layout")")" >&2 \
      || die "cannot push $name to $registry: is the registry up and does it speak plain HTTP?"
  fi
  printf '%s@%s\n' "$reference" "$digest"
}

main "$@"
