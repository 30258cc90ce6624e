//! Where a history takes place: a folder with a store, mapping files, and the addresses of both CRMs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crmsync::sandbox;
use crmsync::store::Store;
use crmsync_core::model::Side;
use crmsync_simulator::host::Host;
use futures_util::FutureExt as _;
use tempfile::TempDir;

use crate::dice::Dice;
use crate::process::{Shared, lock};
use crate::weather::Families;
use crate::world::{Met, World};

/// Lets both servers listen on loopback.
pub(crate) async fn listen(world: &Shared) -> Vec<Host> {
    let mut hosts = Vec::new();
    for side in Side::BOTH {
        let there = Arc::clone(world);
        let answer = move |call| {
            let reply = match lock(&there).serve(side, call) {
                Met::Answered(reply) => Some(reply),
                Met::Lost | Met::Unsent => None,
            };
            std::future::ready(reply).boxed()
        };
        let host = Host::serve(Arc::new(answer), 0).await.unwrap();
        lock(world).addresses[side] = host.url();
        hosts.push(host);
    }
    hosts
}

/// A folder in memory where there is one: every commit of the store waits for its disk.
pub(crate) fn workplace() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// An empty store, made once.
pub(crate) async fn template() -> PathBuf {
    static MADE: tokio::sync::OnceCell<(TempDir, PathBuf)> = tokio::sync::OnceCell::const_new();
    let made = MADE.get_or_init(|| async {
        let folder = workplace();
        let path = folder.path().join("empty.db");
        let store = Store::open(&format!("sqlite://{}", path.display())).await.unwrap();
        store.close().await.unwrap();
        (folder, path)
    });
    made.await.1.clone()
}

pub(crate) fn config_text(world: &World, folder: &Path, store: &str) -> String {
    sandbox::config(
        &world.crms.zoho,
        &world.crms.pipedrive,
        [&world.addresses.left, &world.addresses.right],
        &format!("sqlite://{}", folder.join(store).display()),
        &folder.join("mappings"),
    )
}

/// Accounts and contacts as shipped, under policies that differ from history to history.
pub(crate) fn write_mappings(folder: &Path, dice: &mut Dice, families: &Families) {
    let policies = ["newest", "newest", "queue", "prefer-left", "prefer-right"];
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/zoho-pipedrive");
    for name in ["account.toml", "contact.toml"] {
        let mut text = std::fs::read_to_string(shipped.join(name)).unwrap();
        let policy = dice.pick(&policies);
        let deletes = dice.pick(&["keep", "propagate", "propagate"]);
        let mode = if families.contains(&3) { *dice.pick(&["auto", "batch"]) } else { "auto" };
        text = text.replacen("[match]", &format!("write-mode = \"{mode}\"\n\n[match]"), 1);
        text += "\n[conflicts]\n";
        text = text + "policy = \"" + policy + "\"\n\n[deletes]\n";
        text = text + "to-left = \"" + deletes + "\"\nto-right = \"" + deletes + "\"\n";
        std::fs::write(folder.join(name), text).unwrap();
    }
}
