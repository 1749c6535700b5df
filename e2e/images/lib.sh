# Shared by build.sh, push.sh and test.sh; source it, do not run it.
# shellcheck shell=bash

# A failure inside "$(…)" has to end the script as well.
shopt -s inherit_errexit

IMAGES_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE_DIR=${LAUNCHWAY_CACHE:-$HOME/.cache/launchway}/images
SUITE=bookworm
RUN_UID=65532
# One fixed time in layers and configuration, so that the same inputs give the same digest.
export SOURCE_DATE_EPOCH=1767225600
CREATED=2026-01-01T00:00:00Z

say() { printf '%s\n' "$*" >&2; }

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need COMMAND=PACKAGE…: installs the Debian packages of commands that are missing.
need() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing Debian packages: ${missing[*]} (about 10 s)"
  if ! apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >/dev/null 2>&1; then
    apt-get update -q </dev/null >/dev/null
    apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >&2 \
      || die "cannot install ${missing[*]}: run as root on Debian $SUITE, or install them yourself"
  fi
}

# tree_key PATH…: one digest over the names, modes and bytes of files.
tree_key() {
  find "$@" -type f -printf '%m %p\0' | LC_ALL=C sort -z | while IFS= read -r -d '' line; do
    printf '%s %s\n' "${line#"${line%% *}"}" "${line%% *}"
    sha256sum <"${line#* }"
  done | sed "s|$IMAGES_DIR/||" | sha256sum | cut -c1-16
}

# rootfs NAME VARIANT PACKAGES [HOOK…]: prints a cached tar of a Debian root file system.
rootfs() {
  local name=$1 variant=$2 packages=$3 key out hook moment=customize args=()
  shift 3
  # Nothing is configured in an extracted system, so mmdebstrap skips the hooks that would come after that.
  [ "$variant" = extract ] && moment=extract
  key=$(printf '%s\n' "$SUITE" "$variant" "$packages" "$moment" "$@" | sha256sum | cut -c1-16)
  out=$CACHE_DIR/rootfs/$name-$key.tar
  if [ ! -s "$out" ]; then
    say "$name: Debian $SUITE root file system with $packages (5 s to 2 min)"
    mkdir -p "$CACHE_DIR/rootfs"
    for hook in "$@"; do args+=("--$moment-hook=$hook"); done
    mmdebstrap --quiet --variant="$variant" --include="$packages" \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
      --dpkgopt='path-exclude=/usr/share/man/*/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      "${args[@]}" "$SUITE" "$out.part.tar" >&2 </dev/null || die "mmdebstrap failed for $name"
    mv "$out.part.tar" "$out"
  fi
  printf '%s\n' "$out"
}

# The account that images run as; numeric ids are what Kubernetes checks, names only please tools.
# shellcheck disable=SC2016
PASSWD_HOOK='printf "launchway:x:65532:65532::/nonexistent:/usr/sbin/nologin\n" >>"$1/etc/passwd"; printf "launchway:x:65532:\n" >>"$1/etc/group"'

# layer_tar FOLDER OUT: the folder's content as a layer, owned by root, with one fixed time.
# The folder itself stays out: its entry would change the mode of / in the image.
layer_tar() {
  find "$1" -mindepth 1 -maxdepth 1 -printf '%P\0' | LC_ALL=C sort -z \
    | tar -C "$1" --null --files-from=- --sort=name --owner=0 --group=0 --numeric-owner --mode='u+rwX,go+rX,go-w' \
      --mtime="@$SOURCE_DATE_EPOCH" --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cf "$2"
}

add_layer() { # LAYOUT TAR COMMENT
  umoci raw add-layer --image "$1:img" --history.created "$CREATED" --history.author launchway \
    --history.created_by "$3" "$2" >&2
}

# base_layout NAME KEY TAR…: an OCI layout with the big, seldom changing layers; compressed once.
base_layout() {
  local name=$1 key=$2 out tmp tar
  shift 2
  out=$CACHE_DIR/base/$name-$key
  if [ ! -e "$out/index.json" ]; then
    say "$name: compressing base layers (5 to 40 s)"
    mkdir -p "$CACHE_DIR/base"
    tmp=$(mktemp -d "$CACHE_DIR/base/.part.XXXXXX")
    rm -rf "$tmp"
    umoci init --layout "$tmp" >&2
    umoci new --image "$tmp:img" >&2
    for tar in "$@"; do add_layer "$tmp" "$tar" "launchway $name base"; done
    rm -rf "$out"
    mv "$tmp" "$out"
  fi
  printf '%s\n' "$out"
}

# finish NAME KEY BASE FILES CONFIG_ARG…: adds the image's own files and configuration, publishes
# the layout as CACHE/NAME/KEY and CACHE/NAME/current, prints its path.
finish() {
  local name=$1 key=$2 base=$3 files=$4 out tmp
  shift 4
  out=$CACHE_DIR/$name/$key
  if [ ! -e "$out/index.json" ]; then
    say "$name: assembling the image (2 s)"
    mkdir -p "$CACHE_DIR/$name"
    tmp=$(mktemp -d "$CACHE_DIR/$name/.part.XXXXXX")
    # Blobs are named by content and never rewritten: hard links are safe and cost nothing.
    cp -al "$base/." "$tmp/"
    rm -f "$tmp/index.json"
    cp "$base/index.json" "$tmp/index.json"
    layer_tar "$files" "$tmp/files.tar"
    add_layer "$tmp" "$tmp/files.tar" "launchway $name files"
    rm -f "$tmp/files.tar"
    umoci config --image "$tmp:img" --no-history --created "$CREATED" --author launchway \
      --architecture amd64 --os linux "$@" >&2
    umoci gc --layout "$tmp" >/dev/null
    rm -rf "$out"
    mv "$tmp" "$out"
  fi
  ln -sfn "$key" "$CACHE_DIR/$name/current"
  printf '%s\n' "$out"
}
