# shellcheck shell=bash
# What the build needs of the machine: a Go new enough and a few Debian packages; sourced by build.sh.

# The oldest Go that every go.mod of modules/ accepts, and the one fetched when the machine has none such.
GO_MINIMUM=1.26.0
GO_TOOLCHAIN="v0.0.1-go1.26.8.linux-amd64"

version_at_least() { [[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }

go_is_new_enough() {
  local version
  version="$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null)" || return 1
  version_at_least "${version#go}" "$GO_MINIMUM"
}

apt_install() {
  command -v apt-get >/dev/null || die "missing on this machine: $*; there is no apt-get here, so install these yourself"
  say "installing Debian packages: $* (about 15 s)"
  {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  } >&2 || die "apt-get could not install: $*"
}

# program=package, for everything that the build or the cluster calls.
ensure_packages() {
  local pair missing=()
  for pair in runc=runc iptables-save=iptables conntrack=conntrack skopeo=skopeo ip=iproute2 openssl=openssl curl=curl \
    unshare=util-linux flock=util-linux ps=procps tar=tar awk=gawk; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [[ -x /usr/lib/cni/bridge ]] || missing+=(containernetworking-plugins)
  # The static busybox replaces the dynamic one of the package busybox, under the same name.
  dpkg -s busybox-static >/dev/null 2>&1 || missing+=(busybox-static)
  if (( ${#missing[@]} > 0 )); then apt_install "${missing[@]}"; fi
}

# Unpacked rather than installed: installing this package starts a service on port 5000 of the machine.
ensure_registry() {
  local dest="$1" work
  if [[ -x "$dest/docker-registry" ]]; then return 0; fi
  command -v apt-get >/dev/null || die "needs the program docker-registry (2.8); put it at $dest/docker-registry"
  say "fetching the Debian package docker-registry (about 5 s)"
  work="$(mktemp -d "$dest/.registry.XXXXXX")"
  (
    cd "$work"
    apt-get -o APT::Sandbox::User=root download -qq docker-registry >&2 ||
      { apt-get update -qq >&2 && apt-get -o APT::Sandbox::User=root download -qq docker-registry >&2; }
    dpkg-deb -x docker-registry_*.deb .
    mv usr/bin/docker-registry "$dest/docker-registry"
  ) || die "could not fetch the Debian package docker-registry; the lines above say why"
  rm -rf "$work"
}

# Puts a Go that is new enough first on PATH. Without one: any Go (Debian's will do) fetches the toolchain as a module,
# from the module proxy it is configured for, and checks it against modules/toolchain.sum.
ensure_go() {
  local go
  for go in go /usr/local/go/bin/go "$CLUSTER_CACHE/go/$GO_TOOLCHAIN/bin/go"; do
    if command -v "$go" >/dev/null && go_is_new_enough "$go"; then
      go="$(command -v "$go")"
      PATH="$(dirname "$go"):$PATH"
      export PATH GOTOOLCHAIN=local
      return 0
    fi
  done
  fetch_go "$CLUSTER_CACHE/go/$GO_TOOLCHAIN"
  PATH="$CLUSTER_CACHE/go/$GO_TOOLCHAIN/bin:$PATH"
  export PATH GOTOOLCHAIN=local
  go_is_new_enough go || die "the Go fetched to $CLUSTER_CACHE/go/$GO_TOOLCHAIN does not run"
}

fetch_go() {
  local dest="$1" bootstrap=go work info dir sum
  [[ "$(uname -m)" == x86_64 ]] || die "needs Go $GO_MINIMUM or newer; it can be fetched for x86_64 only, this is $(uname -m): install it"
  if ! command -v go >/dev/null; then
    apt_install golang-go
  fi
  say "fetching Go ${GO_TOOLCHAIN#v0.0.1-go} as a module (70 MB, about 30 s)"
  work="$(mktemp -d)"
  info="$(cd "$work" && GO111MODULE=on GOFLAGS=-mod=mod GOTOOLCHAIN=local "$bootstrap" mod download -json "golang.org/toolchain@$GO_TOOLCHAIN")" ||
    die "could not fetch golang.org/toolchain@$GO_TOOLCHAIN from $("$bootstrap" env GOPROXY): $info"
  rm -rf "$work"
  dir="$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$info")"
  sum="$(sed -n 's/^\t"Sum": "\(.*\)",$/\1/p' <<<"$info")"
  grep -qxF "golang.org/toolchain $GO_TOOLCHAIN $sum" "$CLUSTER_DIR/modules/toolchain.sum" ||
    die "golang.org/toolchain@$GO_TOOLCHAIN has the checksum '$sum', which is not the one in modules/toolchain.sum: not used"
  install_go "$dir" "$dest"
}

# go_tool FOLDER DEST: the program that the module in FOLDER names as its tool, pinned by its go.mod and go.sum, is
# DEST/NAME afterwards; NAME is the folder's. Built once for each pin.
go_tool() {
  local folder="$1" dest="$2" name sum
  name="$(basename "$folder")"
  sum="$(cat "$folder/go.mod" "$folder/go.sum" | sha256sum | cut -c1-16)"
  if [[ ! -x "$dest/$name-$sum" ]]; then
    ensure_go
    say "building $name (crane about a minute)"
    (cd "$folder" && CGO_ENABLED=0 GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" \
      go build -trimpath -o "$dest/$name-$sum" "$(go list -f '{{.ImportPath}}' tool)") || die "$name could not be built"
  fi
  ln -sf "$name-$sum" "$dest/$name"
}

# A module's files come read-only and not executable, and its nested go.mod files under another name.
install_go() {
  local from="$1" dest="$2" file
  rm -rf "$dest.partial"
  mkdir -p "$dest.partial"
  cp -R "$from/." "$dest.partial/"
  chmod -R u+w "$dest.partial"
  chmod -R a+x "$dest.partial/bin" "$dest.partial/pkg/tool"
  while IFS= read -r -d '' file; do
    cp "$file" "${file%/_go.mod}/go.mod"
  done < <(find "$dest.partial" -name _go.mod -print0)
  rm -rf "$dest"
  mv "$dest.partial" "$dest"
}
