#!/usr/bin/env bash
# Builds runtime base images as OCI layouts:  build.sh sling standin httpd tester,  build.sh operator --binary PATH
# Prints one line per image: NAME LAYOUT DIGEST. A second run with the same inputs changes nothing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  die "usage: $0 [sling|standin|httpd|tester|builder|git|operator --binary PATH]…"
}

main() {
  local names=() binary='' name layout
  while [ $# -gt 0 ]; do
    case $1 in
      sling | standin | httpd | tester | builder | git | operator) names+=("$1") ;;
      --binary) binary=${2:?--binary needs a path}; shift ;;
      *) usage ;;
    esac
    shift
  done
  [ ${#names[@]} -gt 0 ] || usage
  need mmdebstrap=mmdebstrap umoci=umoci jq=jq
  for name in "${names[@]}"; do
    # shellcheck source=/dev/null
    . "$IMAGES_DIR/$name/image.sh"
    layout=$(BINARY=$binary "build_$name")
    printf '%s %s %s\n' "$name" "$layout" "$(jq -r '.manifests[0].digest' "$layout/index.json")"
  done
}

main "$@"
