#!/usr/bin/env bash
# run.sh: the answers of FileVault and of Java's zip readers to the questions on stdin. Builds itself the first time, with
# Maven Central's FileVault 4.2; the class path is kept beside the classes.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
classes="$here/target/classes"
if [[ ! -f "$here/target/classpath" || "$here/pom.xml" -nt "$here/target/classpath" ]] ||
  [[ -n "$(find "$here/src" -name '*.java' -newer "$here/target/classpath")" ]]; then
  mkdir -p "$classes"
  mvn -q -B -f "$here/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:2.8:build-classpath \
    -Dmdep.outputFile="$here/target/jars" >&2
  javac --release 17 -d "$classes" -cp "$(cat "$here/target/jars")" "$here"/src/main/java/dev/launchway/oracle/*.java >&2
  mv "$here/target/jars" "$here/target/classpath"
fi
exec java -XX:TieredStopAtLevel=1 -Djava.io.tmpdir="${TMPDIR:-/tmp}" -cp "$classes:$(cat "$here/target/classpath")" \
  dev.launchway.oracle.Oracle
