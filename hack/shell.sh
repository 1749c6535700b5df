#!/usr/bin/env bash
# Every shell script of the repository passes shellcheck.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v shellcheck >/dev/null; then
  echo "shellcheck is missing: apt-get install -y shellcheck" >&2
  exit 1
fi
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
# SC2034: a library sets names for those that source it.
shellcheck --external-sources --exclude=SC2034 --source-path=SCRIPTDIR --severity=warning "${scripts[@]}"
echo "shellcheck: ${#scripts[@]} scripts"
