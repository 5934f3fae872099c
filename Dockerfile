# An image of tg. The dependencies are built apart from the sources (cargo-chef), so that an edit of src/ compiles one crate.

FROM rust:1-bookworm AS chef
ENV CARGO_HOME=/usr/local/cargo
# First, and above every COPY: no edit builds this again.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/usr/local/cargo/git,sharing=locked \
    cargo install cargo-chef --locked --version 0.1.78
WORKDIR /app

FROM chef AS planner
COPY Cargo.toml Cargo.lock ./
COPY src src
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=planner /app/recipe.json recipe.json
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/usr/local/cargo/git,sharing=locked \
    cargo chef cook --locked --release --recipe-path recipe.json
COPY Cargo.toml Cargo.lock ./
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/usr/local/cargo/git,sharing=locked \
    cargo build --locked --release --bin tg

FROM debian:bookworm-slim
COPY --from=build /app/target/release/tg /usr/local/bin/tg
# A number and not a name: Kubernetes can check runAsNonRoot only on a number.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/tg"]
