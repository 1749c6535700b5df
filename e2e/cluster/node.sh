#!/usr/bin/env bash
# The node: process 1 of the cluster's own mount, process and network namespaces. Started by up.sh, never by hand.
# Killing it ends every daemon and pod and takes their mounts, links and firewall rules with it.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

BIN_OUTSIDE="$1"
BIN=/run/launchway-bin
LOG_DIR=/run/launchway/logs
PKI=/run/launchway/pki
CONFIG=/run/launchway/config

# Paths inside the node are fixed, wherever the cache is: sockets have short names, configuration files need no paths,
# and folders that Kubernetes hard-codes below /var/lib and /var/log never appear on the host.
mounts() {
  mount --make-rprivate /
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/launchway /run/launchway-bin /run/launchway-registry /run/lock
  mount --bind "$STATE" /run/launchway
  mount --bind "$BIN_OUTSIDE" /run/launchway-bin
  mount --bind "$REGISTRY_STORAGE" /run/launchway-registry
  mount -t tmpfs -o mode=755 tmpfs /var/lib
  mkdir -p /var/lib/kubelet /var/lib/cni /run/launchway/kubelet
  mount --bind /run/launchway/kubelet /var/lib/kubelet
  mount -t tmpfs -o mode=755 tmpfs /var/log
  # The kubelet hands mounts on to containers, for which its folders must be shared (within this namespace only).
  mount --make-rshared /
}

# The kubelet sets these for the whole machine unless they already have its values: let it see files that do.
pretend_sysctl() {
  local file="/run/sysctl-${1//\//-}"
  if [[ ! -e "/proc/sys/$1" ]]; then return 0; fi
  echo "$2" >"$file"
  mount --bind "$file" "/proc/sys/$1"
}

kernel_settings() {
  pretend_sysctl vm/overcommit_memory 1
  pretend_sysctl vm/panic_on_oom 0
  pretend_sysctl kernel/panic 10
  pretend_sysctl kernel/panic_on_oops 1
  pretend_sysctl kernel/keys/root_maxkeys 1000000
  pretend_sysctl kernel/keys/root_maxbytes 25000000
  # These two belong to the network namespace.
  echo 1 >/proc/sys/net/ipv4/ip_forward
  if [[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ]]; then
    die "the kernel module br_netfilter is not loaded, and Services need it: modprobe br_netfilter"
  fi
  echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
}

network() {
  ip link set lo up
  wait_for 20 "link $LINK_NODE, which up.sh moves in" /dev/null ip link show "$LINK_NODE"
  ip address add "$NODE_IP/$NODE_PREFIX" dev "$LINK_NODE"
  ip link set "$LINK_NODE" up
  ip route add default via "$HOST_IP"
  # Until kube-proxy has written its rules, a connection to a Service must fail at once: a pod that came back earlier,
  # CoreDNS for one, would otherwise wait 30 s for an answer to its first packet.
  ip route add unreachable "$SERVICE_CIDR"
}

# Pods live below one cgroup of their own, so that down.sh can remove it and two instances never meet.
cgroups() {
  local dir
  if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
    mkdir -p "/sys/fs/cgroup/$CGROUP"
    echo "+cpu +cpuset +memory +pids +io" >/sys/fs/cgroup/cgroup.subtree_control
    echo "+cpu +cpuset +memory +pids +io" >"/sys/fs/cgroup/$CGROUP/cgroup.subtree_control"
    return 0
  fi
  for dir in /sys/fs/cgroup/*/; do
    if [[ -L "${dir%/}" || ! -f "$dir/tasks" ]]; then continue; fi
    mkdir -p "$dir$CGROUP"
    # A new cpuset is empty, and nothing can run in an empty one.
    if [[ -f "$dir/cpuset.cpus" ]]; then
      cat "$dir/cpuset.cpus" >"$dir$CGROUP/cpuset.cpus"
      cat "$dir/cpuset.mems" >"$dir$CGROUP/cpuset.mems"
    fi
  done
}

# Runs a daemon for ever: one that ends, by itself or by a test's kill, starts again after a second.
daemon() {
  local name="$1" log="$LOG_DIR/$1.log" status
  shift
  (
    while :; do
      status=0
      "$@" </dev/null >>"$log" 2>&1 || status=$?
      echo "$(date -u +%FT%TZ) node.sh: $name ended with status $status, starting it again in 1 s" >>"$log"
      sleep 1
    done
  ) &
}

start_etcd() {
  daemon etcd "$BIN/etcd" --name "$NAME" --data-dir /run/launchway/etcd --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster "$NAME=http://127.0.0.1:2380" --quota-backend-bytes 4294967296 \
    --auto-compaction-mode periodic --auto-compaction-retention 30m
}

start_apiserver() {
  daemon kube-apiserver "$BIN/kube-apiserver" \
    --etcd-servers http://127.0.0.1:2379 --secure-port 6443 --bind-address 0.0.0.0 --advertise-address "$NODE_IP" \
    --service-cluster-ip-range "$SERVICE_CIDR" --authorization-mode Node,RBAC --allow-privileged=true \
    --enable-admission-plugins NodeRestriction --profiling=false \
    --client-ca-file $PKI/ca.crt --tls-cert-file $PKI/apiserver.crt --tls-private-key-file $PKI/apiserver.key \
    --kubelet-certificate-authority $PKI/ca.crt --kubelet-client-certificate $PKI/apiserver-kubelet-client.crt \
    --kubelet-client-key $PKI/apiserver-kubelet-client.key --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file $PKI/service-account.pub --service-account-signing-key-file $PKI/service-account.key \
    --requestheader-client-ca-file $PKI/front-proxy-ca.crt --requestheader-allowed-names front-proxy-client \
    --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file $PKI/front-proxy-client.crt --proxy-client-key-file $PKI/front-proxy-client.key \
    --audit-policy-file $CONFIG/audit-policy.yaml --audit-log-path $LOG_DIR/audit.log \
    --audit-log-maxsize 1024 --audit-log-maxbackup 2
}

start_controllers() {
  daemon kube-controller-manager "$BIN/kube-controller-manager" \
    --kubeconfig $CONFIG/kube-controller-manager.kubeconfig \
    --authentication-kubeconfig $CONFIG/kube-controller-manager.kubeconfig \
    --authorization-kubeconfig $CONFIG/kube-controller-manager.kubeconfig \
    --leader-elect=false --profiling=false --use-service-account-credentials --bind-address 127.0.0.1 \
    --kube-api-qps 200 --kube-api-burst 400 \
    --cluster-name "$NAME" --root-ca-file $PKI/ca.crt --service-account-private-key-file $PKI/service-account.key \
    --cluster-signing-cert-file $PKI/ca.crt --cluster-signing-key-file $PKI/ca.key \
    --requestheader-client-ca-file $PKI/front-proxy-ca.crt --flex-volume-plugin-dir /run/launchway/volume-plugins
  daemon kube-scheduler "$BIN/kube-scheduler" --kubeconfig $CONFIG/kube-scheduler.kubeconfig \
    --authentication-kubeconfig $CONFIG/kube-scheduler.kubeconfig \
    --authorization-kubeconfig $CONFIG/kube-scheduler.kubeconfig \
    --leader-elect=false --profiling=false --bind-address 127.0.0.1
  daemon kube-proxy "$BIN/kube-proxy" --config $CONFIG/kube-proxy.yaml
}

api_ready() {
  curl -sf -m 2 --cacert $PKI/ca.crt --cert $PKI/admin.crt --key $PKI/admin.key https://127.0.0.1:6443/readyz
}

# The rules themselves: kube-proxy's healthz says yes before it has written any.
service_rules() { iptables -w -t nat -S KUBE-SERVICES | grep -F -- "-d $API_SERVICE_IP/32"; }

main() {
  export PATH="$BIN:$PATH"
  mounts
  kernel_settings
  hostname "$NODE_NAME"
  cgroups
  network
  stay_local
  daemon registry "$BIN/docker-registry" serve $CONFIG/registry.yml
  daemon containerd "$BIN/containerd" --config $CONFIG/containerd.toml
  start_etcd
  wait_for 60 "etcd to answer" $LOG_DIR/etcd.log curl -sf -m 2 http://127.0.0.1:2379/health
  start_apiserver
  wait_for 60 "containerd to answer" $LOG_DIR/containerd.log ctr --timeout 5s version
  ctr -n k8s.io images import /run/launchway/images/pause.tar
  ctr -n k8s.io images label "$PAUSE_IMAGE" io.cri-containerd.pinned=pinned
  daemon kubelet "$BIN/kubelet" --config $CONFIG/kubelet.yaml --kubeconfig $CONFIG/kubelet.kubeconfig \
    --root-dir /var/lib/kubelet --cert-dir $PKI --node-ip "$NODE_IP" --hostname-override "$NODE_NAME"
  wait_for 120 "kube-apiserver to be ready" $LOG_DIR/kube-apiserver.log api_ready
  start_controllers
  wait_for 60 "kube-proxy to write its rules" $LOG_DIR/kube-proxy.log service_rules
  ip route del unreachable "$SERVICE_CIDR"
  echo "$(date -u +%FT%TZ) node.sh: every daemon is started"
  wait
}

main
