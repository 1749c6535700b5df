# shellcheck shell=bash
# Writes container images without a container engine; sourced.

# write_image OUT.tar NAME ROOT-FOLDER CONFIG-JSON: one layer with the folder's content, as `docker save` would write it.
# CONFIG-JSON is the image's "config" object, e.g. {"Entrypoint":["/pause"],"User":"65532"}.
write_image() {
  local out="$1" name="$2" root="$3" config="$4" work layer
  work="$(mktemp -d)"
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$work/layer.tar" .
  layer="$(sha256sum "$work/layer.tar" | cut -d' ' -f1)"
  cat >"$work/config.json" <<EOF
{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z","config":$config,"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"launchway e2e"}]}
EOF
  echo "[{\"Config\":\"config.json\",\"RepoTags\":[\"$name\"],\"Layers\":[\"layer.tar\"]}]" >"$work/manifest.json"
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$work" -cf "$out.new" manifest.json config.json layer.tar
  mv "$out.new" "$out"
  rm -rf "$work"
}

# program_image OUT.tar NAME PROGRAM: an image that is one static program, run as user 65532.
program_image() {
  local out="$1" name="$2" program="$3" root
  root="$(mktemp -d)"
  chmod 755 "$root"
  install -m 755 "$program" "$root/"
  write_image "$out" "$name" "$root" "{\"Entrypoint\":[\"/$(basename "$program")\"],\"User\":\"65532:65532\"}"
  rm -rf "$root"
}

push_image() { skopeo --insecure-policy copy -q --dest-tls-verify=false "docker-archive:$1" "docker://$2"; }
