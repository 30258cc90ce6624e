# Formatting, lints, docs.
check:
    cargo fmt --all -- --check && cargo clippy --workspace --all-targets -- -D warnings && RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# All tests, as the README runs them.
test:
    cargo test --workspace

# The engine alone: seconds.
core:
    cargo test -p crmsync-core

# Both CRMs simulated, synced, edited, synced again.
demo *args:
    cargo run --release -- demo {{args}}

# Speed, calls, credits, memory: writes its table to the terminal.
bench *args:
    cargo bench --bench sync -- {{args}}

# The same for databases: copies of a CRM, files.
bench-relational *args:
    cargo bench --bench relational -- {{args}}

# Bans, licenses, sources.
deny:
    cargo deny check

# Accept changed snapshots, then read them.
snap:
    INSTA_UPDATE=always cargo test --workspace && git diff -- '*.snap'

# What CI runs.
ci:
    .ci/run
