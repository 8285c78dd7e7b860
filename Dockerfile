# The builder compiles the daemon alone: devstack is a member of the workspace, but no part of it.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p mana-persona-runner

FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/mana-persona-runner /usr/local/bin/mana-persona-runner
# Forgotten variables fail closed: in production the daemon refuses to start without its secrets.
ENV RUNNER_ENV=production \
    HOST=0.0.0.0 \
    PORT=3070
USER 65532:65532
EXPOSE 3070
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/mana-persona-runner", "--healthcheck"]
ENTRYPOINT ["/usr/local/bin/mana-persona-runner"]
