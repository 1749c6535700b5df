# The operator's image, for people who have a container engine:
#   docker build -t REGISTRY/launchway:0.1.0 .
# CI, `make demo` and `make test` do not use it: they build the same content without an engine (e2e/images/operator).

FROM rust:1.95.0-slim-bookworm AS build
# The image has exactly this toolchain; without the variable rustup would download the components of rust-toolchain.toml.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crds crds
COPY operator operator
# A member of the workspace: cargo needs its manifest.
COPY e2e e2e
RUN cargo build --release --locked --package launchway-operator --bin launchway

# glibc as in the build stage: the binary is linked to it.
FROM debian:bookworm-slim
# Public certificate authorities, from the build stage: no package manager runs here.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/launchway /usr/local/bin/launchway
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# A number, so that runAsNonRoot can be checked.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/usr/local/bin/launchway"]
