#!/usr/bin/env bash
# Starts the images for real (runc, restricted as in a pod) and proves what their README promises. About 2 minutes.
#   test.sh            everything          test.sh sling|standin|httpd|tester|operator|workers…   only these parts
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$IMAGES_DIR/test-lib.sh"
. "$IMAGES_DIR/test-aem.sh"
. "$IMAGES_DIR/test-httpd.sh"
. "$IMAGES_DIR/test-workers.sh"

FIXTURES=${LAUNCHWAY_FIXTURES:-$IMAGES_DIR/../../../shared/fixtures}

test_tester() {
  local output
  say "tester: one request, one verdict"
  printf 'Welcome to WKND\n' >"$WORK/page.html"
  (cd "$WORK" && exec ip netns exec "$NETNS" python3 -m http.server 8090 --bind 127.0.0.1 </dev/null >/dev/null 2>&1) &
  local server=$!
  within 10 web -f -o /dev/null http://127.0.0.1:8090/page.html || fail "test server does not start"
  start_container tester-pass tester LAUNCHWAY_TEST_URL=http://127.0.0.1:8090 LAUNCHWAY_TEST_PATH=/page.html \
    LAUNCHWAY_TEST_CONTAINS=Welcome
  within 10 stopped tester-pass || fail "tester does not end"
  expect "passes when the page contains the text" '^passed: ' "$(cat "$WORK/tester-pass.log")"
  start_container tester-login tester LAUNCHWAY_TEST_URL=http://127.0.0.1:8090 LAUNCHWAY_TEST_PATH=/page.html \
    AEM_PUBLISH_USERNAME=tess AEM_PUBLISH_PASSWORD='a word'
  within 10 stopped tester-login || fail "tester does not end"
  expect "asks as the user that it is given" '^passed: GET .* as tess answered 200' "$(cat "$WORK/tester-login.log")"
  printf '' >"$WORK/termination"
  chmod 666 "$WORK/termination"
  start_container tester-fail tester LAUNCHWAY_TEST_URL=http://127.0.0.1:8090 LAUNCHWAY_TEST_PATH=/page.html \
    LAUNCHWAY_TEST_CONTAINS=Farewell --bind-file "$WORK/termination:/dev/termination-log"
  within 10 stopped tester-fail || fail "tester does not end"
  output=$(cat "$WORK/termination")
  expect "fails with the reason as termination message" 'without the expected text "Farewell"' "$output"
  kill "$server" 2>/dev/null || true
}

test_operator() {
  say "operator: the given binary runs, without a shell, with a CA bundle"
  local root
  root=$(unpacked operator)
  [ -x "$root/usr/local/bin/launchway" ] || fail "no binary in the image"
  [ ! -e "$root/bin/sh" ] || fail "the operator image has a shell"
  [ "$(grep -c 'BEGIN CERTIFICATE' "$root/etc/ssl/certs/ca-certificates.crt")" -gt 100 ] || fail "no CA bundle"
  start_container operator operator --cmd /usr/local/bin/launchway --version
  within 10 stopped operator || fail "the binary does not end"
  if grep -qE 'not found|No such file|error while loading' "$WORK/operator.log"; then fail "$(cat "$WORK/operator.log")"; fi
  pass "binary, libraries and CA bundle are there, no shell is"
}

main() {
  local parts=("$@") part
  [ ${#parts[@]} -gt 0 ] || parts=(tester operator standin sling httpd workers)
  [ "$(id -u)" = 0 ] || die "$0 needs root: it makes a network namespace and starts containers"
  need runc=runc umoci=umoci jq=jq ip=iproute2 unzip=unzip
  WORK=$(mktemp -d /tmp/launchway-images.XXXXXX)
  trap clean_up EXIT
  network
  for part in "${parts[@]}"; do
    if [ "$part" = operator ] && [ ! -e "$CACHE_DIR/operator/current" ]; then
      say "operator: not built, skipped (build.sh operator --binary PATH)"
      continue
    fi
    "test_$part"
  done
  say "$PASSED checks passed in $SECONDS s"
}

main "$@"
