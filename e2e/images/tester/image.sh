# shellcheck shell=bash
# A custom test for pipelines: curl, sh, one request, one verdict.

build_tester() {
  local key tar base
  tar=$(rootfs tester essential curl,ca-certificates "$PASSWD_HOOK")
  base=$(base_layout tester "$(basename "$tar" .tar | cut -d- -f2)" "$tar")
  key=$( { tree_key "$IMAGES_DIR/tester" "$IMAGES_DIR/lib.sh"; basename "$base"; } | sha256sum | cut -c1-16)
  finish tester "$key" "$base" "$IMAGES_DIR/tester/rootfs" \
    --config.user "$RUN_UID:$RUN_UID" --config.workingdir / \
    --config.env PATH=/usr/local/bin:/usr/bin:/bin --config.cmd /usr/local/bin/launchway-test \
    --config.label dev.launchway.image=tester
}
