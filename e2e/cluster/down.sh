#!/usr/bin/env bash
# Stops the local cluster and leaves nothing on the host but its files: the state and the registry's storage stay in the
# cache, so that up.sh continues with the same objects.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=stop.sh
source "$CLUSTER_DIR/stop.sh"

check_instance
take_lock
check_same_cache
if ! running_pid >/dev/null; then say "is not running"; fi
stop_cluster
say "is down; state stays in $STATE"
