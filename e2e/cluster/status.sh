#!/usr/bin/env bash
# Says what runs of the local cluster, where its files are and how much memory each daemon holds. Exit status 1 if it is
# not running.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DAEMONS="etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet containerd docker-registry"

# Every process of the namespaces, from outside: those whose process namespace is the first process's.
memory() {
  local inner="$1" namespace dir name total=0 rss
  namespace="$(readlink "/proc/$inner/ns/pid")"
  for dir in /proc/[0-9]*; do
    [[ "$(readlink "$dir/ns/pid" 2>/dev/null || true)" == "$namespace" ]] || continue
    name="$(basename "$(readlink "$dir/exe" 2>/dev/null || true)")"
    [[ " $DAEMONS " == *" $name "* ]] || continue
    rss="$(awk '/^VmRSS/ { print $2 }' "$dir/status" 2>/dev/null || true)"
    printf '  %-26s pid %-8s %5d MiB\n' "$name" "${dir#/proc/}" "$((${rss:-0} / 1024))"
    total=$((total + ${rss:-0}))
  done
  printf '  %-26s %-12s %5d MiB\n' "all daemons" "" "$((total / 1024))"
}

main() {
  local pid inner answer
  check_instance
  stay_local
  check_same_cache
  printf 'instance   %s (node %s, services %s, pods %s)\nstate      %s\nlogs       %s\nregistry   %s, stored in %s\n' \
    "$NAME" "$NODE_IP" "$SERVICE_CIDR" "$POD_CIDR" "$STATE" "$LOGS" "$REGISTRY" "$REGISTRY_STORAGE"
  if ! pid="$(running_pid)"; then
    echo "running    no; start it with up.sh"
    return 1
  fi
  inner="$(tr -d ' ' <"/proc/$pid/task/$pid/children")"
  echo "running    yes, outer process $pid, first process inside $inner"
  echo "kubeconfig $ADMIN_KUBECONFIG"
  for answer in "API https://$NODE_IP:6443/readyz" "registry http://$REGISTRY/v2/" "DNS http://$DNS_IP:8181/ready"; do
    printf '%-10s %s\n' "${answer%% *}" \
      "$(curl -s -m 3 --cacert "$STATE/pki/ca.crt" -o /dev/null -w '%{http_code}' "${answer#* }" || true) from ${answer#* }"
  done
  memory "$inner"
}

main
