# Tests of the httpd image in front of a real publish; sourced by test.sh.
# shellcheck shell=bash

SITE=http://127.0.0.1
OUTSIDE=http://$NS_IP

cache_state() { web -o /dev/null -D - "$@" | tr -d '\r' | sed -n 's/^X-Cache: \([A-Z]*\).*/\1/p'; }

status_of() { web -o /dev/null -w '%{http_code}' "$@"; }

flush() { # HANDLE [HEADER…]
  local handle=$1 header args=()
  shift
  for header in "$@"; do args+=(-H "$header"); done
  web -X POST -H 'CQ-Action: Activate' -H "CQ-Handle: $handle" "${args[@]}" "$SITE/dispatcher/invalidate.cache"
}

fill() { local p; for p in "$@"; do status_of "$SITE$p" >/dev/null; done; }

make_page() { # PATH TITLE
  web -o /dev/null -u admin:admin -F "title=$2" "http://127.0.0.1:8080$1"
}

start_httpd() { # NAME [ARG…]
  local name=$1
  shift
  start_container "$name" httpd AEM_HOST=127.0.0.1 AEM_PORT=8080 ENVIRONMENT_TYPE=prod LAUNCHWAY_DRAIN_SECONDS=2 "$@"
}

httpd_config_test() {
  local tree=$WORK/wknd output
  say "httpd: the configuration test (5 s)"
  output=$(config_test AEM_HOST=publish-0 AEM_PORT=4503 -- "$tree") || fail "config-test refuses the WKND tree: $output"
  expect "accepts the WKND tree" 'Syntax OK' "$output"
  if output=$(config_test AEM_PORT=4503 -- "$tree"); then fail "config-test passes without AEM_HOST"; fi
  expect "names a missing required variable" 'required variable AEM_HOST is not set' "$output"
  cp -a "$tree" "$WORK/undefined"
  # shellcheck disable=SC2016
  sed -i 's|^\(.*ServerAlias.*\)$|\1 ${SITE_HOST}|' "$WORK/undefined/conf.d/available_vhosts/wknd.vhost"
  if output=$(config_test AEM_HOST=publish-0 AEM_PORT=4503 -- "$WORK/undefined"); then fail "config-test passes with an undefined variable"; fi
  expect "names an undefined variable" 'variable SITE_HOST is used by the configuration but not defined' "$output"
  output=$(config_test AEM_HOST=publish-0 AEM_PORT=4503 SITE_HOST=www.example.com -- "$WORK/undefined") || fail "SITE_HOST is set, yet: $output"
  pass "accepts it once the environment defines the variable"
  cp -a "$tree" "$WORK/invalid"
  printf 'NoSuchDirective on\n' >>"$WORK/invalid/conf.d/rewrites/rewrite.rules"
  if output=$(config_test AEM_HOST=publish-0 AEM_PORT=4503 -- "$WORK/invalid"); then fail "config-test passes with an unknown directive"; fi
  expect "tells file and line of a wrong directive" "line [0-9]+ of /etc/httpd/conf.d/rewrites/rewrite.rules" "$output"
  if output=$(config_test AEM_HOST=publish-0 AEM_PORT=4503 ENVIRONMENT_TYPE=qa -- "$tree"); then fail "config-test passes with a wrong type"; fi
  expect "names a variable with a wrong value" 'ENVIRONMENT_TYPE is "qa": it must be one of dev stage prod' "$output"
  if [ -e "$FIXTURES/dispatcher/archetype.dispatcher.ams-51.zip" ]; then
    mkdir -p "$WORK/ams"
    unzip -qo "$FIXTURES/dispatcher/archetype.dispatcher.ams-51.zip" -d "$WORK/ams"
    output=$(config_test AEM_HOST=publish-0 AEM_PORT=4503 country=us language=en -- "$WORK/ams") || fail "config-test refuses the AMS tree: $output"
    pass "accepts the AMS tree of the archetype"
  fi
}

config_test() { # VAR=VALUE… -- TREE: runs the image's config-test as an init container does
  local vars=() name=config-test-$RANDOM
  while [ "$1" != -- ]; do vars+=("$1"); shift; done
  start_container "$name" httpd "${vars[@]}" --tree "$2:/etc/httpd" --cmd /opt/launchway/bin/config-test
  within 20 stopped "$name" || fail "config-test does not end"
  cat "$WORK/$name.log"
  grep -q '^configuration is valid' "$WORK/$name.log"
}

httpd_serving() {
  say "httpd: the WKND tree in front of publish (10 s)"
  start_httpd dispatcher --tree "$WORK/wknd:/etc/httpd"
  within 20 is_ready dispatcher || fail "dispatcher is not ready: $(cat "$WORK/ready.out")"
  is_live dispatcher || fail "dispatcher is not live"
  pass "ready and live"
  make_page /content/wknd/us/en 'Welcome to WKND'
  make_page /content/wknd/us/en/about 'About'
  make_page /content/wknd/us/de 'Willkommen'
  make_page /content/other/page 'Other'
  expect "a short URL is rewritten and served by publish" 'Welcome to WKND' "$(web "$SITE/us/en.html")"
  expect "the second answer comes from the cache" '^HIT$' "$(cache_state "$SITE/us/en.html")"
  expect "its long URL is the same entry" '^HIT$' "$(cache_state "$SITE/content/wknd/us/en.html")"
  web "$SITE/us/en.html?q=1" -o /dev/null
  expect "a query is not cached" '^$' "$(cache_state "$SITE/us/en.html?q=1")"
  expect "a login is not answered from the cache" '^$' "$(cache_state -u admin:admin "$SITE/us/en.html")"
  make_page /content/wknd/us/en 'Changed'
  expect "a change is not seen before the flush" 'Welcome to WKND' "$(web "$SITE/us/en.html")"
}

one_sweeper() {
  # The brackets keep this very command line from matching.
  [ "$(run_in dispatcher /bin/sh -c 'grep -lz "[b]in/flush" /proc/[0-9]*/cmdline 2>/dev/null | wc -l')" -le 1 ]
}

httpd_flush() {
  say "httpd: invalidation (2 s)"
  fill /us/en.html /us/en/about.html /us/de.html /content/other/page.html
  expect "a foreign address is refused" '^403$' "$(curl -s -o /dev/null -w '%{http_code}' -X POST -H 'CQ-Action: Activate' \
    -H 'CQ-Handle: /content/wknd/us/en' "$OUTSIDE/dispatcher/invalidate.cache")"
  expect "so it is with a forged X-Forwarded-For and another URL" '^403$' "$(curl -s -o /dev/null -w '%{http_code}' \
    -H 'X-Forwarded-For: 127.0.0.1' -H 'CQ-Action: Activate' -H 'CQ-Handle: /content/wknd/us/en' "$OUTSIDE/us/en.html")"
  expect "nothing was emptied" '^HIT$' "$(cache_state "$SITE/us/en.html")"
  expect "ResourceOnly is accepted from an allowed client" '^OK' "$(flush /content/wknd/us/en 'CQ-Action-Scope: ResourceOnly')"
  expect "the handle is fetched anew" '^MISS$' "$(cache_state "$SITE/us/en.html")"
  expect "with the new content" 'Changed' "$(web "$SITE/us/en.html")"
  expect "its neighbours stay" '^HIT$' "$(cache_state "$SITE/us/en/about.html")"
  expect "a default flush is accepted" '^OK' "$(flush /content/wknd/us/en)"
  expect "the handle is fetched anew" '^MISS$' "$(cache_state "$SITE/us/en.html")"
  expect "so is what its stat-file level covers" '^MISS$' "$(cache_state "$SITE/us/de.html")"
  for _ in {1..20}; do flush /content/wknd/us/en >/dev/null; done
  within 10 one_sweeper || fail "20 flushes leave more than one sweeper"
  pass "20 flushes leave one sweeper"
  expect "another site stays" '^HIT$' "$(cache_state "$SITE/content/other/page.html")"
}

# held_httpd NAME [ARG…]: what it does before it serves waits for a word.
held_httpd() {
  local name=$1 bin=$WORK/held-bin
  shift
  mkdir -p "$bin"
  cp "$(unpacked httpd)/opt/launchway/bin/check" "$bin/check-for-real"
  printf '#!/bin/bash\n[ -e /tmp/go ] || { echo "pending test: holds it"; exit 1; }\nexec /opt/launchway/bin/check-for-real\n' >"$bin/check"
  chmod 755 "$bin/check"
  start_httpd "$name" --tree "$WORK/wknd:/etc/httpd" --tree "$bin:/opt/launchway/bin" "$@"
}

# What a dispatcher does once before it is ready for the first time, seen by the state of its cache before and after.
httpd_before_serving() {
  local log=$WORK/dispatcher-once.log
  say "httpd: what is dropped and requested before a dispatcher serves (15 s)"
  printf '<sly data-sly-use.x="no.such.Class"/>' >"$WORK/broken.html"
  web -o /dev/null -u admin:admin -F "broken.html=@$WORK/broken.html;type=text/html" http://127.0.0.1:8080/apps/launchway/broken
  web -o /dev/null -u admin:admin -F sling:resourceType=launchway/broken http://127.0.0.1:8080/content/wknd/us/broken
  stop_container dispatcher WINCH
  make_page /content/other/logo 'Logo'
  held_httpd dispatcher-once LAUNCHWAY_INVALIDATE=/content/wknd/us/en \
    LAUNCHWAY_FLUSH=/content/other/page "LAUNCHWAY_WARM_UP=/us/de.html /us/none.html /us/broken.html" LAUNCHWAY_WARM_UP_SECONDS=6
  within 20 is_live dispatcher-once || fail "httpd does not start"
  fill /us/en.html /us/en/about.html /content/other/page.html /content/other/logo.html
  expect "pages are cached before it is ready" '^HIT$' "$(cache_state "$SITE/us/en.html")"
  for page in wknd/us/en wknd/us/en/about other/page other/logo; do make_page "/content/$page" 'Second edition'; done
  within 5 says dispatcher-once '^pending test: holds it' || fail "ready before anything was done"
  run_in dispatcher-once /bin/touch /tmp/go
  within 5 says dispatcher-once '^pending warm-up: waits for /us/none.html to answer .now 404' \
    || fail "no word of a page of the warm-up that is not there: $(cat "$WORK/ready.out")"
  pass "a page that is not there is waited for"
  expect "an invalidated page is fetched anew" 'Second edition' "$(web "$SITE/us/en.html")"
  expect "and what its stat files cover" 'Second edition' "$(web "$SITE/us/en/about.html")"
  expect "a flushed page is fetched anew" 'Second edition' "$(web "$SITE/content/other/page.html")"
  expect "and nothing beside it" 'Logo' "$(web "$SITE/content/other/logo.html")"
  expect "a page of the warm-up is in the cache" '^HIT$' "$(cache_state "$SITE/us/de.html")"
  within 15 is_ready dispatcher-once || fail "the warm-up has no end"
  expect "its end is told in the log" 'warm-up: /us/broken.html answers 500 after [0-9]+ s: this dispatcher serves without it' "$(cat "$log")"
  make_page /content/wknd/us/en 'Third edition'
  run_in dispatcher-once /opt/launchway/bin/ready >/dev/null || fail "no longer ready"
  expect "paths are dropped once" 'Second edition' "$(web "$SITE/us/en.html")"
  stop_container dispatcher-once WINCH
  start_httpd dispatcher-refused --tree "$WORK/wknd:/etc/httpd" LAUNCHWAY_INVALIDATE=content/wknd
  within 20 says dispatcher-refused '^pending invalidate: waits for content/wknd to be dropped .* .now 400' \
    || fail "no word of an invalidation that is refused: $(cat "$WORK/ready.out")"
  pass "an invalidation that is refused is named"
  stop_container dispatcher-refused WINCH
  start_httpd dispatcher --tree "$WORK/wknd:/etc/httpd"
  within 20 is_ready dispatcher || fail "dispatcher is not ready again"
}

# What the kubelet asks at a port of its own.
httpd_probes() {
  local probes=$OUTSIDE:9181
  say "httpd: what the kubelet asks (10 s)"
  expect "nothing else is at that port" '^404$' "$(curl -s -o /dev/null -w '%{http_code}' "$probes/us/en.html")"
  expect "nor the door of invalidations" '^404$' "$(curl -s -o /dev/null -w '%{http_code}' -H 'CQ-Action: Activate' \
    -H 'CQ-Handle: /content/wknd/us/en' "$probes/dispatcher/invalidate.cache")"
  run_in dispatcher /bin/sh -c 'kill -9 $(grep -lz "[b]in/readiness" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3)'
  sleep 1
  within 10 is_ready dispatcher || fail "who asks for readiness died, and is not started again"
  pass "who asks for readiness is started again"
  stop_container dispatcher WINCH
  cp -a "$WORK/wknd" "$WORK/closed"
  cat >"$WORK/closed/conf.d/closed.conf" <<'CONF'
Redirect 301 "/" "https://www.example.com/"
ProxyPass "/" "http://192.0.2.1/"
ErrorDocument 404 "https://www.example.com/"
ErrorDocument 503 "https://www.example.com/"
RewriteEngine On
RewriteOptions InheritDownBefore
RewriteRule "^" "https://www.example.com/" [R=302,END]
<Location "/">
	Require all denied
	SetHandler server-status
</Location>
<VirtualHost *>
	Redirect 301 "/" "https://www.example.com/"
</VirtualHost>
CONF
  start_httpd dispatcher-closed --tree "$WORK/closed:/etc/httpd"
  within 20 is_live dispatcher-closed || fail "a tree that lets nobody in is not live"
  within 5 says dispatcher-closed '^pending httpd: waits for Apache to answer /system/probes/live .now [34]0' \
    || fail "a tree that lets nobody in: $(cat "$WORK/ready.out")"
  expect "a tree keeps visitors out, and not the kubelet" '^[34]0. 200 503$' "$(curl -s -o /dev/null -w '%{http_code} ' \
    "$OUTSIDE/" "$probes/live" "$probes/ready" -o /dev/null -o /dev/null | sed 's/ $//')"
  stop_container dispatcher-closed WINCH
  start_httpd dispatcher --tree "$WORK/wknd:/etc/httpd"
  within 20 is_ready dispatcher || fail "dispatcher is not ready again"
}

# A counter by the end of its name.
counted() { curl -s "$OUTSIDE:9180/metrics" | sed -n "s/^launchway_dispatcher_$1_total //p"; }

# Whether a counter has a value: it is written a second after the answer at most.
counts() { [ "$(counted "$1")" = "$2" ]; }

httpd_counters() {
  local before errors page
  say "httpd: what visitors get is counted (5 s)"
  before=$(counted requests)
  errors=$(counted errors)
  expect "counters are there before anybody came from outside but for the flushes" '^[0-9]+ [0-9]+$' "$before $errors"
  for page in us/en.html us/en.html us/de.html us/none.html; do curl -s -o /dev/null "$OUTSIDE/$page"; done
  curl -s -o /dev/null "$OUTSIDE/us/broken.html"
  within 5 counts requests $((before + 5)) || fail "$before and 5 requests are $(counted requests)"
  within 5 counts errors $((errors + 1)) || fail "$errors and one error are $(counted errors)"
  pass "hits, misses and errors count, also with the log of a virtual host"
  expect "the time of answers is in seconds" '^[0-9]+\.[0-9]{6}$' "$(counted request_seconds)"
  fill /us/en.html /us/broken.html
  is_ready dispatcher || fail "no longer ready"
  flush_outside >/dev/null
  sleep 2
  expect "probes, warm-up and invalidations do not" "^$((before + 5)) $((errors + 1))\$" "$(counted requests) $(counted errors)"
  expect "nothing else is at that port" '^403$' "$(curl -s -o /dev/null -w '%{http_code}' "$OUTSIDE:9180/us/en.html")"
  expect "nor the door of invalidations" '^403$' "$(curl -s -o /dev/null -w '%{http_code}' -H 'CQ-Action: Activate' \
    -H 'CQ-Handle: /content/wknd/us/en' "$OUTSIDE:9180/dispatcher/invalidate.cache")"
  # A process that dies is started again by httpd, and goes on counting.
  run_in dispatcher /bin/sh -c 'kill $(grep -lz "[b]in/traffic" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3)'
  within 10 counts requests $((before + 5)) || fail "after a kill $((before + 5)) requests are $(counted requests)"
  curl -s -o /dev/null "$OUTSIDE/us/en.html"
  within 5 counts requests $((before + 6)) || fail "after a kill another request is not counted: $(counted requests)"
  pass "counters go on after their process died"
}

httpd_reconnect() {
  local codes
  say "httpd: publish restarts behind it (20 s)"
  # Right after the flushes: their sweeper must leave what was requested later.
  fill /us/en.html
  stop_container publish
  expect "without publish, what is not cached is an error" '^50[23]$' "$(status_of "$SITE/us/none.html")"
  expect "what is cached is served" '^HIT$' "$(cache_state "$SITE/us/en.html")"
  within 5 says dispatcher '^pending publish: ' || fail "dispatcher is ready without publish, or does not say why: $(cat "$WORK/ready.out")"
  pass "not ready, and says why, although it was ready"
  is_live dispatcher || fail "dispatcher is not live without publish"
  umount -l "$WORK/publish/root" 2>/dev/null || true
  rm -rf "$WORK/publish"
  start_aem sling publish publish "$WORK/sling-good"
  within 150 is_ready publish || fail "publish does not come back: $(cat "$WORK/ready.out")"
  codes=$(for _ in {1..20}; do status_of "$SITE/server/default/jcr:root/content.json"; echo; done | sort | uniq -c | tr -s ' ')
  expect "every request works from the first moment" '^ 20 200$' "$codes"
  within 5 is_ready dispatcher || fail "not ready again with its publish: $(cat "$WORK/ready.out")"
  expect "its last word is that it is ready" $'^launchway-ready:\tready$' "$(grep '^launchway-ready:' "$WORK/dispatcher.log" | tail -n 1)"
}

httpd_drain() {
  local before after ended=$SECONDS
  say "httpd: drain and graceful stop (5 s)"
  before=$(web -o /dev/null -D - "$SITE/system/probes/live")
  run_in dispatcher /opt/launchway/bin/drain &
  local drain=$!
  sleep 0.5
  after=$(web -o /dev/null -D - "$SITE/system/probes/live")
  if grep -qi '^connection: close' <<<"$before"; then fail "connections are not kept before the drain"; fi
  expect "while draining, answers close their connection" 'Connection: close' "$after"
  wait "$drain"
  [ $((SECONDS - ended)) -ge 2 ] || fail "drain returned before LAUNCHWAY_DRAIN_SECONDS"
  pass "drain returns after LAUNCHWAY_DRAIN_SECONDS"
  expect "the image stops gracefully" '^SIGWINCH$' "$(image_config httpd .StopSignal)"
  stop_container dispatcher WINCH
  expect "httpd ends by itself" 'shutting down gracefully' "$(cat "$WORK/dispatcher.log")"
  if sed -n '/shutting down gracefully/,$p' "$WORK/dispatcher.log" | grep '^launchway-ready:'; then fail "its end is told as something that is missing"; fi
}

# What a flush agent sends from another address; answers with the status.
flush_outside() { # [CURL-ARGUMENT…]
  curl -s -o /dev/null -w '%{http_code}' -H 'CQ-Action: Activate' -H 'CQ-Handle: /content/other/page' -H 'Host: flush' "$@" \
    "$OUTSIDE/dispatcher/invalidate.cache"
}

httpd_other_trees() {
  say "httpd: an AMS tree, and no tree at all (5 s)"
  if [ -d "$WORK/ams" ]; then
    start_httpd dispatcher-ams country=us language=en --tree "$WORK/ams:/etc/httpd" "LAUNCHWAY_FLUSH_CLIENTS=$HOST_IP/32"
    within 20 is_ready dispatcher-ams || fail "the AMS tree is not ready"
    expect "AMS tree serves publish" '^200$' "$(status_of "$SITE/content/other/page.html")"
    make_page /content/other/near 'Near'
    fill /content/other/page.html /content/other/near.html
    expect "its pages are cached" '^HIT HIT$' "$(cache_state "$SITE/content/other/page.html") $(cache_state "$SITE/content/other/near.html")"
    expect "a client of LAUNCHWAY_FLUSH_CLIENTS may flush" '^200$' "$(flush_outside -H 'CQ-Action-Scope: ResourceOnly')"
    expect "a flushed page is fetched anew" '^MISS$' "$(cache_state "$SITE/content/other/page.html")"
    expect "its neighbour stays" '^HIT$' "$(cache_state "$SITE/content/other/near.html")"
    expect "it may invalidate" '^200$' "$(flush_outside)"
    expect "an invalidated page is fetched anew" '^MISS$' "$(cache_state "$SITE/content/other/page.html")"
    expect "so is its neighbour" '^MISS$' "$(cache_state "$SITE/content/other/near.html")"
    stop_container dispatcher-ams WINCH
  fi
  start_httpd bare
  within 20 is_ready bare || fail "the bare image is not ready"
  expect "the bare image is a plain proxy" '^200$' "$(status_of "$SITE/server/default/jcr:root/content.json")"
  stop_container bare WINCH
}

test_httpd() {
  local archive=$FIXTURES/dispatcher/wknd.dispatcher.cloud-4.0.4.zip
  [ -e "$archive" ] || { say "httpd: no dispatcher package at $archive (set LAUNCHWAY_FIXTURES): left out"; return; }
  mkdir -p "$WORK/wknd"
  unzip -qo "$archive" -d "$WORK/wknd"
  httpd_config_test
  running publish || aem_publish sling publish
  httpd_serving
  httpd_flush
  httpd_before_serving
  httpd_counters
  httpd_probes
  httpd_reconnect
  make_page /content/other/page 'Other'
  httpd_drain
  httpd_other_trees
  stop_container publish
}
