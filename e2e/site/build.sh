#!/usr/bin/env bash
# Builds one release of the demo site with Maven and copies every target/*.zip into one folder.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: build.sh RELEASE OUTDIR [--variant NAME]

  RELEASE  a whole number from 1; the packages get the version RELEASE.0.0 and the page says "Release RELEASE"
  OUTDIR   folder for the zips (what `kubectl launchway push` takes); earlier zips of this site in it are replaced
  NAME     release (default)   a good release
           broken-page         installs and answers, but the page never says "Release N": a smoke test fails
           never-ready         one more package whose node type exists nowhere: no runtime can install it
           missing-dependency  one more package that depends on a package that exists nowhere
           bad-vhost           the dispatcher configuration has a syntax error: httpd -t refuses it
           bad-vhost-production  the same, but only where ENVIRONMENT_TYPE is prod

Results are cached under ${LAUNCHWAY_CACHE:-$HOME/.cache/launchway}/site, by the content of the sources.
TEXT
}

die() {
  echo "build.sh: $*" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LAUNCHWAY_CACHE:-$HOME/.cache/launchway}/site
scratch=

cleanup() {
  if [[ -n $scratch ]]; then rm -rf "$scratch"; fi
}
trap cleanup EXIT

parse_arguments() {
  local positional=()
  variant=release
  while (($#)); do
    case $1 in
      -h | --help)
        usage
        exit 0
        ;;
      --variant)
        (($# > 1)) || die "--variant needs a name; see --help"
        variant=$2
        shift
        ;;
      --variant=*) variant=${1#*=} ;;
      -*) die "unknown option $1; see --help" ;;
      *) positional+=("$1") ;;
    esac
    shift
  done
  ((${#positional[@]} == 2)) || {
    usage >&2
    exit 2
  }
  release=${positional[0]} outdir=${positional[1]}
  [[ $release =~ ^[1-9][0-9]{0,5}$ ]] || die "RELEASE is \"$release\", but has to be a whole number from 1 to 999999"
  case $variant in
    release | broken-page | never-ready | missing-dependency | bad-vhost | bad-vhost-production) ;;
    *) die "unknown variant \"$variant\"; --help lists them" ;;
  esac
}

sources() {
  (cd "$here" && find . -name target -prune -o -name '*.md' -prune -o \( -type f -o -type l \) -print0 | LC_ALL=C sort -z)
}

# Links count by their target and files by their bytes, so a checkout elsewhere has the same key.
source_key() {
  {
    echo "$release $variant"
    cd "$here"
    sources | while IFS= read -r -d '' file; do
      if [[ -L $file ]]; then
        printf '%s -> %s\n' "$file" "$(readlink "$file")"
      else
        printf '%s %s\n' "$file" "$(sha256sum <"$file")"
      fi
    done
  } | sha256sum | cut -c1-24
}

build() {
  command -v mvn >/dev/null || die "Maven is missing; on Debian: apt-get install maven openjdk-17-jdk-headless"
  command -v javac >/dev/null || die "a JDK (javac, 11 or newer) is missing; on Debian: apt-get install openjdk-17-jdk-headless"
  echo "site: building release $release ($variant) with Maven (about 10 s, a minute when the plugins have to be downloaded)"
  mkdir -p "$cache"
  scratch=$(mktemp -d "$cache/build.XXXXXX")
  mkdir "$scratch/src" "$scratch/zips"
  # The zips keep file modes, so the same ones have to be there whatever the user's umask is.
  umask 022
  sources | tar -C "$here" --mode=u=rwX,go=rX --null -T - -cf - | tar -C "$scratch/src" -xpf -
  (cd "$scratch/src" && timeout 900 mvn -B -q "-Drelease=$release" "-Dvariant=$variant" package </dev/null) >"$scratch/log" 2>&1 || {
    cat "$scratch/log" >&2
    die "Maven could not build release $release ($variant); its output is above"
  }
  find "$scratch/src" -path '*/target/*.zip' -exec cp {} "$scratch/zips/" \;
  local module modules=(all dispatcher ui.apps ui.config ui.content)
  case $variant in never-ready | missing-dependency) modules+=("$variant") ;; esac
  for module in "${modules[@]}"; do
    [[ -s $scratch/zips/launchway-demo.$module-$release.0.0.zip ]] || die "Maven left no launchway-demo.$module-$release.0.0.zip in a target folder"
  done
  # Another run may have finished the same build first; the bytes are the same, so either may stay.
  mv -T "$scratch/zips" "$cache/$key" 2>/dev/null || [[ -d $cache/$key ]] || die "cannot write $cache/$key"
}

main() {
  parse_arguments "$@"
  key=$release-$variant-$(source_key)
  if [[ -d $cache/$key ]]; then
    echo "site: release $release ($variant) is in the cache"
  else
    build
  fi
  mkdir -p "$outdir"
  rm -f "$outdir"/launchway-demo.*.zip
  cp "$cache/$key"/*.zip "$outdir/"
  echo "site: $(find "$cache/$key" -name '*.zip' | wc -l) packages of release $release ($variant) in $outdir"
}

main "$@"
