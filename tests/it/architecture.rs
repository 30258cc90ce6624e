//! Who may know whom: model → engine → { connectors, store } → service → report → web → cli → main, read off the `use` lines.

use std::path::{Path, PathBuf};

/// A room and the rooms of this crate that it must not name.
const FORBIDDEN: [(&str, &[&str]); 8] = [
    ("src/connectors", &["store", "service", "report", "web", "cli", "config", "sandbox"]),
    ("src/store", &["connectors", "service", "report", "web", "cli", "config", "sandbox"]),
    ("src/config", &["connectors", "store", "service", "report", "web", "cli", "sandbox"]),
    ("src/sandbox", &["connectors", "store", "service", "report", "web", "cli", "config"]),
    ("src/service", &["report", "web", "cli", "sandbox"]),
    ("src/report", &["web", "cli", "sandbox"]),
    ("src/web", &["cli", "sandbox"]),
    (
        "src/clock.rs",
        &["connectors", "store", "service", "report", "web", "cli", "config", "sandbox"],
    ),
];

#[test]
fn given_the_source_when_its_use_lines_are_read_then_no_room_knows_one_it_may_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));

    let mut broken = Vec::new();
    for (room, forbidden) in FORBIDDEN {
        for file in rust_files(&root.join(room)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for other in forbidden {
                if names(&text, other) {
                    broken.push(format!(
                        "{} names crate::{other}",
                        file.strip_prefix(root).unwrap().display()
                    ));
                }
            }
        }
    }

    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn given_the_core_when_its_dependencies_are_read_then_none_can_do_io() {
    let manifest = include_str!("../../crates/core/Cargo.toml");

    for banned in ["tokio", "reqwest", "sea-orm", "axum", "sqlx", "async-trait"] {
        assert!(!manifest.contains(banned), "crmsync-core must not depend on {banned}");
    }
}

#[test]
fn given_the_simulator_when_its_dependencies_are_read_then_it_knows_nothing_of_crmsync() {
    assert!(!include_str!("../../crates/simulator/Cargo.toml").contains("crmsync-core"));
}

fn names(text: &str, room: &str) -> bool {
    let path = format!("crate::{room}");
    text.match_indices(&path).any(|(at, _)| {
        let next = text[at + path.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn rust_files(at: &Path) -> Vec<PathBuf> {
    if at.is_file() {
        return vec![at.to_owned()];
    }
    let entries = std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}
