# Tests of the workers against the httpd image in front of a real publish; sourced by test.sh. They need a binary:
# LAUNCHWAY_BINARY=target/release/launchway test.sh workers
# shellcheck shell=bash

worker() { # SUBCOMMAND VARIABLE REQUEST: runs it as a stranger, outside of the namespace; its result is in $WORK/result
  env LAUNCHWAY_TERMINATION_LOG="$WORK/result" "$2=$3" "$LAUNCHWAY_BINARY" worker "$1" >"$WORK/worker.log" 2>&1
}

metric() { # NAME: its actual value
  jq -r --arg name "$1" '.ok.metrics[] | select(.[0] == $name) | .[4]' "$WORK/result"
}

workers_security() {
  local request='{"url":"'$OUTSIDE'","page":"/us/en.html"}'
  say "workers: the security test against an open site (10 s)"
  worker security-test LAUNCHWAY_SECURITY "$request" || fail "security-test: $(cat "$WORK/worker.log")"
  cp "$WORK/worker.log" "$WORK/security-open.log"
  # The stand-in has no filter, and the publish is a plain Sling with its default password.
  local name
  for name in default_login_accounts felix_console sling_get_servlet sling_post_servlet user_profile_default_access davex_health_check; do
    expect "finds $name" '^[1-9]' "$(metric "$name")"
  done
  expect "a cache that strangers cannot flush passes" '^0$' "$(metric cq_dispatcher_configuration)"
  expect "so does TRACE that is off" '^0$' "$(metric http_trace)"
}

workers_tight() {
  local request='{"url":"'$OUTSIDE'","page":"/us/en.html"}'
  say "workers: the security test against a site that is shut (15 s)"
  stop_container dispatcher WINCH
  cp -a "$WORK/wknd" "$WORK/shut-tree"
  cat >>"$WORK/shut-tree/conf.d/rewrites/rewrite.rules" <<'RULES'
RewriteCond %{REQUEST_METHOD} !^(GET|HEAD)$
RewriteRule ^ - [F]
RewriteCond %{THE_REQUEST} !^[A-Z]+\ /([a-z]{2}|content)(/[a-z-]+)*\.html[\ ?]
RewriteCond %{REQUEST_URI} !^/system/probes/
RewriteRule ^ - [F]
Header always set X-Frame-Options SAMEORIGIN
Header always set X-Content-Type-Options nosniff
RULES
  start_httpd tight --tree "$WORK/shut-tree:/etc/httpd"
  within 20 web -f -o /dev/null "$SITE/us/en.html" || fail "the shut site does not serve its page"
  worker security-test LAUNCHWAY_SECURITY "$request" || fail "security-test: $(cat "$WORK/worker.log")"
  expect "no check of any weight fails" '^$' \
    "$(jq -r '.ok.metrics[] | select(.[1] != "informational" and .[4] != "0") | .[0]' "$WORK/result")"
}

workers_performance() {
  say "workers: the performance test (12 s)"
  local request
  request=$(jq -nc --arg url "$OUTSIDE" '{url: $url, durationSeconds: 10, concurrency: 4, pagesPerMinute: 1200, thresholds: {pagesPerMinute: 1000},
    sets: [{name: "popular", weight: 70, paths: ["/us/en.html"]}, {name: "other", weight: 20, paths: ["/us/en/about.html", "/us/de.html"]},
           {name: "new", weight: 10, paths: ["/content/other/page.html"]}]}')
  worker performance-test LAUNCHWAY_PERFORMANCE "$request" || fail "performance-test: $(cat "$WORK/worker.log")"
  expect "the rate is kept" '^1[12][0-9][0-9]\.' "$(metric views_per_minute)"
  expect "no page fails" '^0\.00$' "$(metric error_rate)"
  request=$(jq -c '.sets[2].paths = ["/us/none.html"]' <<<"$request")
  worker performance-test LAUNCHWAY_PERFORMANCE "$request" || fail "performance-test: $(cat "$WORK/worker.log")"
  expect "a page in ten that is missing is ten percent" '^(9|10)\.' "$(metric error_rate)"
}

test_workers() {
  local archive=$FIXTURES/dispatcher/wknd.dispatcher.cloud-4.0.4.zip
  [ -n "${LAUNCHWAY_BINARY:-}" ] || { say "workers: LAUNCHWAY_BINARY names no binary: left out"; return; }
  [ -e "$archive" ] || { say "workers: no dispatcher package at $archive (set LAUNCHWAY_FIXTURES): left out"; return; }
  mkdir -p "$WORK/wknd"
  unzip -qo "$archive" -d "$WORK/wknd"
  running publish || aem_publish sling publish
  httpd_serving
  workers_security
  workers_performance
  workers_tight
  stop_container tight WINCH
  stop_container publish
}
