# shellcheck shell=bash
# A Git server for scenarios: smart HTTP behind Apache httpd on 8080, SSH on 2222; repositories are in /srv/git.

build_git() {
  local key tar base
  # The account may log in, for SSH, and gets nothing but Git there.
  tar=$(rootfs git essential apache2,git,openssh-server,ca-certificates \
    "$(sed 's|/nonexistent:/usr/sbin/nologin|/srv/home:/bin/sh|' <<<"$PASSWD_HOOK")" 'mkdir -p "$1/srv/git" "$1/srv/home"')
  base=$(base_layout git "$(basename "$tar" .tar | cut -d- -f2)" "$tar")
  key=$( { tree_key "$IMAGES_DIR/git" "$IMAGES_DIR/lib.sh"; basename "$base"; } | sha256sum | cut -c1-16)
  finish git "$key" "$base" "$IMAGES_DIR/git/rootfs" \
    --config.user "$RUN_UID:$RUN_UID" --config.workingdir / --config.entrypoint /opt/git/start \
    --config.env PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --config.env LANG=C.UTF-8 \
    --config.label dev.launchway.image=git
}
