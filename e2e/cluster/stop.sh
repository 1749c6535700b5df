# shellcheck shell=bash
# Stops one instance and removes what outlives its namespaces; sourced by up.sh and down.sh.

# Empty cgroup folders are the one thing that the end of the namespaces leaves.
remove_cgroups() {
  local top dir
  for top in /sys/fs/cgroup/"$CGROUP" /sys/fs/cgroup/*/"$CGROUP"; do
    if [[ ! -d "$top" ]]; then continue; fi
    while IFS= read -r dir; do rmdir "$dir" 2>/dev/null || true; done < <(find "$top" -depth -type d)
  done
}

cgroups_gone() {
  remove_cgroups
  ! compgen -G "/sys/fs/cgroup/$CGROUP" && ! compgen -G "/sys/fs/cgroup/*/$CGROUP"
}

link_gone() { ! ip link show "$LINK_HOST"; }

processes_gone() {
  local pid
  if running_pid; then return 1; fi
  for pid in "$@"; do if kill -0 "$pid"; then return 1; fi; done
}

stop_cluster() {
  local pid inner=()
  if pid="$(running_pid)"; then
    read -r -a inner <"/proc/$pid/task/$pid/children" || true
    say "stopping process $pid and everything inside it"
    # The end of the namespaces' first process ends every other process in them.
    kill -KILL "${inner[@]}" "$pid" 2>/dev/null || true
    wait_for 30 "the end of process $pid" "$LOGS/node.log" processes_gone "${inner[@]}" || die "process $pid does not end after SIGKILL; see: cat /proc/$pid/stack"
  fi
  # The kernel ends a network namespace only once its last half-closed connection has timed out; its link goes now, and
  # the routes with it. Without a pid file the link is not known to be ours.
  if [[ -f "$PID_FILE" ]] && ip link show "$LINK_HOST" >/dev/null 2>&1; then
    ip link del "$LINK_HOST" 2>/dev/null || wait_for 5 "the end of network link $LINK_HOST" /dev/null link_gone
  fi
  rm -f "$PID_FILE"
  wait_for 15 "the removal of the cgroup folders $CGROUP" /dev/null cgroups_gone ||
    die "cgroup folders named $CGROUP under /sys/fs/cgroup cannot be removed: a process is still in one; see their cgroup.procs"
}
