#!/usr/bin/env bash
# Prints the path of a kubeconfig with a client certificate for a person: user.sh NAME [GROUP...]
# The user has no rights until a role binding names it or one of its groups.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=pki.sh
source "$CLUSTER_DIR/pki.sh"

main() {
  local user="${1:-}" group subject="" key file
  [[ -n "$user" ]] || die "usage: user.sh NAME [GROUP...]"
  [[ -f "$PKI/ca.crt" ]] || die "has no certificate authority yet; run up.sh first"
  shift
  for group in "$@" "$user"; do
    [[ "$group" =~ ^[A-Za-z0-9][A-Za-z0-9@:._-]*$ ]] ||
      die "'$group' cannot be a user or group here: letters, digits and @ : . _ - only, a letter or digit first"
  done
  for group in "$@"; do subject+="/O=$group"; done
  subject+="/CN=$user"
  # The groups are part of the file's name: the same user with other groups is another certificate.
  key="$(printf '%s' "$subject" | sha256sum | cut -c1-8)"
  take_lock
  mkdir -p "$STATE/users"
  chmod 700 "$STATE/users"
  file="$STATE/users/$user-$key"
  issue "$file" ca "$subject"
  write_kubeconfig "$file.kubeconfig" "$file" "https://$NODE_IP:6443" "$user"
  echo "$file.kubeconfig"
}

main "$@"
