#!/usr/bin/env bash
# Starts the local cluster, or does nothing if it is up and healthy. The last line on stdout is the path of the admin's
# kubeconfig, alone; everything else goes to stderr.
#   up.sh [--fresh] [--fresh-registry]
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=pki.sh
source "$CLUSTER_DIR/pki.sh"
# shellcheck source=image.sh
source "$CLUSTER_DIR/image.sh"
# shellcheck source=stop.sh
source "$CLUSTER_DIR/stop.sh"

render() {
  sed -e "s|@NAME@|$NAME|g" -e "s|@NODE_NAME@|$NODE_NAME|g" -e "s|@BRIDGE@|$BRIDGE|g" -e "s|@CGROUP@|$CGROUP|g" \
    -e "s|@POD_CIDR@|$POD_CIDR|g" -e "s|@DNS_IP@|$DNS_IP|g" -e "s|@REGISTRY@|$REGISTRY|g" \
    -e "s|@DNS_IMAGE@|$DNS_IMAGE|g" -e "s|@PAUSE_IMAGE@|$PAUSE_IMAGE|g" "$CLUSTER_DIR/config/$1" >"$STATE/config/$2"
}

prepare_state() {
  local log
  mkdir -p "$LOGS" "$STATE/images" "$STATE/config/cni" "$STATE/config/registries/$REGISTRY" "$REGISTRY_STORAGE"
  chmod 700 "$STATE"
  for log in "$LOGS"/*.log; do
    # The audit log is a record across restarts; a test that reads it remembers its own offset.
    if [[ -f "$log" && "$log" != */audit.log ]]; then mv "$log" "$log.1"; fi
  done
  make_pki
  render containerd.toml containerd.toml
  render hosts.toml "registries/$REGISTRY/hosts.toml"
  render cni.conflist cni/10-bridge.conflist
  render registry.yml registry.yml
  render kubelet.yaml kubelet.yaml
  render kube-proxy.yaml kube-proxy.yaml
  render audit-policy.yaml audit-policy.yaml
  render base.yaml base.yaml
  echo "# Empty on purpose: pods resolve through the cluster's DNS, which asks nobody else." >"$STATE/config/resolv.conf"
  program_image "$STATE/images/pause.tar" "$PAUSE_IMAGE" "$BIN/pause"
}

# Daemons must inherit neither the lock nor a pipe of the caller, who would wait for its end.
close_inherited() {
  local fd
  for fd in /proc/"$BASHPID"/fd/*; do
    fd="${fd##*/}"
    if (( fd > 2 && fd != 255 )); then eval "exec $fd>&-"; fi
  done
}

start_node() {
  local outer inner
  if ip link show "$LINK_HOST" >/dev/null 2>&1; then
    die "a network link $LINK_HOST exists, but $PID_FILE names no running cluster; if nothing of yours uses it: ip link del $LINK_HOST"
  fi
  if ip -o -4 address show | grep -qF " $HOST_IP/"; then
    die "the address $HOST_IP is in use on this machine, probably by another instance with number $NUMBER (ls /run/launchway-cluster-*.pid): set LAUNCHWAY_CLUSTER_NUMBER to a free number from 1 to 9"
  fi
  (
    close_inherited
    cd /
    export LAUNCHWAY_CLUSTER_NAME="$NAME" LAUNCHWAY_CLUSTER_NUMBER="$NUMBER" LAUNCHWAY_CACHE="${CLUSTER_CACHE%/cluster}"
    exec setsid unshare --mount --pid --net --uts --ipc --fork --mount-proc --kill-child "$CLUSTER_DIR/node.sh" "$BIN"
  ) </dev/null >"$LOGS/node.log" 2>&1 &
  outer=$!
  disown
  inner_pid() { inner="$(cat "/proc/$outer/task/$outer/children" 2>/dev/null)" && [[ -n "${inner// /}" ]]; }
  wait_for 10 "the node's first process" "$LOGS/node.log" inner_pid || die "unshare did not start; see $LOGS/node.log"
  inner_pid
  inner="${inner// /}"
  echo "$outer $(start_of "$outer") $STATE" >"$PID_FILE"
  ip link add "$LINK_HOST" type veth peer name "$LINK_NODE" netns "$inner"
  ip address add "$HOST_IP/$NODE_PREFIX" dev "$LINK_HOST"
  ip link set "$LINK_HOST" up
  ip route add "$SERVICE_CIDR" via "$NODE_IP" dev "$LINK_HOST"
  ip route add "$POD_CIDR" via "$NODE_IP" dev "$LINK_HOST"
}

api_ok() { kube get --raw /readyz --request-timeout 3s; }
registry_ok() { curl -sf -m 2 "http://$REGISTRY/v2/"; }
# Through the Service, so that a "yes" means CoreDNS, kube-proxy, the pod network and the host's routes all work.
dns_ok() { curl -sf -m 2 "http://$DNS_IP:8181/ready"; }
# After an unclean end the API still says what was true before: only a heartbeat since the start counts.
node_ok() {
  local line
  line="$(kube get node "$NODE_NAME" --request-timeout 3s -o \
    'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.lastHeartbeatTime}{end}')"
  [[ "${line%% *}" == True ]] && (( $(date -d "${line#* }" +%s) >= STARTED_AT ))
}
healthy() { STARTED_AT="$(stat -c %Y "$PID_FILE")" && registry_ok && api_ok && node_ok && dns_ok; }

dns_image_there() { curl -sf -m 5 -o /dev/null "http://$REGISTRY/v2/launchway/coredns/manifests/${DNS_IMAGE##*:}" \
  -H "Accept: application/vnd.docker.distribution.manifest.v2+json"; }

wait_until_healthy() {
  local began="$1"
  wait_for 30 "registry at $REGISTRY" "$LOGS/registry.log" registry_ok || return 1
  if ! dns_image_there; then
    program_image "$STATE/images/coredns.tar" "$DNS_IMAGE" "$BIN/coredns"
    push_image "$STATE/images/coredns.tar" "$DNS_IMAGE" >&2 || return 1
    rm -f "$STATE/images/coredns.tar"
  fi
  say "registry is up ($(seconds_since "$began") s)"
  wait_for 90 "kube-apiserver at https://$NODE_IP:6443" "$LOGS/kube-apiserver.log" api_ok || return 1
  wait_for 30 "the namespace kube-system" "$LOGS/kube-apiserver.log" kube get namespace kube-system || return 1
  say "API is ready ($(seconds_since "$began") s)"
  wait_for 30 "the base manifests to be accepted" "$LOGS/kube-apiserver.log" \
    kube apply --server-side --force-conflicts -f "$STATE/config/base.yaml" || return 1
  wait_for 90 "node $NODE_NAME to be Ready" "$LOGS/kubelet.log" node_ok || return 1
  say "node is Ready ($(seconds_since "$began") s)"
  wait_for 120 "CoreDNS to answer at $DNS_IP" "$LOGS/kubelet.log" dns_ok || return 1
  say "DNS is ready ($(seconds_since "$began") s)"
}

main() {
  local fresh=0 fresh_registry=0 began
  while (( $# > 0 )); do
    case "$1" in
      --fresh) fresh=1 ;;
      --fresh-registry) fresh_registry=1 ;;
      *) die "unknown option '$1'; usage: up.sh [--fresh] [--fresh-registry]" ;;
    esac
    shift
  done
  check_instance
  check_same_cache
  BIN="$("$CLUSTER_DIR/build.sh" | tail -n 1)"
  stay_local
  began="$(date +%s.%N)"
  take_lock

  if running_pid >/dev/null && (( fresh + fresh_registry == 0 )); then
    if healthy >/dev/null 2>&1 || { say "is running but not healthy yet, waiting up to 60 s" && wait_for 60 "health" "$LOGS/node.log" healthy; }; then
      say "is up and healthy ($(seconds_since "$began") s)"
      echo "$ADMIN_KUBECONFIG"
      return 0
    fi
    say "did not become healthy; restarting it with the same state"
  fi
  stop_cluster
  if (( fresh )); then rm -rf "$STATE"; fi
  if (( fresh_registry )); then rm -rf "$REGISTRY_STORAGE"; fi
  if [[ -d "$STATE/etcd" ]]; then say "starting with the state in $STATE (about 15 s)"; else say "starting a new cluster (about 20 s)"; fi
  prepare_state
  start_node
  STARTED_AT="$(stat -c %Y "$PID_FILE")"
  WATCH_NODE=1
  wait_until_healthy "$began" || die "did not come up; logs are in $LOGS, and down.sh stops what runs"
  echo "$ADMIN_KUBECONFIG"
}

main "$@"
