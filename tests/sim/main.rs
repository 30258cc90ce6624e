//! The whole program against a simulated world, history after history: semantics §17 and §18.
//!
//! Both CRMs, the store and the program live in one thread, without sockets and without waiting, so a seed decides
//! everything and a second is enough for many histories. `just simulate --seeds 1..1000` runs more of them,
//! `--replay SEED` tells one.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its history")]
#![expect(clippy::print_stdout, reason = "the report of a test goes where tests report")]

mod ablations;
mod clockwork;
mod clouds;
mod crms;
mod dice;
mod history;
mod laws;
mod ledger;
mod people;
mod premises;
mod process;
mod trace;
mod weather;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use clap::Parser;

use crate::history::{Setting, Verdict, live};
use crate::process::{STACK, runtime};
use crate::weather::{FAMILIES, Families};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Histories of `cargo test`: as many as a minute holds without optimization.
const SEEDS: std::ops::Range<u64> = 1..13;

/// Seeds within which the lack of a rule must show, and how many are tried at once.
const ABLATION_SEEDS: u64 = 200;
const ABLATION_STEP: usize = 8;

#[derive(Debug, Parser)]
#[command(name = "simulate", about = "Lets the program live through simulated histories")]
struct Args {
    /// How many, or which: `500`, `1000..2000`
    #[arg(long)]
    seeds: Option<String>,
    /// Fault families of semantics §18, as in `1,2,9`; all of them by default
    #[arg(long, value_delimiter = ',')]
    faults: Option<Vec<u8>>,
    /// Tells one history, line by line
    #[arg(long)]
    replay: Option<u64>,
    /// Over real sockets
    #[arg(long)]
    sockets: bool,
    /// Threads; as many as the machine has cores by default
    #[arg(long)]
    threads: Option<usize>,
    /// Arguments of `cargo test` that mean nothing here, and names of tests to run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let threads = args.threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    });
    let families: Families =
        args.faults.as_ref().map_or_else(|| FAMILIES.into(), |some| some.iter().copied().collect());
    let setting = Setting { over_sockets: args.sockets, ..Setting::of(families) };
    match (args.replay, args.seeds.as_deref().map(parse_seeds)) {
        (Some(seed), _) => replay(seed, &setting),
        (None, Some(Ok(seeds))) => report(&run_all(seeds, &setting, threads)),
        (None, Some(Err(_))) => {
            println!("--seeds takes a number or a range such as 1000..2000");
            ExitCode::FAILURE
        }
        (None, None) => tests(&args.rest, threads),
    }
}

type Check = fn(usize) -> ExitCode;

const TESTS: [(&str, Check); 4] = [
    ("given_any_weather_when_it_clears_then_all_laws_hold", all_laws_hold),
    ("given_one_seed_when_lived_twice_then_the_trace_is_the_same", traces_repeat),
    ("given_real_sockets_when_it_clears_then_all_laws_hold_too", sockets_do_too),
    (RULES, rules_are_needed),
];

/// Runs only when it is asked for by name: tries hundreds of histories for each rule.
const RULES: &str = "given_a_safety_rule_switched_off_when_lived_then_a_law_is_broken";
/// What `cargo test` runs: the tests whose name holds one of the given words.
fn tests(words: &[String], threads: usize) -> ExitCode {
    let lists = words.iter().any(|word| word == "--list");
    let words: Vec<_> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let mut failed = false;
    for (name, check) in TESTS {
        let asked_for = words.iter().any(|word| name.contains(word.as_str()));
        if !asked_for && (!words.is_empty() || name == RULES) {
            continue;
        }
        if lists {
            println!("{name}: test");
            continue;
        }
        println!("test {name} ...");
        let ok = check(threads) == ExitCode::SUCCESS;
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        failed |= !ok;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn all_laws_hold(threads: usize) -> ExitCode {
    let setting = Setting::of(FAMILIES.into());
    report(&run_all(SEEDS, &setting, threads))
}

fn sockets_do_too(threads: usize) -> ExitCode {
    let setting = Setting { over_sockets: true, ..Setting::of(FAMILIES.into()) };
    report(&run_all(SEEDS.start..SEEDS.start + 3, &setting, threads))
}

/// I17.
fn traces_repeat(threads: usize) -> ExitCode {
    let setting = Setting { keeps_trace: true, ..Setting::of(FAMILIES.into()) };
    let [once, twice] = [0, 1].map(|_| run_all(SEEDS.start..SEEDS.start + 4, &setting, threads));
    let mut same = true;
    for (one, other) in once.verdicts.iter().zip(&twice.verdicts) {
        if one.hash != other.hash {
            same = false;
            let apart = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
            println!("seed {} went two ways: {apart:#?}", one.seed);
        }
    }
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ablations: semantics §18.
fn rules_are_needed(threads: usize) -> ExitCode {
    let mut all = true;
    for rule in ablations::rules() {
        let setting = rule.setting();
        let found = (0..ABLATION_SEEDS).step_by(ABLATION_STEP).find_map(|from| {
            let to = from + ABLATION_STEP as u64;
            let outcome = run_all(from + 1..to + 1, &setting, threads);
            outcome.verdicts.into_iter().find(|verdict| !verdict.violations.is_empty())
        });
        if let Some(verdict) = found {
            println!("    without {}: seed {}, {}", rule.name, verdict.seed, verdict.violations[0]);
        } else {
            println!("    without {}: nothing in {ABLATION_SEEDS} seeds", rule.name);
            all = false;
        }
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse_seeds(text: &str) -> Result<std::ops::Range<u64>, std::num::ParseIntError> {
    match text.split_once("..") {
        Some((from, to)) => Ok(from.parse()?..to.parse()?),
        None => Ok(1..text.parse::<u64>()? + 1),
    }
}

fn replay(seed: u64, setting: &Setting) -> ExitCode {
    let verdict = runtime().block_on(live(seed, &Setting { keeps_trace: true, ..setting.clone() }));
    for line in &verdict.trace {
        println!("{line}");
    }
    report(&Outcome { verdicts: vec![verdict], seconds: 0.0 })
}

struct Outcome {
    verdicts: Vec<Verdict>,
    seconds: f64,
}

fn run_all(seeds: std::ops::Range<u64>, setting: &Setting, threads: usize) -> Outcome {
    let started = std::time::Instant::now();
    let (next, end) = (Arc::new(AtomicU64::new(seeds.start)), seeds.end);
    let verdicts = Arc::new(Mutex::new(Vec::new()));
    let workers = (0..threads).map(|_| {
        let (next, verdicts, setting) = (Arc::clone(&next), Arc::clone(&verdicts), setting.clone());
        std::thread::Builder::new().stack_size(STACK).spawn(move || {
            let runtime = runtime();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return;
                }
                let verdict = runtime.block_on(live(seed, &setting));
                verdicts.lock().unwrap().push(verdict);
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    for worker in workers {
        worker.unwrap().join().unwrap();
    }
    let mut verdicts = std::mem::take(&mut *verdicts.lock().unwrap());
    verdicts.sort_by_key(|verdict: &Verdict| verdict.seed);
    Outcome { verdicts, seconds: started.elapsed().as_secs_f64() }
}

fn report(outcome: &Outcome) -> ExitCode {
    let all = &outcome.verdicts;
    let sum = |of: fn(&Verdict) -> u64| all.iter().map(of).sum::<u64>();
    for verdict in all.iter().filter(|verdict| !verdict.violations.is_empty()) {
        println!("seed {}:", verdict.seed);
        for violation in &verdict.violations {
            println!("    {violation}");
        }
    }
    let broken = all.iter().filter(|verdict| !verdict.violations.is_empty()).count();
    println!(
        "{} histories in {:.1} s: {} human edits ({} within the window of a write), {} runs, {} kills, {} calls; {broken} broken",
        all.len(),
        outcome.seconds,
        sum(|verdict| verdict.edits as u64),
        sum(|verdict| verdict.in_window as u64),
        sum(|verdict| verdict.runs as u64),
        sum(|verdict| verdict.deaths as u64),
        sum(|verdict| verdict.calls),
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
