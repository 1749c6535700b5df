#!/usr/bin/env bash
# preflight.sh build|cluster: says what a target needs and this machine lacks, with the remedy, before anything is built.
set -euo pipefail

missing=()
lack() { missing+=("$1"); }

check_build() {
  # rustup's folder is not on the PATH of every shell.
  command -v cargo >/dev/null || lack "Rust: install rustup (https://rustup.rs), then open a new shell or: export PATH=\"\$HOME/.cargo/bin:\$PATH\"; rust-toolchain.toml names the version"
  command -v cc >/dev/null || lack "a C compiler and linker: apt-get install -y build-essential"
}

check_local_cluster() {
  [[ "$(uname -s)" == Linux ]] || lack "Linux: the local cluster is made of its namespaces. On another system set KUBECONFIG and LAUNCHWAY_REGISTRY to a cluster of your own"
  [[ "$(uname -m)" == x86_64 ]] || lack "an x86-64 machine for the local cluster. Elsewhere set KUBECONFIG and LAUNCHWAY_REGISTRY to a cluster of your own"
  ((EUID == 0)) || lack "root, for namespaces and network links: sudo -E make ..., or set KUBECONFIG and LAUNCHWAY_REGISTRY to a cluster of your own"
}

# Base images and the demo's site are made of Debian and Maven packages, wherever the cluster is.
check_packages() {
  command -v apt-get >/dev/null || lack "a Debian or Ubuntu system (apt-get): everything else that is needed is installed from its packages"
}

install_tools() {
  local wanted=() pair
  for pair in curl=curl jq=jq mvn=maven javac=openjdk-17-jdk-headless; do
    command -v "${pair%%=*}" >/dev/null || wanted+=("${pair#*=}")
  done
  ((${#wanted[@]} == 0)) && return 0
  ((EUID == 0)) || { echo "preflight: missing packages: install them with: sudo apt-get install -y ${wanted[*]}" >&2; exit 1; }
  echo "preflight: installing ${wanted[*]} (about a minute)"
  apt-get update -qq </dev/null >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" </dev/null >/dev/null
}

main() {
  local kind="${1:-}" line
  case "$kind" in
    build) check_build ;;
    cluster)
      check_build
      check_packages
      if [[ -z "${KUBECONFIG:-}" ]]; then check_local_cluster; fi
      ;;
    *) echo "usage: hack/preflight.sh build|cluster" >&2; exit 2 ;;
  esac
  if ((${#missing[@]})); then
    echo "This machine lacks what is needed:" >&2
    for line in "${missing[@]}"; do echo "  - $line" >&2; done
    exit 1
  fi
  if [[ "$kind" == cluster ]]; then install_tools; fi
}

main "$@"
