# Tests of images for author and publish, Sling and its stand-in alike: what the contract says; sourced by test.sh.
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

# said NAME PATTERN: this stands in its log, as what it lacked at some time.
said() { is_ready "$1"; sed -n 's/^launchway-ready:\t//p' "$WORK/$1.log" | tr '\t' '\n' | grep -qE -- "$2"; }

ready_or_says() { is_ready "$1" || grep -qE -- "$2" "$WORK/ready.out"; }

record() { web -u admin:admin "http://127.0.0.1:8080/etc/packages/$1/jcr:content/vlt:definition.json" | jq -r '.lastUnpacked // empty' 2>/dev/null; }

# start_aem IMAGE NAME TIER LAYER [ARG…]
start_aem() {
  local image=$1 name=$2 tier=$3 layer=$4
  shift 4
  start_container "$name" "$image" "LAUNCHWAY_TIER=$tier" "LAUNCHWAY_RUN_MODES=$tier,stage" --tree "$layer:/opt/launchway" "$@"
}

aem_failures() { # IMAGE
  local image=$1 layer=$WORK/$1-bad f=$FIXTURES/filevault output
  say "$image: an author whose packages wait or fail (up to 20 s)"
  package "$layer" "$f/test-package.zip" '["author"]'
  package "$layer" "$f/test_a-2.0.zip" '["author"]'
  package "$layer" "$f/tmp_illegal.zip" '["author"]'
  package "$layer" "$f/tmp_foo.zip" '["publish"]'
  broken_package "$WORK/$image-broken.zip"
  package "$layer" "$WORK/$image-broken.zip" '["author"]'
  mkdir -p "$WORK/$image-bad-volume"
  chown 65532:65532 "$WORK/$image-bad-volume"
  start_aem "$image" author-bad author "$layer" --rw "$WORK/$image-bad-volume:/opt/launchway/data"
  if is_ready author-bad; then fail "ready right after the start"; fi
  within 10 said author-bad '^pending (test:test-package-with-etc:1.0|runtime): waits for ' || fail "no word while the runtime starts: $(cat "$WORK/author-bad.log")"
  pass "not ready while the runtime starts, and says what it waits for"
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
  is_live author-bad || fail "not live"
  stop_container author-bad
  start_aem "$image" author-again author "$layer" --rw "$WORK/$image-bad-volume:/opt/launchway/data"
  within 150 says author-again '^failed launchway:broken:1.0: .*NoSuchNodeTypeException.*no:such' \
    || fail "a failed package is not tried again after a restart: $(cat "$WORK/ready.out")"
  pass "a restart tries the failed package again, and tells the reason again"
  stop_container author-again
}

# package_source FOLDER NAME ROOT: what every content package has, ready for content below ROOT.
package_source() {
  mkdir -p "$1/META-INF/vault" "$1/jcr_root$3"
  cat >"$1/META-INF/vault/properties.xml" <<XML
<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE properties SYSTEM "http://java.sun.com/dtd/properties.dtd">
<properties>
<entry key="group">launchway</entry>
<entry key="name">$2</entry>
<entry key="version">1.0</entry>
</properties>
XML
  printf '<workspaceFilter version="1.0"><filter root="%s"/></workspaceFilter>\n' "$3" >"$1/META-INF/vault/filter.xml"
}

# A real content package with one node type that no repository knows: FileVault imports the rest and logs errors.
broken_package() {
  local dir=${1%.zip}-src
  package_source "$dir" broken /content/broken
  cat >"$dir/jcr_root/content/broken/.content.xml" <<'XML'
<jcr:root xmlns:jcr="http://www.jcp.org/jcr/1.0" xmlns:no="urn:none" jcr:primaryType="no:such"/>
XML
  (cd "$dir" && rm -f "$1" && zip -qr "$1" .)
}

aem_volume() { # IMAGE
  local image=$1 f=$FIXTURES/filevault volume=$WORK/$1-volume first second
  say "$image: an author on a volume that outlives its pods (up to 50 s)"
  mkdir -p "$volume"
  chown 65532:65532 "$volume"
  package "$WORK/$image-v1" "$f/test_c-1.0.zip" '["author","publish"]'
  package "$WORK/$image-v2" "$f/test_c-1.1.zip" '["author","publish"]'
  start_aem "$image" author-1 author "$WORK/$image-v1" --rw "$volume:/opt/launchway/data"
  within 150 is_ready author-1 || fail "release 1 is not ready: $(cat "$WORK/ready.out")"
  first=$(record my_packages/test_c-1.0.zip)
  stop_container author-1
  start_aem "$image" author-1b author "$WORK/$image-v1" --rw "$volume:/opt/launchway/data"
  within 150 is_ready author-1b || fail "release 1 is not ready after a restart: $(cat "$WORK/ready.out")"
  [ "$first" = "$(record my_packages/test_c-1.0.zip)" ] || fail "a restart unpacked the package again"
  pass "a restart on the same release is ready without unpacking again"
  stop_container author-1b
  start_aem "$image" author-2 author "$WORK/$image-v2" --rw "$volume:/opt/launchway/data"
  within 150 is_ready author-2 || fail "release 2 is not ready: $(cat "$WORK/ready.out")"
  second=$(record my_packages/test_c-1.1.zip)
  [ -n "$second" ] || fail "ready, but 1.1 is not unpacked"
  pass "a new release on the volume is ready once its own package is unpacked"
  stop_container author-2
  start_aem "$image" author-3 author "$WORK/$image-v1" --rw "$volume:/opt/launchway/data"
  within 150 ready_or_says author-3 '^(pending my_packages:test_c:1.0: waits for the (runtime|package)|failed my_packages:test_c:1.0: )' || fail "no word of the downgrade: $(cat "$WORK/ready.out")"
  sleep 8
  if is_ready author-3; then
    [ "$(record my_packages/test_c-1.0.zip)" != "$first" ] || fail "ready on release 1's old record although 1.1 is what is unpacked"
    pass "a downgrade on the volume is ready because the runtime unpacked it anew"
  else
    pass "a downgrade on the volume is not taken for installed: $(grep test_c "$WORK/ready.out")"
  fi
  stop_container author-3
}

# The dispatcher tests use this publish, too.
aem_publish() { # IMAGE CONTAINER
  local image=$1 name=$2 layer=$WORK/$1-good f=$FIXTURES/filevault started
  say "$image: a publish with packages, one of them embedded (up to 15 s)"
  package "$layer" "$f/test-package.zip" '["author","publish"]'
  package "$layer" "$f/tmp_foo.zip" '["publish"]'
  package "$layer" "$f/subtest.zip" '["publish"]'
  index_entry "$layer" '{"id":"my_packages:sub_a","group":"my_packages","name":"sub_a","version":"","sha256":"embedded","tiers":["publish"],"dependencies":[],"embeddedIn":"my_packages:subtest"}'
  started=$SECONDS
  start_aem "$image" "$name" publish "$layer"
  within 150 is_ready "$name" || fail "publish is not ready: $(cat "$WORK/ready.out")"
  say "  publish was ready after $((SECONDS - started)) s"
  local id
  for id in test/test-package-with-etc-1.0 my_packages/tmp_foo my_packages/subtest my_packages/sub_a; do
    [ -n "$(record "$id.zip")" ] || fail "ready, but $id is not unpacked"
  done
  pass "ready only with all packages unpacked, the embedded one too"
  expect "installed content answers" '^200$' "$(web -o /dev/null -w '%{http_code}' -u admin:admin http://127.0.0.1:8080/tmp/foo.json)"
  expect "/system/probes/ready answers with results" '"name":"[^"]+","status":"OK"' "$(web http://127.0.0.1:8080/system/probes/ready)"
}

has_fixtures() {
  [ -d "$FIXTURES/filevault" ] || { say "no packages at $FIXTURES (set LAUNCHWAY_FIXTURES): the tests with packages are left out"; return 1; }
}

test_sling() {
  has_fixtures || return 0
  aem_failures sling
  aem_volume sling
  aem_publish sling publish
}

# The same questions to the stand-in, and those about what only it can be told.
test_standin() {
  has_fixtures || return 0
  aem_failures standin
  aem_volume standin
  aem_publish standin publish-standin
  stop_container publish-standin
  standin_wishes
}

# A package that tells the stand-in how to behave: wishes LAYER ATTRIBUTES
wishes() {
  local dir=$WORK/wishes-src zip=$WORK/wishes.zip
  rm -rf "$dir" "$zip" "$1"
  package_source "$dir" wishes /apps/launchway-standin
  printf '<jcr:root xmlns:jcr="http://www.jcp.org/jcr/1.0" jcr:primaryType="nt:unstructured" %s/>\n' "$2" >"$dir/jcr_root/apps/launchway-standin/.content.xml"
  (cd "$dir" && zip -qr "$zip" .)
  package "$1" "$zip" '["author","publish"]'
}

standin_wishes() {
  local layer=$WORK/wishes began
  say "standin: what it can be told by a package or a variable (10 s)"
  wishes "$layer" 'fails="the disk is full" runModes="publish,stage"'
  start_aem standin wish-fails publish "$layer"
  within 5 says wish-fails '^failed launchway:wishes:1.0: the disk is full$' || fail "no word of the wish: $(cat "$WORK/ready.out")"
  stop_container wish-fails
  start_aem standin wish-elsewhere author "$layer"
  within 5 is_ready wish-elsewhere || fail "a wish for publish is granted on the author: $(cat "$WORK/ready.out")"
  pass "a package fails where it is told to, and only there"
  stop_container wish-elsewhere
  wishes "$layer" 'waits="an endless migration"'
  start_aem standin wish-waits publish "$layer"
  within 5 says wish-waits '^pending launchway:wishes:1.0: an endless migration$' || fail "no word of the wish: $(cat "$WORK/ready.out")"
  pass "a package keeps the runtime from getting ready"
  stop_container wish-waits
  wishes "$layer" 'exits="7"'
  start_aem standin wish-exits publish "$layer"
  within 5 stopped wish-exits || fail "the runtime goes on"
  expect "a package lets the runtime exit, with a word" 'asks to exit with 7' "$(cat "$WORK/wish-exits.log")"
  began=$(date +%s%N)
  start_aem standin wish-slow publish "$WORK/standin-good" STANDIN_START_SECONDS=2
  within 10 is_ready wish-slow || fail "not ready: $(cat "$WORK/ready.out")"
  [ $(($(date +%s%N) - began)) -ge 2000000000 ] || fail "ready before its time"
  pass "a variable makes the start slow"
  stop_container wish-slow
}
