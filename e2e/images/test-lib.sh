# Starts images with runc under the constraints of a restricted pod; source it after lib.sh.
# shellcheck shell=bash

WORK=''
NETNS=lw-images
HOST_IP=10.112.0.1
NS_IP=10.112.0.2
PASSED=0

pass() { PASSED=$((PASSED + 1)); say "  ok  $*"; }

fail() {
  say "  FAILED  $*"
  [ -z "$WORK" ] || tail -n 15 "$WORK"/*.log >&2 2>/dev/null || true
  exit 1
}

# expect DESCRIPTION PATTERN TEXT: the text has to match the extended regular expression.
expect() {
  if grep -qE -- "$2" <<<"$3"; then pass "$1"; else fail "$1: expected /$2/ in: $3"; fi
}

within() { # SECONDS COMMAND…: until the command succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.5
  done
}

# unpacked NAME: prints the root file system of the image built last.
unpacked() {
  local layout out
  layout=$(readlink -f "$CACHE_DIR/$1/current") || die "image $1 is not built: run $IMAGES_DIR/build.sh $1 first"
  out=$CACHE_DIR/unpacked/$1-$(basename "$layout")
  if [ ! -e "$out/.complete" ]; then
    say "$1: unpacking for the test (5 to 15 s)"
    rm -rf "$CACHE_DIR/unpacked/$1-"*
    mkdir -p "$CACHE_DIR/unpacked"
    umoci unpack --image "$layout:img" "$out" >/dev/null 2>&1 || die "cannot unpack $layout"
    touch "$out/.complete"
  fi
  printf '%s\n' "$out/rootfs"
}

image_config() { # NAME JQ: from the image's configuration
  local layout=$CACHE_DIR/$1/current manifest config
  manifest=$(jq -r '.manifests[0].digest[7:]' "$layout/index.json")
  config=$(jq -r '.config.digest[7:]' "$layout/blobs/sha256/$manifest")
  jq -r ".config | $2" "$layout/blobs/sha256/$config"
}

network() {
  ip netns del "$NETNS" 2>/dev/null || true
  ip link del lw-img0 2>/dev/null || true
  ip netns add "$NETNS"
  ip link add lw-img0 type veth peer name lw-img1 netns "$NETNS"
  ip addr add "$HOST_IP/30" dev lw-img0
  ip link set lw-img0 up
  ip netns exec "$NETNS" ip addr add "$NS_IP/30" dev lw-img1
  ip netns exec "$NETNS" ip link set lw-img1 up
  ip netns exec "$NETNS" ip link set lo up
  # What the pod's safe sysctl does: port 80 for a user that is not root.
  ip netns exec "$NETNS" sysctl -qw net.ipv4.ip_unprivileged_port_start=0
}

# Leaves out what the image keeps of its own, as the build of a release does.
keep_base_files() { # IMAGE TREE
  local file
  while IFS= read -r file; do
    [ -z "$file" ] || rm -f "$2/$file"
  done < <(image_config "$1" '.Labels["dev.launchway.immutable-files"] // "" | split(",")[]')
}

# start_container NAME IMAGE [VAR=VALUE…] [--bind SOURCE:TARGET…] [--rw SOURCE:TARGET…] [--tree FOLDER:TARGET] [--cmd WORD…]
start_container() {
  local name=$1 image=$2 root env=() mounts='[]' cmd path bundle tree
  shift 2
  root=$(unpacked "$image")
  bundle=$WORK/$name
  mkdir -p "$bundle/root"
  mapfile -t env < <(image_config "$image" '.Env[]')
  cmd=$(image_config "$image" '(.Entrypoint // []) + (.Cmd // []) | @json')
  while [ $# -gt 0 ]; do
    case $1 in
      --bind) mounts=$(jq --arg s "${2%%:*}" --arg d "${2#*:}" '. + [{destination: $d, source: $s, type: "bind", options: ["rbind", "ro"]}]' <<<"$mounts"); shift ;;
      --rw) mounts=$(jq --arg s "${2%%:*}" --arg d "${2#*:}" '. + [{destination: $d, source: $s, type: "bind", options: ["rbind", "rw"]}]' <<<"$mounts"); shift ;;
      --bind-file) mounts=$(jq --arg s "${2%%:*}" --arg d "${2#*:}" '. + [{destination: $d, source: $s, type: "bind", options: ["bind", "rw"]}]' <<<"$mounts"); shift ;;
      --tree) tree=$bundle/layer; mkdir -p "$tree${2#*:}"; cp -a "${2%%:*}/." "$tree${2#*:}/"; keep_base_files "$image" "$tree${2#*:}"; [[ $root == "$tree":* ]] || root=$tree:$root; shift ;;
      --cmd) shift; cmd=$(printf '%s\n' "$@" | jq -R . | jq -sc .); break ;;
      *) env+=("$1") ;;
    esac
    shift
  done
  while IFS= read -r path; do
    [ -n "$path" ] || continue
    mounts=$(jq --arg d "$path" '. + [{destination: $d, type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "uid=65532", "gid=65532"]}]' <<<"$mounts")
  done < <(image_config "$image" '.Labels | [."dev.launchway.writable-paths", ."dev.launchway.data-path", ."dev.launchway.cache-path"] | map(select(.)) | join(",") | split(",")[]')
  # A volume of the caller's for a path replaces the emptyDir there.
  mounts=$(jq 'group_by(.destination) | map(if length > 1 then map(select(.type == "bind")) | .[0] else .[0] end)' <<<"$mounts")
  [[ $root == *:* ]] || root=$bundle/empty:$root
  mkdir -p "$bundle/empty"
  mount -t overlay overlay -o "lowerdir=$root" "$bundle/root"
  (cd "$bundle" && rm -f config.json && runc spec)
  jq --argjson cmd "$cmd" --argjson mounts "$mounts" --arg ns "/run/netns/$NETNS" --arg name "$name" \
    --arg dir "$(image_config "$image" '.WorkingDir // "/"')" --args '
    .process.args = $cmd | .process.env = $ARGS.positional | .process.terminal = false | .process.cwd = $dir
    | .process.user = {uid: 65532, gid: 65532} | .process.noNewPrivileges = true | .process.rlimits = []
    | .process.capabilities = {bounding: [], effective: [], permitted: [], ambient: []}
    | .root = {path: "root", readonly: true} | .hostname = $name
    | .mounts += $mounts | .linux.cgroupsPath = "/launchway-images/" + $name
    | .linux.namespaces |= (map(select(.type != "network")) + [{type: "network", path: $ns}])' "${env[@]}" \
    <"$bundle/config.json" >"$bundle/config.next"
  mv "$bundle/config.next" "$bundle/config.json"
  runc --root "$WORK/runc" run --detach --bundle "$bundle" "$name" </dev/null >"$WORK/$name.log" 2>&1 \
    || fail "container $name does not start: $(cat "$WORK/$name.log")"
  printf '%s\n' "$image" >"$WORK/$name.image"
}

run_in() { # NAME COMMAND…: as the kubelet's exec does
  local name=$1
  shift
  runc --root "$WORK/runc" exec --user 65532:65532 "$name" "$@" </dev/null
}

# probed NAME ready|live: asks as the kubelet does, by the command or by the path that the image states, and prints what the
# container says: a command itself, with a path the last word of readiness in its log.
probed() {
  local name=$1 labels path port code command=()
  labels=$(image_config "$(cat "$WORK/$name.image")" .Labels)
  path=$(jq -r --arg key "dev.launchway.http.$2" '.[$key] // empty' <<<"$labels")
  if [ -z "$path" ]; then
    mapfile -t command < <(jq -r --arg key "dev.launchway.command.$2" '.[$key] | fromjson[]' <<<"$labels")
    run_in "$name" "${command[@]}"
    return
  fi
  port=$(jq -r '."dev.launchway.probe-port" // ."dev.launchway.port"' <<<"$labels")
  code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 10 "http://$NS_IP:$port$path")
  [ "$2" = live ] || sed -n 's/^launchway-ready:\t//p' "$WORK/$name.log" | tail -n 1 | tr '\t' '\n'
  [ "$code" -ge 200 ] && [ "$code" -lt 400 ]
}

is_ready() { probed "$1" ready >"$WORK/ready.out" 2>&1; }

# says NAME PATTERN: not ready, and for this reason.
says() { ! is_ready "$1" && grep -qE -- "$2" "$WORK/ready.out"; }

is_live() { probed "$1" live; }

running() { [ "$(runc --root "$WORK/runc" state "$1" 2>/dev/null | jq -r .status)" = running ]; }

stopped() { ! running "$1"; }

stop_container() { # NAME [SIGNAL]
  local name=$1
  runc --root "$WORK/runc" kill "$name" "${2:-TERM}" 2>/dev/null || true
  within 40 stopped "$name" || runc --root "$WORK/runc" kill "$name" KILL || true
  runc --root "$WORK/runc" delete --force "$name" 2>/dev/null || true
  umount "$WORK/$name/root" 2>/dev/null || true
}

clean_up() {
  local name root
  [ -n "$WORK" ] || return 0
  # Not from a variable: containers are started in subshells, too.
  for name in $(runc --root "$WORK/runc" list --quiet 2>/dev/null); do
    runc --root "$WORK/runc" delete --force "$name" 2>/dev/null || true
  done
  for root in "$WORK"/*/root; do umount -l "$root" 2>/dev/null || true; done
  ip netns del "$NETNS" 2>/dev/null || true
  ip link del lw-img0 2>/dev/null || true
  find /sys/fs/cgroup -depth -type d -path '*/launchway-images*' -exec rmdir {} + 2>/dev/null || true
  rm -rf --one-file-system "$WORK"
}

web() { # curl from inside the network namespace: an allowed client on loopback
  ip netns exec "$NETNS" curl -s --max-time 20 "$@"
}
