//! The real program, killed at any moment and run again: the end is the same as undisturbed, and nobody is there twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chrono::TimeDelta;
use crmsync::sandbox::companies::seed_demo;
use crmsync::sandbox::{Ports, Sandbox};
use crmsync_simulator::clock::Clock;
use tempfile::TempDir;

use crate::world::shipped_mappings;

/// Moments at which the program is killed, spread over a run; each ends in one more kill than the last.
const KILLS: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn given_a_sync_killed_at_any_moment_when_run_again_then_it_ends_as_if_undisturbed() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let undisturbed = Rehearsal::start().await;
    let started = std::time::Instant::now();
    undisturbed.run_to_the_end();
    let whole = started.elapsed();
    let expected = undisturbed.everyone();

    let companies = companies();
    for company in 0..companies {
        let disturbed = Rehearsal::start().await;
        for kill in 1..=KILLS {
            // No two companies are struck at the same moments.
            let (moment, moments) = (kill * companies - company, KILLS * companies);
            let mut child = disturbed.spawn();
            tokio::time::sleep(whole * moment / moments).await;
            child.kill().unwrap();
            child.wait().unwrap();
        }
        disturbed.run_to_the_end();

        assert_eq!(disturbed.everyone(), expected, "company {company} of {companies}");
        assert_eq!(disturbed.writes_of_another_run(), 0, "company {company} of {companies}");
    }
}

/// `CRMSYNC_KILLS` asks for more kills than one company's.
fn companies() -> u32 {
    let asked = std::env::var("CRMSYNC_KILLS").ok().and_then(|kills| kills.parse().ok());
    asked.unwrap_or(KILLS).div_ceil(KILLS)
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_sync_killed_once_early_when_run_again_then_it_ends_as_if_undisturbed() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let undisturbed = Rehearsal::start().await;
    undisturbed.run_to_the_end();
    let expected = undisturbed.everyone();

    for milliseconds in [60, 120, 180, 240, 300, 400] {
        let disturbed = Rehearsal::start().await;
        let mut child = disturbed.spawn();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        disturbed.run_to_the_end();

        assert_eq!(disturbed.everyone(), expected, "killed after {milliseconds} ms");
        assert_eq!(disturbed.writes_of_another_run(), 0, "killed after {milliseconds} ms");
    }
}

/// Two simulators with the demo's companies, and the program that syncs them.
struct Rehearsal {
    sandbox: Sandbox,
    folder: TempDir,
}

impl Rehearsal {
    async fn start() -> Self {
        let clock = Clock::running(TimeDelta::zero());
        let sandbox = Sandbox::start(&clock, 7, Ports::default()).await.unwrap();
        seed_demo(&sandbox.zoho, &sandbox.pipedrive);
        let folder = TempDir::new().unwrap();
        let text = sandbox.config("sqlite://store.db", &shipped_mappings());
        // Loopback answers at once or never: a second is a long time for a late effect.
        std::fs::write(
            folder.path().join("crmsync.toml"),
            format!("{text}\n[sync]\nsettle = \"1s\"\n"),
        )
        .unwrap();
        Self { sandbox, folder }
    }

    fn spawn(&self) -> Child {
        command(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn run_to_the_end(&self) {
        for _ in 0..4 {
            let output = command(self.folder.path()).output().unwrap();
            if output.status.code() == Some(0) {
                return;
            }
            // A killed process still holds its lease for a moment.
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(matches!(output.status.code(), Some(1 | 6)), "{said}");
            std::thread::sleep(Duration::from_secs(1));
        }
        panic!("not clean after four runs");
    }

    fn writes_of_another_run(&self) -> u64 {
        for (_, traffic) in self.sandbox.traffic() {
            traffic.reset();
        }
        self.run_to_the_end();
        self.sandbox.traffic().iter().map(|(_, traffic)| traffic.written()).sum()
    }

    /// Who and what is on both sides, without ids and times.
    fn everyone(&self) -> BTreeMap<String, Vec<String>> {
        let (zoho, pipedrive) = (&self.sandbox.zoho, &self.sandbox.pipedrive);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (module, fields) in [
            ("Accounts", &["Account_Name", "Phone", "Billing_City"][..]),
            ("Contacts", &["First_Name", "Last_Name", "Email", "Phone"]),
            ("Deals", &["Deal_Name", "Stage", "Closing_Date"]),
        ] {
            let rows = zoho.all(module).into_iter().map(|row| {
                fields.iter().map(|field| text(&row[*field])).collect::<Vec<_>>().join("|")
            });
            all.insert(module.into(), rows.collect());
        }
        for (entity, fields) in [
            ("organizations", &["name"][..]),
            ("persons", &["first_name", "last_name"]),
            ("deals", &["title", "status", "expected_close_date"]),
        ] {
            let rows = pipedrive.all(entity).into_iter().map(|row| {
                let plain =
                    fields.iter().map(|field| text(&row[*field])).collect::<Vec<_>>().join("|");
                format!("{plain}|{}", text(&row["emails"][0]["value"]))
            });
            all.insert(entity.into(), rows.collect());
        }
        for rows in all.values_mut() {
            rows.sort();
        }
        all
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crmsync"));
    command.current_dir(folder).args(["sync", "--quiet", "--approve", "auto"]);
    // Access tokens are kept for the next process: Zoho makes ten in ten minutes, and more are killed here.
    command.env("CRMSYNC_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    command
}
