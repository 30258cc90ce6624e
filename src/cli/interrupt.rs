//! Ctrl-C: the first stops at a safe point, the second at once.

use tokio_util::sync::CancellationToken;

use super::render::note;

/// What a shell shows for a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Watches for Ctrl-C until the program ends.
pub(super) fn watch(cancel: CancellationToken) {
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        cancel.cancel();
        note(
            "stopping at the next safe point; the next run goes on from there (Ctrl-C again: at once)",
        );
        if tokio::signal::ctrl_c().await.is_ok() {
            note(
                "stopped; writes under way are looked up by the next run before anything is repeated",
            );
            std::process::exit(INTERRUPTED);
        }
    });
}
