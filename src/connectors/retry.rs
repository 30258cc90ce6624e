//! When to call again, and how long to wait: the only place that knows the `backoff` crate.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backoff::backoff::Backoff;
use backoff::exponential::ExponentialBackoff;

use super::ErrorKind;
use crate::clock::Clock;

/// How often and how long a call is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts that may fail for a passing reason before the call fails.
    pub tries: u32,
    /// Attempts that may be throttled before the call fails.
    pub throttled_tries: u32,
    /// First pause; it doubles up to `longest`, scattered by ±50 %.
    pub first: Duration,
    pub longest: Duration,
    /// Longest time a call and its pauses may take; a pause that would pass it is not begun.
    pub max_elapsed: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tries: 5,
            throttled_tries: 8,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            max_elapsed: Duration::from_secs(150),
        }
    }
}

/// Why an attempt failed, as far as the next one is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Calling again cannot help, or might do the work twice.
    Final(ErrorKind),
    /// May pass: wait and call again.
    Passing(ErrorKind),
    /// The side asked to slow down, perhaps saying for how long.
    Throttled(Option<Duration>),
}

/// Scatters pauses, the same way for the same seed. Clones share the sequence.
#[derive(Clone, Debug)]
pub struct Jitter(Arc<AtomicU64>);

impl Jitter {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// Answers a duration between half and one and a half of `base`.
    pub fn scatter(&self, base: Duration) -> Duration {
        let thousandths = u32::try_from(self.draw() % 1_000).unwrap_or(0);
        base / 2 + base * thousandths / 1_000
    }

    /// splitmix64: spreads neighboring seeds well and needs one atomic step.
    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Calls `attempt` until it succeeds, fails for good, or `policy` is used up; answers the last error.
///
/// Pauses are `clock`'s.
///
/// # Errors
/// The kind of the last failure; [`ErrorKind::RateLimited`] when the last one was throttled.
pub async fn retry<T, F, Fut>(
    policy: &Policy,
    jitter: &Jitter,
    clock: &Clock,
    mut attempt: F,
) -> Result<T, ErrorKind>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    let mut patience = Patience::new(*policy, jitter.clone());
    loop {
        let failure = match attempt().await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        match patience.judge(failure) {
            backoff::Error::Permanent(kind) => return Err(kind),
            backoff::Error::Transient { err, retry_after } => {
                let Some(pause) = retry_after.or_else(|| patience.next_backoff()) else {
                    return Err(err);
                };
                tracing::debug!(pause_ms = pause.as_millis(), reason = %err, "calling again later");
                clock.sleep(pause).await;
            }
        }
    }
}

/// What is left of a policy during one call: `backoff` with pauses of our own making, as its jitter has no seed.
struct Patience {
    policy: Policy,
    jitter: Jitter,
    inner: ExponentialBackoff<TokioClock>,
    failed: u32,
    throttled: u32,
}

impl Patience {
    fn new(policy: Policy, jitter: Jitter) -> Self {
        let mut inner = ExponentialBackoff {
            initial_interval: policy.first,
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: policy.longest,
            max_elapsed_time: Some(policy.max_elapsed),
            ..ExponentialBackoff::default()
        };
        inner.reset();
        Self { policy, jitter, inner, failed: 0, throttled: 0 }
    }

    fn judge(&mut self, failure: Failure) -> backoff::Error<ErrorKind> {
        match failure {
            Failure::Final(kind) => backoff::Error::permanent(kind),
            Failure::Passing(kind) => {
                self.failed += 1;
                self.unless(self.failed >= self.policy.tries, kind, None)
            }
            Failure::Throttled(retry_after) => {
                self.throttled += 1;
                let spent = self.throttled >= self.policy.throttled_tries
                    || retry_after.is_some_and(|pause| !self.fits(pause));
                self.unless(spent, ErrorKind::RateLimited { retry_after }, retry_after)
            }
        }
    }

    fn unless(
        &self,
        spent: bool,
        kind: ErrorKind,
        retry_after: Option<Duration>,
    ) -> backoff::Error<ErrorKind> {
        match (spent, retry_after) {
            (true, _) => backoff::Error::permanent(kind),
            // A little later than told, so that clients told the same do not come back together.
            (false, Some(pause)) => {
                let later = self.jitter.scatter(self.policy.first / 2);
                backoff::Error::retry_after(kind, pause + later)
            }
            (false, None) => backoff::Error::transient(kind),
        }
    }

    fn fits(&self, pause: Duration) -> bool {
        self.inner.get_elapsed_time() + pause <= self.policy.max_elapsed
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.inner.reset();
    }

    fn next_backoff(&mut self) -> Option<Duration> {
        self.inner.next_backoff().map(|pause| self.jitter.scatter(pause))
    }
}

/// tokio's time, which tests can pause.
#[derive(Clone, Debug, Default)]
struct TokioClock;

impl backoff::Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn down() -> ErrorKind {
        ErrorKind::Unavailable("down".into())
    }

    async fn attempts(policy: Policy, failure: Failure, then_ok_after: u32) -> (u32, bool) {
        let made = Cell::new(0);
        let clock = Clock::new(|| chrono::DateTime::UNIX_EPOCH);
        let outcome = retry(&policy, &Jitter::new(7), &clock, || {
            made.set(made.get() + 1);
            let result = if made.get() > then_ok_after { Ok(()) } else { Err(failure.clone()) };
            async move { result }
        })
        .await;
        (made.get(), outcome.is_ok())
    }

    /// Pauses of milliseconds, so that the test can wait for them.
    fn short() -> Policy {
        Policy {
            first: Duration::from_millis(2),
            longest: Duration::from_millis(4),
            max_elapsed: Duration::from_secs(5),
            ..Policy::default()
        }
    }

    #[tokio::test]
    async fn given_failures_when_retried_then_the_policy_decides_how_often() {
        let wait = |millis| Failure::Throttled(Some(Duration::from_millis(millis)));
        let cases = [
            ("final is not repeated", Failure::Final(down()), u32::MAX, (1, false)),
            ("passing up to five tries", Failure::Passing(down()), u32::MAX, (5, false)),
            ("passing once", Failure::Passing(down()), 1, (2, true)),
            ("throttled up to eight tries", wait(2), u32::MAX, (8, false)),
            ("throttled without a time", Failure::Throttled(None), 3, (4, true)),
            ("told to wait for too long", wait(3_600_000), u32::MAX, (1, false)),
        ];

        for (name, failure, then_ok_after, expected) in cases {
            assert_eq!(attempts(short(), failure, then_ok_after).await, expected, "{name}");
        }
    }

    #[tokio::test]
    async fn given_a_retry_after_when_throttled_then_the_pause_is_at_least_that_long() {
        let start = tokio::time::Instant::now();

        attempts(short(), Failure::Throttled(Some(Duration::from_millis(90))), 1).await;

        assert!(start.elapsed() >= Duration::from_millis(90));
    }

    #[test]
    fn given_one_seed_when_scattered_twice_then_the_pauses_are_the_same_and_within_half() {
        let draw = || {
            let jitter = Jitter::new(42);
            (0..100).map(|_| jitter.scatter(Duration::from_secs(10))).collect::<Vec<_>>()
        };

        assert_eq!(draw(), draw());
        assert!(draw().iter().all(|pause| (5..=15).contains(&pause.as_secs())));
    }
}
