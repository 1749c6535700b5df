# shellcheck shell=bash
# Apache Sling on a Debian JRE: author or publish by run mode, every artifact inside, so it starts offline.

build_sling() {
  local key base_key tar base work repository files starter launcher
  . "$IMAGES_DIR/sling/artifacts.sh"
  tar=$(rootfs sling essential openjdk-17-jre-headless,ca-certificates,curl,jq "$PASSWD_HOOK")
  base_key=$( { cat "$IMAGES_DIR/sling/artifacts.list" "$IMAGES_DIR/sling/artifacts.sh"; basename "$tar"; } | sha256sum | cut -c1-16)
  key=$( { tree_key "$IMAGES_DIR/common" "$IMAGES_DIR/sling" "$IMAGES_DIR/lib.sh"; printf '%s\n' "$base_key"; } | sha256sum | cut -c1-16)
  starter=org.apache.sling:org.apache.sling.starter:12:oak_tar@slingosgifeature
  launcher=org.apache.sling:org.apache.sling.feature.launcher:1.3.4@tar.gz
  repository=$CACHE_DIR/maven-$(sha256sum <"$IMAGES_DIR/sling/artifacts.list" | cut -c1-16)

  if [ ! -e "$CACHE_DIR/base/sling-$base_key/index.json" ] || [ ! -e "$CACHE_DIR/sling/$key/index.json" ]; then
    if [ ! -e "$repository/.complete" ]; then
      say "sling: fetching $(wc -l <"$IMAGES_DIR/sling/artifacts.list") artifacts, 117 MB, with Maven (10 to 60 s)"
      pinned_artifacts "$repository"
      touch "$repository/.complete"
    fi
    work=$(mktemp -d)
    mkdir -p "$work/opt/launchway/sling/launcher" "$work/opt/launchway/sling/repository"
    tar -xzf "$repository/$(artifact_path "$launcher")" -C "$work/opt/launchway/sling/launcher" --strip-components=1
    cp -al "$repository/." "$work/opt/launchway/sling/repository/"
    rm -rf "$work/opt/launchway/sling/repository/.complete" "$work/opt/launchway/sling/repository/org/apache/sling/org.apache.sling."{starter,feature.launcher}
    layer_tar "$work" "$CACHE_DIR/sling-runtime.tar"
    base=$(base_layout sling "$base_key" "$tar" "$CACHE_DIR/sling-runtime.tar")
    rm -rf "$work" "$CACHE_DIR/sling-runtime.tar"
  else
    base=$CACHE_DIR/base/sling-$base_key
  fi

  files=$(mktemp -d)
  cp -a "$IMAGES_DIR/common/rootfs/." "$IMAGES_DIR/sling/rootfs/." "$files/"
  mkdir -p "$files/opt/launchway/install" "$files/opt/launchway/data" "$files/opt/launchway/sling"
  if [ -e "$repository/.complete" ]; then
    jq -f "$IMAGES_DIR/sling/feature.jq" "$repository/$(artifact_path "$starter")" >"$files/opt/launchway/sling/feature.json"
  fi
  finish sling "$key" "$base" "$files" \
    --config.user "$RUN_UID:$RUN_UID" --config.workingdir / --config.entrypoint /opt/launchway/bin/start \
    --config.exposedports 8080/tcp --config.stopsignal SIGTERM \
    --config.env PATH=/usr/local/bin:/usr/bin:/bin --config.env LANG=C.UTF-8 --config.env TZ=UTC \
    --config.label dev.launchway.contract=1 --config.label dev.launchway.tier=aem --config.label dev.launchway.port=8080 \
    --config.label dev.launchway.install-path=/opt/launchway/install \
    --config.label dev.launchway.index-path=/opt/launchway/packages.json \
    --config.label dev.launchway.data-path=/opt/launchway/data \
    --config.label dev.launchway.writable-paths=/tmp \
    --config.label 'dev.launchway.command.ready=["/opt/launchway/bin/ready"]' \
    --config.label 'dev.launchway.command.live=["/opt/launchway/bin/live"]'
  rm -rf "$files"
}
