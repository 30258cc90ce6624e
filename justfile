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

# Pages over a full store, and the way of a change by webhooks.
bench-serving *args:
    cargo bench --bench serving -- {{args}}

# The same for databases: copies of a CRM, files.
bench-relational *args:
    cargo bench --bench relational -- {{args}}

# Simulated histories: `--seeds 20000`, `--seeds 500..600`, `--faults 1,2,9`, `--replay 7`.
simulate *args:
    cargo test --release --test sim -- {{args}}

# A night of them.
simulate-long:
    cargo test --release --test sim -- --seeds 200000

# The real program, killed a few hundred times.
kill count="300":
    CRMSYNC_KILLS={{count}} cargo test --release --test it kill -- --nocapture

# Bans, licenses, sources.
deny:
    cargo deny check

# Accept changed snapshots, then read them.
snap:
    INSTA_UPDATE=always cargo test --workspace && git diff -- '*.snap'

# What CI runs.
ci:
    .ci/run
