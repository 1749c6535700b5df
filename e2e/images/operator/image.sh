# shellcheck shell=bash
# The operator's image: a glibc binary on the three Debian packages it needs, no shell, no package manager.

# extract runs no maintainer scripts, so the CA bundle that ca-certificates' script would write is put together here.
# shellcheck disable=SC2016
OPERATOR_CA_HOOK='find "$1/usr/share/ca-certificates" -name "*.crt" | LC_ALL=C sort | xargs cat >"$1/etc/ssl/certs/ca-certificates.crt"'

build_operator() {
  local files key tar base
  [ -n "${BINARY:-}" ] || die "the operator image needs --binary PATH (cargo build --release makes one)"
  [ -x "$BINARY" ] || die "no executable at $BINARY"
  tar=$(rootfs operator extract libc6,libgcc-s1,ca-certificates "$OPERATOR_CA_HOOK" "$PASSWD_HOOK")
  base=$(base_layout operator "$(basename "$tar" .tar | cut -d- -f2)" "$tar")
  files=$(mktemp -d)
  # Mount points: an extracted tree has none, and a read-only root file system cannot get them later.
  mkdir -p "$files/usr/local/bin" "$files/proc" "$files/sys" "$files/dev" "$files/tmp" "$files/run"
  install -m 755 "$BINARY" "$files/usr/local/bin/launchway"
  key=$( { sha256sum <"$BINARY"; tree_key "$IMAGES_DIR/operator" "$IMAGES_DIR/lib.sh"; basename "$base"; } | sha256sum | cut -c1-16)
  finish operator "$key" "$base" "$files" \
    --config.user "$RUN_UID:$RUN_UID" --config.workingdir / --config.entrypoint /usr/local/bin/launchway \
    --config.env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt --config.env PATH=/usr/local/bin \
    --config.label dev.launchway.image=operator
  rm -rf "$files"
}
