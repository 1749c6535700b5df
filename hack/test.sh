#!/usr/bin/env bash
# test.sh SCENARIO...: everything that has to pass, quick things first. Each part ends with the runner's own totals. With more
# than one scenario, as in make test-all, base images are started and tested by themselves, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Scenarios at once: most of a scenario's time is waiting. Those that have to be alone wait for that themselves.
jobs="${JOBS:-4}"
build=(--profile quick --locked --workspace)
began=$SECONDS
say() { printf '\n== %s [after %d s]\n' "$*" $((SECONDS - began)); }

cluster() {
  if [[ -z "${KUBECONFIG:-}" ]] || ! command -v helm >/dev/null || ! command -v kubectl >/dev/null; then
    PATH="$(e2e/cluster/build.sh | tail -n 1):$PATH"
  fi
  if [[ -z "${KUBECONFIG:-}" ]]; then
    KUBECONFIG="$(e2e/cluster/up.sh | tail -n 1)"
    export KUBECONFIG
  fi
}

main() {
  say "compiling everything (about 10 minutes on 2 cores the first time); meanwhile images are fetched"
  # Waiting for downloads, most of it. What fails is tried again, and told, by the first scenario.
  e2e/images/build.sh sling standin httpd tester </dev/null >/dev/null 2>&1 &
  local images=$!
  cargo test "${build[@]}" --no-run
  # That made the binary too, with the tests' features: building it alone would compile dependencies again.
  export LAUNCHWAY_BINARY="${LAUNCHWAY_BINARY:-${CARGO_TARGET_DIR:-$PWD/target}/quick/launchway}"
  say "unit tests, no cluster (under a minute)"
  hack/unit.sh
  wait "$images" || true
  if (($# > 1)); then base_images; fi
  say "the cluster (built in about 10 minutes the first time, then started in 20 s)"
  cluster
  say "pushing and building against a real registry (a few seconds)"
  cargo test "${build[@]}" --exclude launchway-e2e --test registry --test supply --test retention --test git --test test_reports --test scanners
  say "generated files are current (a few seconds)"
  hack/generated.sh --check
  say "the chart and its kustomize twin (a few seconds)"
  e2e chart
  say "scenarios on the real cluster, $jobs at a time where they may (main_job, which is alone, about 5 minutes)"
  scenarios "$@"
  # After a scenario: that has upgraded what an earlier version of this repository installed.
  say "roles, schemas and admission policies on the real cluster (half a minute)"
  # The table writes status itself, to ask at every moment of an execution; an operator at work would move it on.
  operators 0
  e2e policy
  operators 1
  say "everything passed"
}

# What Sling and the stand-in promise alike is checked of both: what a scenario shows with the one holds with the other.
base_images() {
  if ((EUID != 0)); then
    say "base images: LEFT OUT, starting them needs root (make test-images)"
    return
  fi
  say "base images: each is started, its contract proved (2 to 4 minutes)"
  e2e/images/build.sh sling standin httpd tester </dev/null >/dev/null
  e2e/images/test.sh tester standin sling httpd
}

# operators N: how many operators run. The policies stay: the apiserver checks them, not the operator.
operators() {
  # A pod that was evicted stays as an object, and runs nothing.
  local system=(kubectl --namespace launchway-system)
  local running=(--selector app.kubernetes.io/name=launchway --field-selector 'status.phase!=Succeeded,status.phase!=Failed')
  "${system[@]}" scale deployment launchway --replicas "$1" >/dev/null
  if (($1)); then
    "${system[@]}" rollout status deployment launchway --timeout 120s
  elif [[ -n "$("${system[@]}" get pods "${running[@]}" --output name)" ]]; then
    "${system[@]}" wait --for delete pod "${running[@]}" --timeout 120s
  fi
}

# The first one by itself: what breaks everything shows there. Of the others, one that fails stops no other, but all of it
# in the end; every line says whose it is.
scenarios() {
  local failed
  e2e "$1"
  shift
  (($#)) || return 0
  failed="$(mktemp)"
  printf '%s\n' "$@" | xargs -P "$jobs" -I{} hack/test.sh --scenario {} "$failed" || true
  if [[ -s "$failed" ]]; then
    echo "failed: $(tr '\n' ' ' <"$failed")(each again by: make e2e T=NAME)" >&2
    return 1
  fi
  rm "$failed"
}

# scenario NAME FAILED: adds its name to the file FAILED when it fails.
scenario() {
  local began=$SECONDS end=passed
  export LAUNCHWAY_SUITE=1
  { e2e "$1" 2>&1 | sed -u "s/^/$1 | /"; } || { end=FAILED && echo "$1" >>"$2"; }
  say "scenario $1 $end in $((SECONDS - began)) s"
}

# Tests of one binary run one at a time: they share its namespace.
e2e() {
  local test args=()
  for test in "$@"; do args+=(--test "$test"); done
  cargo test "${build[@]}" "${args[@]}" -- --nocapture --test-threads 1
}

if [[ "${1:-}" == --scenario ]]; then scenario "$2" "$3"; else main "$@"; fi
