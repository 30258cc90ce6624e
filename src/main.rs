//! Parse, build, run, exit code: the only place that reads the clock, entropy and the environment.

// Layouts of nested futures are queried deeper than the default allows.
#![recursion_limit = "256"]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser as _;
use crmsync::cli::args::Cli;
use crmsync::cli::context::{Entropy, Machine};
use crmsync::cli::exit::Exit;
use crmsync::clock::{Ambient, Clock, Ids, Order, Wire};
use crmsync::config::Environment;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything builds an HTTP client: without a provider the first one panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Exit::Config.into();
    }
    let cli = Cli::parse();
    match machine().and_then(|machine| runtime().map(|runtime| (machine, runtime))) {
        Ok((machine, runtime)) => runtime.block_on(crmsync::cli::run(cli, machine)).into(),
        Err(error) => {
            crmsync::cli::render::note(&format!("error: cannot start: {error}"));
            Exit::Config.into()
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn machine() -> std::io::Result<Machine> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Machine {
        ambient: ambient(),
        entropy: Entropy::new(entropy),
        environment: Environment::new(variables),
        folder: std::env::current_dir()?,
    })
}

#[expect(clippy::disallowed_methods, reason = "main is where the clock is read")]
fn ambient() -> Ambient {
    let clock = Clock::new(chrono::Utc::now);
    // Ascending across processes by time, unique within one by the counter, apart by chance.
    let (now, count) = (clock.clone(), AtomicU64::new(0));
    let chance = u32::from_le_bytes([entropy()[0], entropy()[1], entropy()[2], entropy()[3]]);
    let ids = Ids::new(move || {
        let millis = now.now().timestamp_millis();
        let count = count.fetch_add(1, Ordering::Relaxed);
        format!("{millis:012x}{count:06x}{chance:08x}")
    });
    Ambient { clock, ids, holder: holder(), is_gone, wire: Wire::Sockets, order: Order::Together }
}

/// Who holds a lease, for whoever finds it taken.
fn holder() -> String {
    format!("{}, process {}", host(), std::process::id())
}

fn host() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "this machine" } else { host.trim() };
    host.to_owned()
}

/// A process of this host that `/proc` does not list was killed; elsewhere only the lease's end tells.
fn is_gone(holder: &str) -> bool {
    let Some((there, process)) = holder.split_once(", process ") else { return false };
    let processes = std::path::Path::new("/proc");
    there == host() && processes.join("self").exists() && !processes.join(process).exists()
}

/// Four random UUIDs have 488 random bits; their hash is 32 bytes that nobody can guess.
#[expect(clippy::disallowed_methods, reason = "main is where entropy is read")]
fn entropy() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for _ in 0..4 {
        hasher.update(uuid::Uuid::new_v4().as_bytes());
    }
    *hasher.finalize().as_bytes()
}
