# shellcheck shell=bash
# Debian's Apache httpd as dispatcher of its own publish.

build_httpd() {
  local key tar base files
  tar=$(rootfs httpd essential apache2,ca-certificates,curl,jq "$PASSWD_HOOK")
  base=$(base_layout httpd "$(basename "$tar" .tar | cut -d- -f2)" "$tar")
  key=$( { tree_key "$IMAGES_DIR/common" "$IMAGES_DIR/httpd" "$IMAGES_DIR/lib.sh"; basename "$base"; } | sha256sum | cut -c1-16)
  files=$(mktemp -d)
  cp -a "$IMAGES_DIR/common/rootfs/." "$IMAGES_DIR/httpd/rootfs/." "$files/"
  # Names that dispatcher trees use and Debian does not: the logs folder (on the writable /run) and rotatelogs.
  mkdir -p "$files/usr/local/bin" "$files/mnt/var/www" "$files/var/www/cgi-bin"
  ln -s /run/httpd/logs "$files/etc/httpd/logs"
  ln -s /usr/lib/apache2/modules "$files/etc/httpd/modules"
  ln -s /run/httpd "$files/etc/httpd/run"
  ln -s /usr/sbin/apache2 "$files/usr/local/bin/httpd"
  mkdir -p "$files/usr/sbin"
  ln -s ../bin/rotatelogs "$files/usr/sbin/rotatelogs"
  finish httpd "$key" "$base" "$files" \
    --config.user "$RUN_UID:$RUN_UID" --config.workingdir /etc/httpd --config.entrypoint /opt/launchway/bin/start \
    --config.exposedports 80/tcp --config.exposedports 9180/tcp --config.exposedports 9181/tcp --config.stopsignal SIGWINCH \
    --config.env PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin --config.env LANG=C.UTF-8 \
    --config.label dev.launchway.contract=1 --config.label dev.launchway.tier=dispatcher --config.label dev.launchway.port=80 \
    --config.label dev.launchway.metrics-port=9180 \
    --config.label dev.launchway.config-path=/etc/httpd --config.label dev.launchway.cache-path=/mnt/var/www \
    --config.label dev.launchway.writable-paths=/tmp,/run \
    --config.label dev.launchway.immutable-files=conf.d/available_vhosts/default.vhost,conf.d/dispatcher_vhost.conf,conf.d/rewrites/default_rewrite.rules \
    --config.label dev.launchway.probe-port=9181 \
    --config.label dev.launchway.http.ready=/ready --config.label dev.launchway.http.live=/live \
    --config.label 'dev.launchway.command.drain=["/opt/launchway/bin/drain"]' \
    --config.label 'dev.launchway.command.config-test=["/opt/launchway/bin/config-test"]'
  rm -rf "$files"
}
