#!/usr/bin/env bash
# Writes artifacts.list anew: run it only after feature.jq or the Starter's version changed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
. "$IMAGES_DIR/sling/artifacts.sh"

STARTER=org.apache.sling:org.apache.sling.starter:12:oak_tar@slingosgifeature
LAUNCHER=org.apache.sling:org.apache.sling.feature.launcher:1.3.4@tar.gz

main() {
  local work feature spec specs=("$STARTER" "$LAUNCHER")
  need jq=jq
  work=$(mktemp -d)
  fetch_artifacts "$work" "$STARTER"
  feature=$(jq -f "$IMAGES_DIR/sling/feature.jq" "$work/$(artifact_path "$STARTER")")
  mapfile -t -O 2 specs < <(jq -r '(.bundles[].id, ."execution-environment:JSON|false".framework.id) + "@jar"' <<<"$feature" | LC_ALL=C sort -u)
  fetch_artifacts "$work" "${specs[@]}"
  for spec in "${specs[@]}"; do
    printf '%s %s\n' "$(sha256sum <"$work/$(artifact_path "$spec")" | cut -d' ' -f1)" "$spec"
  done >"$IMAGES_DIR/sling/artifacts.list"
  rm -rf "$work"
  say "pinned $(wc -l <"$IMAGES_DIR/sling/artifacts.list") artifacts"
}

main "$@"
