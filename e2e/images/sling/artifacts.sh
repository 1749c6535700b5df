# shellcheck shell=bash
# Fetches what sling/artifacts.list names with Maven and proves every file's sha256.
# A line of that list: SHA256 GROUP:ARTIFACT:VERSION[:CLASSIFIER]@TYPE

MAVEN_DEPENDENCY_PLUGIN=2.8

# maven_pom OUT: reads coordinates, writes a project whose dependency:copy puts each file where a Maven
# repository would have it. Only the files are resolved, so poms that a registry lacks do not matter.
maven_pom() {
  local out=$1 spec coordinate type group artifact version classifier
  cat <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>dev.launchway</groupId><artifactId>sling-artifacts</artifactId><version>1</version><packaging>pom</packaging>
<build><plugins><plugin><groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>$MAVEN_DEPENDENCY_PLUGIN</version><configuration><artifactItems>
XML
  while read -r spec; do
    coordinate=${spec%@*} type=${spec##*@}
    IFS=: read -r group artifact version classifier <<<"$coordinate"
    printf '<artifactItem><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version><type>%s</type>' \
      "$group" "$artifact" "$version" "$type"
    [ -z "$classifier" ] || printf '<classifier>%s</classifier>' "$classifier"
    printf '<outputDirectory>%s/%s/%s/%s</outputDirectory></artifactItem>\n' "$out" "${group//.//}" "$artifact" "$version"
  done
  printf '</artifactItems></configuration></plugin></plugins></build></project>\n'
}

artifact_path() { # GROUP:ARTIFACT:VERSION[:CLASSIFIER]@TYPE -> path in a Maven repository
  local type=${1##*@} group artifact version classifier
  IFS=: read -r group artifact version classifier <<<"${1%@*}"
  printf '%s/%s/%s/%s-%s%s.%s\n' "${group//.//}" "$artifact" "$version" "$artifact" "$version" "${classifier:+-$classifier}" "$type"
}

# fetch_artifacts OUT SPEC…
fetch_artifacts() {
  local out=$1 work
  shift
  need mvn=maven
  work=$(mktemp -d)
  printf '%s\n' "$@" | maven_pom "$out" >"$work/pom.xml"
  mkdir -p "$out"
  (cd "$work" && timeout 900 mvn -q -B -Dstyle.color=never dependency:copy </dev/null >&2) \
    || die "Maven could not fetch the artifacts of $IMAGES_DIR/sling/artifacts.list (see above)"
  rm -rf "$work"
}

# pinned_artifacts OUT: the whole list, every file proved.
pinned_artifacts() {
  local out=$1 sum spec specs=()
  while read -r sum spec; do specs+=("$spec"); done <"$IMAGES_DIR/sling/artifacts.list"
  fetch_artifacts "$out" "${specs[@]}"
  while read -r sum spec; do printf '%s  %s\n' "$sum" "$(artifact_path "$spec")"; done <"$IMAGES_DIR/sling/artifacts.list" \
    | (cd "$out" && sha256sum --quiet --check >&2) \
    || die "artifacts differ from sling/artifacts.list: remove the wrong files from the local Maven repository, or run sling/pin.sh when the change is wanted"
}
