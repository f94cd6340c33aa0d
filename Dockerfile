# The image of Bursar: one static program on nothing. No shell, no package, no user but a number; the root may be read-only.
#
#   docker build --tag registry.example.com/bursar:0.1.0 .
#   docker build --build-arg TARGETARCH=arm64 --platform linux/arm64 --tag registry.example.com/bursar:0.1.0-arm64 .
#
# Dockerfile.binary makes the same image of a program that was built outside. docs/container.md has both.
ARG RUST_VERSION=1.95.0

# On the machine's own architecture, whatever it builds for.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:${RUST_VERSION}-bookworm AS build
ARG TARGETARCH=amd64
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Versions are those of the base image's release, which a date in its tag would not pin either.
# hadolint ignore=DL3008
RUN case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-gnu; cross=(gcc-x86-64-linux-gnu libc6-dev-amd64-cross) ;; \
      arm64) target=aarch64-unknown-linux-gnu; cross=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross) ;; \
      *) echo "TARGETARCH: amd64 or arm64" >&2; exit 2 ;; \
    esac; \
    rustup target add "$target"; \
    if [ "$(dpkg --print-architecture)" = "$TARGETARCH" ]; then cross=(); fi; \
    apt-get update; \
    apt-get install --yes --no-install-recommends ca-certificates "${cross[@]}"; \
    rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN container/image-binary "$TARGETARCH" /image

FROM scratch
ARG TARGETARCH=amd64
LABEL org.opencontainers.image.title="bursar" \
      org.opencontainers.image.description="An OAuth 2.0 token broker" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/nsswitch.conf /etc/nsswitch.conf
COPY --from=build /image/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image/bursar /usr/local/bin/bursar
# A number, so that Kubernetes sees that it is not root. Any other will do as well.
USER 65532:65532
EXPOSE 7600 7680 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/bursar"]
CMD ["serve", "--config", "/etc/bursar/config/bursar.toml"]
