# syntax=docker/dockerfile:1
# The image of the chart in helm/starling: docker build -t localhost/starling:0.1.0 .
ARG RUST_VERSION=1.89

# Debian 12 as below: the binary must not want a newer glibc than there is.
FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
COPY crates crates
# The clip of the demo is part of the binary.
COPY tests/data tests/data
# Not built, but the manifest names it, and cargo wants every target it names.
COPY benches benches
# Registry and target stay on the builder, so that a change of src does not compile the dependencies again. They are
# no part of the image: the binary is copied out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin starling && \
    cp target/release/starling /starling

# glibc and libgcc and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="starling" \
      org.opencontainers.image.description="Livestream and group swarms over gRPC" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /starling /usr/local/bin/starling
# The default, 127.0.0.1, is the container's own.
ENV STARLING__SERVER__LISTEN=0.0.0.0:50051
# Unless STARLING__IDENTITY__MODE is "jwt", everybody who reaches the port may do everything: publish it to your own
# machine alone (-p 127.0.0.1:50051:50051). "false" makes the server refuse to start like that.
ENV STARLING__IDENTITY__INSECURE=true
EXPOSE 50051
# By number: Kubernetes cannot tell that a name is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/starling"]
