# syntax=docker/dockerfile:1
# annals-local in a container, for those who want to try Annals without Rust: `docker compose up` (compose.yaml has the database). A deployment
# uses the functions of template.yaml instead.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep the registry and the compiled dependencies, so a change of our own code compiles only that. What is in a cache is not in the
# image, so the program is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin annals-local \
    && install -D target/release/annals-local /image/usr/local/bin/annals-local \
    && install -d -o 10001 -g 10001 -m 0711 /image/var/lib/annals

FROM debian:bookworm-slim
COPY --from=build /image /
# No account of this number exists; it owns the data folder and nothing else.
USER 10001:10001
# In a container, 127.0.0.1 cannot be reached from outside. compose.yaml publishes the port on the host's 127.0.0.1.
ENV ANNALS_BIND=0.0.0.0 ANNALS_PORT=3000 ANNALS_DATA_DIR=/var/lib/annals
# The key that signs tokens is generated here at the first start, and large files are uploaded to here.
VOLUME /var/lib/annals
EXPOSE 3000
# The image has no curl; bash can open a connection.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/3000 && printf 'GET /api/v1/health HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["annals-local"]
