# The builder compiles only the daemon: devstack is a member of the workspace, but not part of the daemon.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The commit that --version, /health and build_info report; .git is not part of the build context.
ARG RUNNER_COMMIT=unknown
RUN cargo build --release --locked -p mana-persona-runner
# The journal's folder is copied separately, so that COPY can set its owner.
RUN ops/image/assemble-rootfs target/release/mana-persona-runner /rootfs && mv /rootfs/data /data

FROM scratch
COPY --from=build /rootfs /
COPY --from=build --chown=65532:65532 /data /data
# Missing variables are fatal: in production the daemon refuses to start without its secrets.
ENV RUNNER_ENV=production \
    RUNNER_DATA_DIR=/data \
    HOST=0.0.0.0 \
    PORT=3070
USER 65532:65532
VOLUME /data
EXPOSE 3070
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/mana-persona-runner", "--healthcheck"]
ENTRYPOINT ["/usr/local/bin/mana-persona-runner"]
