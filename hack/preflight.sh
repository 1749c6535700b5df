#!/usr/bin/env bash
# preflight.sh build|java|cluster: says what a target needs and this machine lacks, with the remedy, before anything is built.
# What Debian's packages can mend is installed.
set -euo pipefail

missing=()
lack() { missing+=("$1"); }

check_rust() {
  # rustup's folder is not on the PATH of every shell.
  command -v cargo >/dev/null ||
    lack "Rust: install rustup (https://rustup.rs), or if it is there: export PATH=\"\$HOME/.cargo/bin:\$PATH\". rust-toolchain.toml names the version"
}

check_local_cluster() {
  local own="set KUBECONFIG and LAUNCHWAY_REGISTRY to a cluster of your own"
  [[ "$(uname -s)" == Linux ]] || lack "Linux: the local cluster is made of its namespaces. On another system $own"
  [[ "$(uname -m)" == x86_64 ]] || lack "an x86-64 machine for the local cluster. Elsewhere $own"
  ((EUID == 0)) || lack "root, for namespaces and network links: sudo -E env \"PATH=\$PATH\" make ..., or $own"
}

# wanted COMMAND=PACKAGE...: the packages of the commands that are not there.
wanted() {
  local pair
  for pair in "$@"; do
    if ! command -v "${pair%%=*}" >/dev/null; then echo "${pair#*=}"; fi
  done
}

install() {
  local packages=("$@")
  ((${#packages[@]})) || return 0
  if ! command -v apt-get >/dev/null; then
    lack "a Debian or Ubuntu system (apt-get): base images are made of its packages, and ${packages[*]} would be installed"
  elif ((EUID != 0)); then
    lack "packages: sudo apt-get install -y ${packages[*]}"
  else
    echo "preflight: installing ${packages[*]} (about a minute)"
    apt-get update -qq </dev/null >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null >/dev/null
  fi
}

main() {
  local kind="${1:-}" line packages=()
  case "$kind" in
    build) mapfile -t packages < <(wanted cc=build-essential) ;;
    java) mapfile -t packages < <(wanted cc=build-essential mvn=maven javac=openjdk-17-jdk-headless) ;;
    cluster)
      mapfile -t packages < <(wanted cc=build-essential curl=curl jq=jq mvn=maven javac=openjdk-17-jdk-headless)
      if [[ -z "${KUBECONFIG:-}" ]]; then check_local_cluster; fi
      ;;
    *) echo "usage: hack/preflight.sh build|java|cluster" >&2; exit 2 ;;
  esac
  check_rust
  install "${packages[@]}"
  if ((${#missing[@]})); then
    echo "This machine lacks what is needed:" >&2
    for line in "${missing[@]}"; do echo "  - $line" >&2; done
    exit 1
  fi
}

main "$@"
