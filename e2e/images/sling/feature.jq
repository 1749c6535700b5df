# Makes the image's feature model from Sling Starter 12's oak_tar feature.

# Versions that the registries really serve, in place of those the Starter names.
def pinned:
  if startswith("org.apache.felix:org.apache.felix.healthcheck.generalchecks:") then sub("[^:]*$"; "2.0.6")
  elif startswith("org.apache.sling:org.apache.sling.models.caconfig:") then sub("[^:]*$"; "1.0.2")
  elif startswith("com.composum.nodes:") then sub("[^:]*$"; "4.2.2")
  else . end;

# One more health servlet for each probe path that an AEMaaCS dispatcher configuration proxies.
def probe(name; tags): {
  ("org.apache.felix.hc.core.impl.servlet.HealthCheckExecutorServlet~probes-" + name):
    {servletPath: ("/system/probes/" + name), tags: tags, "combineTagsWithOr:Boolean": true, format: "json"}};

def logger(name; level; loggers): {
  ("org.apache.sling.commons.log.LogManager.factory.config~launchway-" + name): {
    "org.apache.sling.commons.log.names": loggers,
    "org.apache.sling.commons.log.level": level,
    "org.apache.sling.commons.log.file": "/tmp/launchway/packages.log",
    # Rotation by day would lose the reason of a failure at midnight.
    "org.apache.sling.commons.log.file.size": "20MB",
    "org.apache.sling.commons.log.file.number:Integer": 1,
    "org.apache.sling.commons.log.additiv": "true",
    "org.apache.sling.commons.log.pattern": "%d{dd.MM.yyyy HH:mm:ss.SSS} *%level* [%thread] %logger %msg%n"}};

del(.["feature-internal-data:JSON|false"], .["assembled-features:ARTIFACTS|TRANSIENT"])
| .id = "dev.launchway:sling:1"
| .bundles |= [.[] | select(.id | startswith("org.apache.sling:org.apache.sling.starter.content:") | not)
    | {id: (.id | pinned), "start-order": .["start-order"]}]
| .configurations |= with_entries(.value |= with_entries(select(.key | startswith(":configurator:") | not)))
| del(.configurations["org.apache.felix.hc.core.impl.filter.ServiceUnavailableFilter~startupandshutdown"].responseTextFor503)
| .configurations["org.apache.sling.commons.log.LogManager"] |=
    with_entries(select(.key | test("\\.file(\\.|$)") | not)) + {"org.apache.sling.commons.log.file": ""}
| .configurations += probe("live"; ["systemalive"]) + probe("start"; ["systemalive"])
    + probe("ready"; ["systemalive", "bundles"]) + probe("health"; ["systemalive", "bundles"])
# The ready command reads from this file which package the importer works on, and why one failed.
| .configurations += logger("packages"; "info"; ["org.apache.jackrabbit.vault", "org.apache.sling.installer"])
    + logger("importer"; "debug"; ["org.apache.jackrabbit.vault.packaging.impl.ZipVaultPackage",
        "org.apache.sling.installer.factory.packages.impl.PackageTransformer"])
