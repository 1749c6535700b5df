#!/usr/bin/env bash
# Licences, sources, bans and advisories (deny.toml). cargo-deny is compiled once, pinned, into the cache.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VERSION=0.20.2
tools="${LAUNCHWAY_CACHE:-$HOME/.cache/launchway}/tools/cargo-deny-$VERSION"

if [[ ! -x "$tools/bin/cargo-deny" ]]; then
  echo "cargo-deny $VERSION: compiling it into the cache (about 6 minutes on 2 cores, once)"
  CARGO_TARGET_DIR="$tools/build" cargo install --quiet --locked --version "$VERSION" --root "$tools" cargo-deny
  rm -rf "$tools/build"
fi
# Advisories need a git server that machines behind a package mirror do not reach; CI with internet adds them.
checks=(bans licenses sources)
if [[ "${LAUNCHWAY_ADVISORIES:-}" == yes ]]; then checks+=(advisories); fi
"$tools/bin/cargo-deny" --locked --all-features check --show-stats "${checks[@]}"
