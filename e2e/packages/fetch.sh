#!/usr/bin/env bash
# Fetches the real packages of packages.tsv by Maven, checks them against the pinned sha256, and copies them to one folder.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: fetch.sh [--if-there] OUTDIR [FILE...]

  OUTDIR   folder for the packages
  FILE     names from packages.tsv; without any, all of them (about 112 MB)

Packages with the source "shared:" come from $LAUNCHWAY_FIXTURES, or ../shared/fixtures beside the repository. Where that
folder is missing they are left out with a message; named one by one, their absence is an error without --if-there.
The cache is ${LAUNCHWAY_CACHE:-$HOME/.cache/launchway}/packages, by sha256.
TEXT
}

die() {
  echo "fetch.sh: $*" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LAUNCHWAY_CACHE:-$HOME/.cache/launchway}/packages
shared=${LAUNCHWAY_FIXTURES:-$here/../../../shared/fixtures}
list=$here/packages.tsv
scratch=

cleanup() {
  if [[ -n $scratch ]]; then rm -rf "$scratch"; fi
}
trap cleanup EXIT

digest() {
  sha256sum <"$1" | cut -d' ' -f1
}

# 2.8 takes one file alone; newer versions of the plugin also want the package's parent pom, which not every registry has.
from_maven() {
  local coordinate=$1 into=$2
  command -v mvn >/dev/null || die "Maven is missing; on Debian: apt-get install maven"
  timeout 900 mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:2.8:copy \
    "-Dartifact=$coordinate" "-DoutputDirectory=$into" </dev/null >"$into.log" 2>&1 || {
    cat "$into.log" >&2
    die "Maven could not fetch $coordinate; its output is above. Check that your Maven settings reach Maven Central"
  }
}

fetch() {
  local file=$1 source=$2 sha=$3 bytes=$4 found actual
  scratch=$(mktemp -d "$cache/fetch.XXXXXX")
  mkdir "$scratch/got"
  case $source in
    maven:*)
      echo "packages: fetching $file, $((bytes / 1024)) KiB (about $((bytes / 4000000 + 3)) s)"
      from_maven "${source#maven:}" "$scratch/got"
      ;;
    shared:*) cp "$shared/${source#shared:}" "$scratch/got/" ;;
    *) die "$list: $file has the unknown source \"$source\"; use maven: or shared:" ;;
  esac
  found=$(find "$scratch/got" -type f)
  [[ -f $found ]] || die "$source gave no single file for $file"
  actual=$(digest "$found")
  [[ $actual == "$sha" ]] || die "$file from $source has sha256 $actual, but packages.tsv pins $sha. Don't use it; find out who changed it"
  mv "$found" "$cache/$sha.zip"
  rm -rf "$scratch"
  scratch=
}

wanted() {
  local file=$1 name
  ((${#names[@]})) || return 0
  for name in "${names[@]}"; do
    if [[ $name == "$file" ]]; then return 0; fi
  done
  return 1
}

main() {
  case ${1:-} in
    "" | -h | --help)
      usage
      [[ ${1:-} ]] || exit 2
      exit 0
      ;;
  esac
  local optional=
  if [[ $1 == --if-there ]]; then
    optional=yes
    shift
    (($#)) || die "--if-there needs OUTDIR; see --help"
  fi
  local outdir=$1 file source sha bytes licence count=0
  shift
  names=("$@")
  for file in "${names[@]}"; do
    cut -f1 "$list" | grep -qxF -- "$file" || die "\"$file\" is not in $list"
  done
  mkdir -p "$outdir" "$cache"
  while IFS=$'\t' read -r file source sha bytes licence; do
    [[ $file == "#"* || -z $licence ]] && continue
    wanted "$file" || continue
    if [[ ! -f $cache/$sha.zip && $source == shared:* && ! -f $shared/${source#shared:} ]]; then
      ((${#names[@]} == 0)) || [[ $optional ]] || die "$file is only in $shared, and that has no ${source#shared:}: set LAUNCHWAY_FIXTURES"
      echo "packages: LEFT OUT $file: $shared has no ${source#shared:}"
      continue
    fi
    [[ -f $cache/$sha.zip ]] || fetch "$file" "$source" "$sha" "$bytes"
    [[ $(digest "$cache/$sha.zip") == "$sha" ]] || die "$cache/$sha.zip is damaged; delete it and run this again"
    install -m 0644 "$cache/$sha.zip" "$outdir/$file"
    count=$((count + 1))
  done <"$list"
  echo "packages: $count in $outdir"
}

main "$@"
