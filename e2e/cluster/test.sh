#!/usr/bin/env bash
# Proves what README.md says of the local cluster, on an instance of its own (lwtest) beside the usual one. About 45 s.
set -euo pipefail
export LAUNCHWAY_CLUSTER_NAME="${LAUNCHWAY_CLUSTER_NAME:-lwtest}"
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=image.sh
source "$CLUSTER_DIR/image.sh"

NAMESPACE=cluster-test
PASSED=0

ok() {
  PASSED=$((PASSED + 1))
  say "ok $PASSED - $*"
}

fail() {
  kube -n "$NAMESPACE" get pods,events -o wide >&2 2>/dev/null || true
  die "not ok - $*"
}

# What an instance could leave on the host, in an order of its own.
host_state() {
  sort /proc/self/mounts
  ip netns list
  ip -o link show | sed 's/^[0-9]*: //' | cut -d: -f1 | sort
  ip route show table all | sort
  iptables-save | grep -v '^#' | sed 's/\[[0-9:]*\]//' || true
  find /sys/fs/cgroup -type d -name "$CGROUP" | sort
  local path
  for path in /proc/sys/{vm/overcommit_memory,vm/panic_on_oom,kernel/panic,kernel/panic_on_oops,net/ipv4/ip_forward} \
    /proc/sys/kernel/keys/{root_maxkeys,root_maxbytes}; do
    echo "$path $(cat "$path")"
  done
  for path in /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers /etc/cni /opt/cni /usr/libexec/kubernetes \
    /run/containerd /run/netns "$PID_FILE"; do
    if [[ -e "$path" ]]; then echo "$path exists"; fi
  done
}

node_pids() {
  local namespace dir
  namespace="$(readlink "/proc/$1/ns/pid_for_children")"
  for dir in /proc/[0-9]*; do
    if [[ "$(readlink "$dir/ns/pid" 2>/dev/null)" == "$namespace" ]]; then echo "${dir#/proc/}"; fi
  done
}

any_alive() {
  local pid
  for pid in "$@"; do if kill -0 "$pid" 2>/dev/null; then return 0; fi; done
  return 1
}
none_alive() { ! any_alive "$@"; }

push_busybox() {
  local root name
  root="$(mktemp -d)"
  chmod 755 "$root"
  mkdir -p "$root/bin" "$root/www" "$root/etc"
  install -m 755 "$(command -v busybox)" "$root/bin/busybox"
  for name in sh httpd wget nslookup hostname sleep cat; do ln -s busybox "$root/bin/$name"; done
  write_image "$root.tar" "$REGISTRY/launchway/busybox:test" "$root" '{"Cmd":["/bin/sh"],"Env":["PATH=/bin"],"User":"10001:10001"}'
  push_image "$root.tar" "$REGISTRY/launchway/busybox:test"
  rm -rf "$root" "$root.tar"
}

job_complete() { [[ "$(kube -n "$NAMESPACE" get job client -o 'jsonpath={.status.succeeded}')" == 1 ]]; }
web_ready() { [[ "$(kube -n "$NAMESPACE" get deployment web -o 'jsonpath={.status.readyReplicas}')" == 1 ]]; }
says_hello() { curl -sf -m 2 "$1" | grep -q '^hello from web-'; }
web_pod() { kube -n "$NAMESPACE" get pod -l app=web -o "jsonpath={.items[0]$1}"; }

test_workload() {
  local message
  push_busybox
  ok "an image made from busybox-static is pushed to $REGISTRY"
  sed "s|@REGISTRY@|$REGISTRY|g" "$CLUSTER_DIR/testdata/workload.yaml" >"$STATE/test-workload.yaml"
  kube apply -f "$STATE/test-workload.yaml" >/dev/null
  wait_for 60 "Deployment web" "$LOGS/kubelet.log" web_ready || fail "Deployment web is not ready"
  ok "a pod under Pod Security 'restricted' serves port 80 as user 10001 (safe sysctl, read-only root, no capabilities)"
  wait_for 60 "Job client" "$LOGS/kubelet.log" job_complete || fail "Job client did not complete: $(kube -n "$NAMESPACE" logs job/client 2>&1)"
  message="$(kube -n "$NAMESPACE" get pod -l job-name=client \
    -o 'jsonpath={.items[0].status.containerStatuses[0].state.terminated.message}')"
  [[ "$message" == "hello from web-"* ]] || fail "the Job's termination message is '$message'"
  ok "a Job looked up the Service by its DNS name, reached it and left a termination message; an outside name failed at once"
  if kube -n "$NAMESPACE" run root --image="$REGISTRY/launchway/busybox:test" >"$STATE/test-refused" 2>&1; then
    fail "a pod without a security context was admitted"
  fi
  grep -q 'violates PodSecurity "restricted' "$STATE/test-refused" || fail "unexpected: $(cat "$STATE/test-refused")"
  ok "a pod that is not restricted is refused"
}

test_reach() {
  local url
  for url in "http://$(kube -n "$NAMESPACE" get service web -o 'jsonpath={.spec.clusterIP}')/" \
    "http://$(web_pod .status.podIP)/" "http://$NODE_IP:30080/"; do
    wait_for 10 "$url" "$LOGS/kube-proxy.log" says_hello "$url" || fail "the host cannot reach $url"
    ok "the host reaches $url"
  done
  [[ "$(kube -n "$NAMESPACE" exec deploy/web -- cat /www/index.html)" == "hello from web-"* ]] || fail "exec does not work"
  kube -n "$NAMESPACE" logs job/client | grep -q '^Name:' || fail "logs do not work"
  ok "exec and logs work"
}

policies_active() {
  ! kube -n "$NAMESPACE" create configmap refused --dry-run=server && {
    kube -n "$NAMESPACE" create configmap stamped --dry-run=server -o 'jsonpath={.metadata.annotations.launchway\.dev/by}' | grep -q admin
  }
}

test_users_and_policies() {
  local config refusal by
  kube apply -f "$CLUSTER_DIR/testdata/admission.yaml" >/dev/null
  wait_for 20 "the policies to become active" "$LOGS/kube-apiserver.log" policies_active || fail "admission policies do not act"
  config="$("$CLUSTER_DIR/user.sh" alice@example.com cluster-test-editors)"
  refusal="$("$BIN/kubectl" --kubeconfig "$config" -n "$NAMESPACE" create configmap refused 2>&1)" && fail "the validating policy admitted it"
  [[ "$refusal" == *"the name says no"* ]] || fail "the refusal does not carry the policy's message: $refusal"
  by="$("$BIN/kubectl" --kubeconfig "$config" -n "$NAMESPACE" create configmap stamped \
    -o 'jsonpath={.metadata.annotations.launchway\.dev/by}')"
  [[ "$by" == alice@example.com ]] || fail "the mutating policy stamped '$by'"
  ok "user.sh made a user with a group; validating and mutating admission policies (v1) act on it"
  if "$BIN/kubectl" --kubeconfig "$("$CLUSTER_DIR/user.sh" alice@example.com)" -n "$NAMESPACE" get configmaps >/dev/null 2>&1; then
    fail "the same user without the group may still read"
  fi
  ok "the same user without the group has no rights"
}

test_audit() {
  grep -q '"verb":"create".*"username":"alice@example.com".*"resource":"configmaps".*"name":"stamped"' "$LOGS/audit.log" ||
    fail "the audit log lacks the creation of 'stamped'"
  grep -q '"resource":"leases"' "$LOGS/audit.log" || fail "the audit log lacks leases"
  if grep -q '"stage":"RequestReceived"' "$LOGS/audit.log"; then fail "the audit log holds the stage RequestReceived"; fi
  ok "the audit log has writes by user, leases too, without the stage RequestReceived"
}

test_registry_delete() {
  local digest image="$REGISTRY/launchway/busybox:to-delete" code
  skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false \
    "docker://$REGISTRY/launchway/busybox:test" "docker://$image"
  digest="$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$image")"
  code="$(curl -s -o /dev/null -w '%{http_code}' -X DELETE "http://$REGISTRY/v2/launchway/busybox/manifests/$digest")"
  [[ "$code" == 202 ]] || fail "the registry answered $code to a delete"
  push_busybox
  ok "the registry deletes by digest"
}

test_no_op() {
  local before began
  before="$(cat "$PID_FILE")"
  began="$(date +%s.%N)"
  [[ "$("$CLUSTER_DIR/up.sh" | tail -n 1)" == "$ADMIN_KUBECONFIG" ]] || fail "up.sh does not end with the kubeconfig's path"
  [[ "$(cat "$PID_FILE")" == "$before" ]] || fail "the second up.sh started another cluster"
  ok "up.sh on a healthy cluster changes nothing and takes $(seconds_since "$began") s"
}

test_daemon_restart() {
  local pid
  for pid in $(node_pids "$(running_pid)"); do
    if [[ "$(readlink "/proc/$pid/exe" 2>/dev/null)" == */kube-apiserver ]]; then kill -KILL "$pid"; break; fi
  done
  wait_for 60 "the API after its process was killed" "$LOGS/kube-apiserver.log" kube get --raw /readyz || fail "the apiserver did not come back"
  ok "a killed kube-apiserver is started again"
}

test_unclean_end() {
  local uid uid_now pids began outer
  uid="$(kube -n "$NAMESPACE" get configmap marker -o 'jsonpath={.metadata.uid}') $(web_pod .metadata.uid)"
  outer="$(running_pid)"
  mapfile -t pids < <(node_pids "$outer")
  kill -KILL "${pids[@]}" "$outer" 2>/dev/null || true
  wait_for 20 "the end of every process" /dev/null none_alive "${pids[@]}" "$outer" || fail "processes survive SIGKILL"
  ok "SIGKILL ended ${#pids[@]} processes"
  began="$(date +%s.%N)"
  "$CLUSTER_DIR/up.sh" >/dev/null
  wait_for 60 "Deployment web" "$LOGS/kubelet.log" says_hello "http://$NODE_IP:30080/" || fail "the pod does not serve again"
  uid_now="$(kube -n "$NAMESPACE" get configmap marker -o 'jsonpath={.metadata.uid}') $(web_pod .metadata.uid)"
  [[ "$uid" == "$uid_now" ]] || fail "objects changed: $uid became $uid_now"
  ok "up.sh brought the same objects back and the same pod serves again, after $(seconds_since "$began") s"
}

test_down() {
  local pids left trace
  mapfile -t pids < <(node_pids "$(running_pid)")
  (( ${#pids[@]} > 10 )) || fail "found only ${#pids[@]} processes of the node"
  host_state >"$WORK/during"
  for trace in "dev $LINK_HOST" "/$CGROUP" "$PID_FILE exists"; do
    grep -qF -- "$trace" "$WORK/during" || fail "the comparison is blind: it does not see '$trace' while the cluster is up"
  done
  "$CLUSTER_DIR/down.sh"
  if any_alive "${pids[@]}"; then fail "processes are left after down.sh"; fi
  host_state >"$WORK/after"
  # Only what is new counts: a folder that another program deletes takes its mount with it, in this namespace too.
  left="$(comm -13 <(sort "$WORK/before") <(sort "$WORK/after"))"
  [[ -z "$left" ]] || fail "down.sh left this behind: $left"
  ok "down.sh ended ${#pids[@]} processes and left no mount, link, route, firewall rule, cgroup, setting or folder"
  "$CLUSTER_DIR/down.sh"
  ok "down.sh on a stopped cluster does nothing"
}

# After a failure the instance is stopped as well: nobody else could reach it on this host of its own.
finish() {
  local status=$?
  if running_pid >/dev/null; then "$CLUSTER_DIR/down.sh" || true; fi
  rm -rf "$WORK"
  exit "$status"
}

# The test runs on a host of its own, as far as mounts and networks go: what other programs mount or configure
# meanwhile must not be taken for something that the cluster left behind.
enter_own_host() {
  exec unshare --mount --net --propagation private "$CLUSTER_DIR/test.sh" --inside
}

main() {
  local began
  check_instance
  [[ "$NAME" != lw ]] || die "test.sh kills and deletes; it runs on another instance than 'lw': leave LAUNCHWAY_CLUSTER_NAME unset"
  if [[ "${1:-}" != --inside ]]; then
    "$CLUSTER_DIR/build.sh" >/dev/null
    "$CLUSTER_DIR/down.sh"
    enter_own_host
  fi
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/lock
  ip link set lo up
  BIN="$("$CLUSTER_DIR/build.sh" | tail -n 1)"
  stay_local
  WORK="$(mktemp -d)"
  trap finish EXIT
  host_state >"$WORK/before"
  began="$(date +%s.%N)"
  "$CLUSTER_DIR/up.sh" --fresh --fresh-registry >/dev/null
  ok "up.sh made a new cluster in $(seconds_since "$began") s"
  test_workload
  test_reach
  test_users_and_policies
  test_audit
  test_registry_delete
  test_no_op
  test_daemon_restart
  test_unclean_end
  "$CLUSTER_DIR/status.sh" >&2
  test_down
  rm -rf "$STATE" "$REGISTRY_STORAGE"
  say "all $PASSED checks passed"
}

main "$@"
