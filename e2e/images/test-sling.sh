# Tests of the Sling image; sourced by test.sh.
# shellcheck shell=bash

# package LAYER FILE TIERS [ID]: adds a package file to LAYER/install and to LAYER/packages.json, as an image build does.
package() {
  local layer=$1 file=$2 tiers=$3 properties group name version sum target
  properties=$(unzip -p "$file" META-INF/vault/properties.xml)
  group=$(sed -n 's|.*<entry key="group">\([^<]*\)</entry>.*|\1|p' <<<"$properties")
  name=$(sed -n 's|.*<entry key="name">\([^<]*\)</entry>.*|\1|p' <<<"$properties")
  version=$(sed -n 's|.*<entry key="version">\([^<]*\)</entry>.*|\1|p' <<<"$properties")
  sum=$(sha256sum "$file" | cut -d' ' -f1)
  mkdir -p "$layer/install"
  target=${name// /_}-$version.${sum:0:12}.zip
  install -m 644 "$file" "$layer/install/$target"
  # Layers of image builds have one fixed time for all files.
  touch -d @0 "$layer/install/$target"
  index_entry "$layer" "$(jq -nc --arg g "$group" --arg n "$name" --arg v "$version" --arg f "$target" --arg s "$sum" --argjson t "$tiers" \
    '{id: ([$g, $n, $v] | map(select(. != "")) | join(":")), group: $g, name: $n, version: $v, file: $f, sha256: $s, tiers: $t, dependencies: []}')"
}

index_entry() { # LAYER ENTRY
  local index=$1/packages.json
  [ -s "$index" ] || printf '{"format":"launchway-packages/1","packages":[]}\n' >"$index"
  jq --argjson e "$2" '.packages += [$e]' "$index" >"$index.next"
  mv "$index.next" "$index"
}

is_ready() { run_in "$1" /opt/launchway/bin/ready >"$WORK/ready.out" 2>&1; }

says() { run_in "$1" /opt/launchway/bin/ready >"$WORK/ready.out" 2>&1; grep -qE -- "$2" "$WORK/ready.out"; }

record() { web -u admin:admin "http://127.0.0.1:8080/etc/packages/$1/jcr:content/vlt:definition.json" | jq -r '.lastUnpacked // empty' 2>/dev/null; }

# start_sling NAME TIER LAYER [ARG…]
start_sling() {
  local name=$1 tier=$2 layer=$3
  shift 3
  start_container "$name" sling "LAUNCHWAY_TIER=$tier" "LAUNCHWAY_RUN_MODES=$tier,stage" --tree "$layer:/opt/launchway" "$@"
}

sling_failures() {
  local layer=$WORK/bad f=$FIXTURES/filevault output
  say "sling: an author whose packages wait or fail (20 s)"
  package "$layer" "$f/test-package.zip" '["author"]'
  package "$layer" "$f/test_a-2.0.zip" '["author"]'
  package "$layer" "$f/tmp_illegal.zip" '["author"]'
  package "$layer" "$f/tmp_foo.zip" '["publish"]'
  broken_package "$WORK/broken.zip"
  package "$layer" "$WORK/broken.zip" '["author"]'
  mkdir -p "$WORK/bad-volume"
  chown 65532:65532 "$WORK/bad-volume"
  start_sling author-bad author "$layer" --rw "$WORK/bad-volume:/opt/launchway/data"
  if is_ready author-bad; then fail "ready right after the start"; fi
  expect "not ready while Sling starts" '^pending test:test-package-with-etc:1.0: waits for ' "$(cat "$WORK/ready.out")"
  within 150 says author-bad '^pending my_packages:test_a:2.0: waits for dependency my_packages:test_b$' \
    || fail "no word of the missing dependency: $(cat "$WORK/ready.out")"
  pass "a package without its dependency is pending and names it"
  within 20 says author-bad '^failed launchway:broken:1.0: .*NoSuchNodeTypeException.*no:such' \
    || fail "no word of the failed package: $(cat "$WORK/ready.out")"
  pass "a package with import errors has failed, with the importer's reason"
  output=$(cat "$WORK/ready.out")
  expect "a file that is no package for the runtime has failed" '^failed my_packages:tmp : the runtime does not take the file' "$output"
  if grep -q 'test-package-with-etc\|tmp_foo' <<<"$output"; then fail "an installed package, or one of the other tier, is reported: $output"; fi
  [ -n "$(record test/test-package-with-etc-1.0.zip)" ] || fail "the good package is not installed"
  [ -z "$(record my_packages/tmp_foo.zip)" ] || fail "a publish package is on the author"
  pass "the good package is installed, the other tier's package is not"
  run_in author-bad /opt/launchway/bin/live || fail "not live"
  stop_container author-bad
  start_sling author-again author "$layer" --rw "$WORK/bad-volume:/opt/launchway/data"
  within 150 says author-again '^failed launchway:broken:1.0: .*NoSuchNodeTypeException.*no:such' \
    || fail "a failed package is not tried again after a restart: $(cat "$WORK/ready.out")"
  pass "a restart tries the failed package again, and tells the reason again"
  stop_container author-again
}

# A real content package with one node type that no repository knows: FileVault imports the rest and logs errors.
broken_package() {
  local dir=$WORK/broken-src
  mkdir -p "$dir/META-INF/vault" "$dir/jcr_root/content/broken"
  cat >"$dir/META-INF/vault/properties.xml" <<'XML'
<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE properties SYSTEM "http://java.sun.com/dtd/properties.dtd">
<properties>
<entry key="group">launchway</entry>
<entry key="name">broken</entry>
<entry key="version">1.0</entry>
</properties>
XML
  printf '<workspaceFilter version="1.0"><filter root="/content/broken"/></workspaceFilter>\n' >"$dir/META-INF/vault/filter.xml"
  cat >"$dir/jcr_root/content/broken/.content.xml" <<'XML'
<jcr:root xmlns:jcr="http://www.jcp.org/jcr/1.0" xmlns:no="urn:none" jcr:primaryType="no:such"/>
XML
  (cd "$dir" && rm -f "$1" && zip -qr "$1" .)
}

sling_volume() {
  local f=$FIXTURES/filevault volume=$WORK/volume first second
  say "sling: an author on a volume that outlives its pods (50 s)"
  mkdir -p "$volume"
  chown 65532:65532 "$volume"
  package "$WORK/v1" "$f/test_c-1.0.zip" '["author","publish"]'
  package "$WORK/v2" "$f/test_c-1.1.zip" '["author","publish"]'
  start_sling author-1 author "$WORK/v1" --rw "$volume:/opt/launchway/data"
  within 150 is_ready author-1 || fail "release 1 is not ready: $(cat "$WORK/ready.out")"
  first=$(record my_packages/test_c-1.0.zip)
  stop_container author-1
  start_sling author-1b author "$WORK/v1" --rw "$volume:/opt/launchway/data"
  within 150 is_ready author-1b || fail "release 1 is not ready after a restart: $(cat "$WORK/ready.out")"
  [ "$first" = "$(record my_packages/test_c-1.0.zip)" ] || fail "a restart unpacked the package again"
  pass "a restart on the same release is ready without unpacking again"
  stop_container author-1b
  start_sling author-2 author "$WORK/v2" --rw "$volume:/opt/launchway/data"
  within 150 is_ready author-2 || fail "release 2 is not ready: $(cat "$WORK/ready.out")"
  second=$(record my_packages/test_c-1.1.zip)
  [ -n "$second" ] || fail "ready, but 1.1 is not unpacked"
  pass "a new release on the volume is ready once its own package is unpacked"
  stop_container author-2
  start_sling author-3 author "$WORK/v1" --rw "$volume:/opt/launchway/data"
  within 150 says author-3 '^(pending my_packages:test_c:1.0: waits for the (runtime|package)|failed my_packages:test_c:1.0: )' || fail "no word of the downgrade: $(cat "$WORK/ready.out")"
  sleep 8
  if is_ready author-3; then
    [ "$(record my_packages/test_c-1.0.zip)" != "$first" ] || fail "ready on release 1's old record although 1.1 is what is unpacked"
    pass "a downgrade on the volume is ready because the runtime unpacked it anew"
  else
    pass "a downgrade on the volume is not taken for installed: $(grep test_c "$WORK/ready.out")"
  fi
  stop_container author-3
}

# The publish that the dispatcher tests use, too.
sling_publish() {
  local layer=$WORK/good f=$FIXTURES/filevault started
  say "sling: a publish with packages, one of them embedded (15 s)"
  package "$layer" "$f/test-package.zip" '["author","publish"]'
  package "$layer" "$f/tmp_foo.zip" '["publish"]'
  package "$layer" "$f/subtest.zip" '["publish"]'
  index_entry "$layer" '{"id":"my_packages:sub_a","group":"my_packages","name":"sub_a","version":"","sha256":"embedded","tiers":["publish"],"dependencies":[],"embeddedIn":"my_packages:subtest"}'
  started=$SECONDS
  start_sling publish publish "$layer"
  within 150 is_ready publish || fail "publish is not ready: $(cat "$WORK/ready.out")"
  say "  publish was ready after $((SECONDS - started)) s"
  local id
  for id in test/test-package-with-etc-1.0 my_packages/tmp_foo my_packages/subtest my_packages/sub_a; do
    [ -n "$(record "$id.zip")" ] || fail "ready, but $id is not unpacked"
  done
  pass "ready only with all packages unpacked, the embedded one too"
  expect "installed content answers" '^200$' "$(web -o /dev/null -w '%{http_code}' -u admin:admin http://127.0.0.1:8080/tmp/foo.json)"
  expect "/system/probes/ready answers with results" '"name":"Bundles Started","status":"OK"' "$(web http://127.0.0.1:8080/system/probes/ready)"
}

test_sling() {
  [ -d "$FIXTURES/filevault" ] || { say "sling: no packages at $FIXTURES (set LAUNCHWAY_FIXTURES): the tests with packages are left out"; return; }
  sling_failures
  sling_volume
  sling_publish
}
