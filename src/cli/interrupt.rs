//! Ctrl-C and the signal to terminate: the first stops at a safe point, the second at once.

use tokio_util::sync::CancellationToken;

use super::render::note;

/// What a shell shows for a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Watches for them until the program ends.
pub(super) fn watch(cancel: CancellationToken) {
    tokio::spawn(async move {
        if !asked_to_stop().await {
            return;
        }
        cancel.cancel();
        note(
            "stopping at the next safe point; the next run goes on from there (Ctrl-C again: at once)",
        );
        if asked_to_stop().await {
            note(
                "stopped; writes under way are looked up by the next run before anything is repeated",
            );
            std::process::exit(INTERRUPTED);
        }
    });
}

/// Waits for either; answers `false` where signals cannot be watched.
#[cfg(unix)]
async fn asked_to_stop() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return false };
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.is_ok(),
        told = terminate.recv() => told.is_some(),
    }
}

#[cfg(not(unix))]
async fn asked_to_stop() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}

/// Waits for the signal to hang up: by custom, to read the configuration again.
#[cfg(unix)]
pub(super) async fn hang_up() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::hangup()) {
        Ok(mut hang_up) => drop(hang_up.recv().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
pub(super) async fn hang_up() {
    std::future::pending().await
}
