# shellcheck shell=bash
# Names, addresses and folders of one instance of the local cluster; sourced by every script of this folder.
# shellcheck disable=SC2034

CLUSTER_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CLUSTER_CACHE="$(realpath -m "${LAUNCHWAY_CACHE:-$HOME/.cache/launchway}/cluster")"

# The default instance is "lw", number 0. Another name is a second cluster beside it; its number picks its networks.
NAME="${LAUNCHWAY_CLUSTER_NAME:-lw}"
if [[ "$NAME" == lw ]]; then NUMBER=0; else NUMBER="${LAUNCHWAY_CLUSTER_NUMBER:-1}"; fi

HOST_IP="10.111.$NUMBER.1"
NODE_IP="10.111.$NUMBER.2"
NODE_PREFIX=24
POD_CIDR="10.$((244 + NUMBER)).0.0/16"
SERVICE_CIDR="10.$((96 + NUMBER)).0.0/16"
API_SERVICE_IP="10.$((96 + NUMBER)).0.1"
DNS_IP="10.$((96 + NUMBER)).0.10"
REGISTRY="$NODE_IP:5000"
NODE_NAME="$NAME-node"
LINK_HOST="${NAME}0"
LINK_NODE="${NAME}1"
CGROUP="launchway-$NAME"
BRIDGE="cni-$NAME"

SUFFIX=""
if [[ "$NAME" != lw ]]; then SUFFIX="-$NAME"; fi
STATE="$CLUSTER_CACHE/state$SUFFIX"
REGISTRY_STORAGE="$CLUSTER_CACHE/registry$SUFFIX"
LOGS="$STATE/logs"
ADMIN_KUBECONFIG="$STATE/admin.kubeconfig"
# In /run and not in the state folder: it must survive a state folder that was deleted under a running cluster,
# and must not survive a reboot.
PID_FILE="/run/launchway-cluster-$NAME.pid"
LOCK_FILE="$CLUSTER_CACHE/$NAME.lock"

DNS_IMAGE="$REGISTRY/launchway/coredns:1.15.0"
PAUSE_IMAGE="launchway.local/pause:1"

# Only the build talks to anything but this machine: no daemon and no client of the cluster may inherit a proxy, and
# none may touch the cluster that the caller's KUBECONFIG names.
stay_local() { unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY KUBECONFIG; }

say() { printf 'cluster %s: %s\n' "$NAME" "$*" >&2; }
die() { printf 'cluster %s: error: %s\n' "$NAME" "$*" >&2; exit 1; }

check_instance() {
  [[ "$NAME" =~ ^[a-z][a-z0-9]{0,9}$ ]] ||
    die "LAUNCHWAY_CLUSTER_NAME is '$NAME'; it names network links, so it must be 1-10 lower-case letters or digits, a letter first"
  [[ "$NAME:$NUMBER" == lw:0 || "$NUMBER" =~ ^[1-9]$ ]] ||
    die "LAUNCHWAY_CLUSTER_NUMBER is '$NUMBER'; it picks the networks and must be 1-9 (0 is the instance 'lw')"
  [[ "$(uname -s)" == Linux ]] || die "needs Linux namespaces; this is $(uname -s)"
  (( EUID == 0 )) || die "needs root for namespaces, cgroups and network links; run it as root, or give KUBECONFIG of a cluster of your own to the end-to-end run"
  case "$CLUSTER_CACHE/" in
    /run/*) die "LAUNCHWAY_CACHE is below /run, which the node hides behind a folder of its own; choose another place" ;;
  esac
}

show_log() {
  if [[ -f "$1" ]]; then
    say "last lines of $1:"
    tail -n 25 "$1" | cut -c1-300 >&2
  fi
}

# Runs a command until it succeeds: wait_for SECONDS WHAT LOGFILE COMMAND... On time-out it shows the log's tail. With
# WATCH_NODE set it also gives up, at once, when the cluster has ended.
wait_for() {
  local seconds="$1" what="$2" log="$3" deadline
  shift 3
  deadline=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if (( SECONDS >= deadline )); then
      say "gave up after $seconds s: $what"
      show_log "$log"
      return 1
    fi
    if [[ -n "${WATCH_NODE:-}" ]] && ! running_pid >/dev/null; then
      say "the cluster ended while waiting for: $what"
      show_log "$LOGS/node.log"
      return 1
    fi
    sleep 0.2
  done
}

# Start time of a process in clock ticks since boot: with the pid it names a process for good.
start_of() {
  local stat
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
  stat="${stat##*) }"
  awk '{print $20}' <<<"$stat"
}

# The pid of the outer process of this instance, if that very process is still alive.
running_pid() {
  local pid started state
  [[ -f "$PID_FILE" ]] || return 1
  # shellcheck disable=SC2034
  read -r pid started state <"$PID_FILE" || return 1
  [[ -n "$pid" && "$(start_of "$pid" || true)" == "$started" ]] || return 1
  [[ "$(awk '{print $3}' <<<"$(sed 's/(.*)/x/' "/proc/$pid/stat" 2>/dev/null)")" != Z ]] || return 1
  echo "$pid"
}

# One name is one set of addresses, so it cannot run twice from two caches; and it must not be stopped by mistake.
check_same_cache() {
  local state
  running_pid >/dev/null || return 0
  state="$(cut -d' ' -f3- "$PID_FILE")"
  [[ -z "$state" || "$state" == "$STATE" ]] ||
    die "the instance '$NAME' already runs, with its state in $state: use LAUNCHWAY_CACHE=${state%/cluster/*}, or another LAUNCHWAY_CLUSTER_NAME"
}

take_lock() {
  mkdir -p "$CLUSTER_CACHE"
  exec 9>"$LOCK_FILE"
  flock -w 900 9 || die "another up.sh or down.sh has held $LOCK_FILE for 15 minutes; look for it with: fuser $LOCK_FILE"
}

kube() { "$BIN/kubectl" --kubeconfig "$ADMIN_KUBECONFIG" "$@"; }

seconds_since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }
