# shellcheck shell=bash
# A runtime that keeps the contract of an AEM base image and starts in a moment: for tests of everything around it.

build_standin() {
  local key tar base files
  tar=$(rootfs standin essential python3,ca-certificates "$PASSWD_HOOK")
  base=$(base_layout standin "$(basename "$tar" .tar | cut -d- -f2)" "$tar")
  key=$( { tree_key "$IMAGES_DIR/standin" "$IMAGES_DIR/lib.sh"; basename "$base"; } | sha256sum | cut -c1-16)
  files=$(mktemp -d)
  cp -a "$IMAGES_DIR/standin/rootfs/." "$files/"
  mkdir -p "$files/opt/launchway/install" "$files/opt/launchway/data"
  finish standin "$key" "$base" "$files" \
    --config.user "$RUN_UID:$RUN_UID" --config.workingdir / --config.entrypoint /opt/launchway/bin/start \
    --config.exposedports 8080/tcp --config.stopsignal SIGTERM \
    --config.env PATH=/usr/local/bin:/usr/bin:/bin --config.env LANG=C.UTF-8 --config.env TZ=UTC \
    --config.label dev.launchway.contract=1 --config.label dev.launchway.tier=aem --config.label dev.launchway.port=8080 \
    --config.label dev.launchway.install-path=/opt/launchway/install \
    --config.label dev.launchway.index-path=/opt/launchway/packages.json \
    --config.label dev.launchway.data-path=/opt/launchway/data \
    --config.label dev.launchway.writable-paths=/tmp \
    --config.label dev.launchway.http.ready=/system/probes/ready --config.label dev.launchway.http.live=/system/probes/live
  rm -rf "$files"
}
