# shellcheck shell=bash
# The builder of pipelines with spec.source.git: JDK, Maven and Git from distribution packages (docs/builds.md).

# BUILDER_MAVEN names a Maven repository that is filled already, for clusters whose pods reach no network: it becomes the
# repository of every build, read-only, and Maven works offline.
build_builder() {
  local key tar base files variant=builder
  # The account has a home: SSH and Java ask for the account, not for HOME.
  tar=$(rootfs builder essential ca-certificates,git,openssh-client,openjdk-17-jdk-headless,maven,unzip,bzip2 \
    "${PASSWD_HOOK//nonexistent/home/build}" 'mkdir -p "$1/home/build" "$1/workspace"')
  base=$(base_layout builder "$(basename "$tar" .tar | cut -d- -f2)" "$tar")
  files=$(mktemp -d)
  if [ -n "${BUILDER_MAVEN:-}" ]; then
    variant=builder-offline
    mkdir -p "$files/opt/maven-repository" "$files/etc/maven"
    cp -a "$BUILDER_MAVEN/." "$files/opt/maven-repository/"
    # Where an artifact came from is of no use without that place, and Maven would look for it there again.
    find "$files/opt/maven-repository" \( -name _remote.repositories -o -name '*.lastUpdated' \) -delete
    cp "$IMAGES_DIR/builder/settings-offline.xml" "$files/etc/maven/settings.xml"
  fi
  key=$( { tree_key "$IMAGES_DIR/builder" "$IMAGES_DIR/lib.sh"; [ "$variant" = builder ] || tree_key "$files"; basename "$base"; } | sha256sum | cut -c1-16)
  finish "$variant" "$key" "$base" "$files" \
    --config.user "$RUN_UID:$RUN_UID" --config.workingdir /workspace \
    --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --config.env LANG=C.UTF-8 \
    --config.env JAVA_HOME=/usr/lib/jvm/java-17-openjdk-amd64 --config.env TZ=UTC \
    --config.label dev.launchway.image=builder
  rm -rf "$files"
}
