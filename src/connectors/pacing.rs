//! How fast, how many at once, and how much a day: every attempt passes through here.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Cost, ErrorKind};
use crate::clock::Clock;

/// Limits of one connection, by what the vendor allows and what we leave to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Attempts that may start within `per`, all at once if need be.
    pub burst: NonZeroU32,
    pub per: Duration,
    /// Calls in flight at once.
    pub concurrency: usize,
    /// Heavy calls in flight at once, within `concurrency`.
    pub heavy: usize,
}

/// Whether a call belongs to the group that the vendor limits further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Light,
    Heavy,
}

/// The permission to have a call in flight; ends when dropped.
pub struct Slot<'a> {
    _any: SemaphorePermit<'a>,
    _heavy: Option<SemaphorePermit<'a>>,
}

/// Limits bursts and concurrency of one connection.
pub struct Pacer {
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    ticks: TokioClock,
    clock: Clock,
    any: Semaphore,
    heavy: Semaphore,
    resume_at: Mutex<Option<DateTime<Utc>>>,
}

/// Longest time for which one throttled call holds back the others of its connection.
const MAX_PAUSE: Duration = Duration::from_mins(1);

impl Pacer {
    pub fn new(pace: Pace, clock: Clock) -> Self {
        let ticks = TokioClock::start();
        let period = (pace.per / pace.burst.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(period)
            .unwrap_or(Quota::per_second(pace.burst))
            .allow_burst(pace.burst);
        Self {
            limiter: RateLimiter::direct_with_clock(quota, ticks.clone()),
            ticks,
            clock,
            any: Semaphore::new(pace.concurrency.max(1)),
            heavy: Semaphore::new(pace.heavy.max(1)),
            resume_at: Mutex::new(None),
        }
    }

    /// Waits until a call of this weight may start.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the process is shutting down.
    pub async fn admit(&self, weight: Weight) -> Result<Slot<'_>, ErrorKind> {
        let closed = |_| ErrorKind::Unavailable("shutting down".into());
        let heavy = match weight {
            Weight::Light => None,
            Weight::Heavy => Some(self.heavy.acquire().await.map_err(closed)?),
        };
        let any = self.any.acquire().await.map_err(closed)?;
        self.wait_for_turn().await;
        Ok(Slot { _any: any, _heavy: heavy })
    }

    /// Lets no call of this connection start for `pause`, a minute at most: one of them was told to slow down.
    pub fn pause(&self, pause: Duration) {
        let until = self.clock.now() + pause.min(MAX_PAUSE);
        let mut resume_at = lock(&self.resume_at);
        *resume_at = Some(resume_at.map_or(until, |at| at.max(until)));
    }

    async fn wait_for_turn(&self) {
        loop {
            let pause = match self.limiter.check() {
                Ok(()) => break,
                Err(not_until) => not_until.wait_time_from(self.ticks.now()),
            };
            self.clock.sleep(pause).await;
        }
        let resume_at = *lock(&self.resume_at);
        if let Some(left) = resume_at.and_then(|at| (at - self.clock.now()).to_std().ok()) {
            // Never longer than a pause can be: our clock may have stepped back meanwhile.
            self.clock.sleep(left.min(MAX_PAUSE)).await;
        }
    }
}

/// tokio's time for `governor`, whose own sleeps ignore a paused clock.
#[derive(Clone, Debug)]
struct TokioClock(tokio::time::Instant);

impl TokioClock {
    fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl governor::clock::Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Keeps a side's daily budget: every attempt reserves its price first.
pub trait BudgetGate: Send + Sync {
    /// Sets `units` aside.
    ///
    /// # Errors
    /// [`ErrorKind::BudgetExhausted`] when they are not there; nothing is set aside then.
    fn reserve(&self, units: u64) -> Result<(), ErrorKind>;

    /// Gives back what an attempt that never left did not use.
    fn refund(&self, units: u64);

    /// Learns from the side how many units are left to everybody.
    fn observe_remaining(&self, remaining: u64);
}

/// The span of time a budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last 24 hours, counted from each call.
    Rolling,
    /// A day that starts at this time, UTC.
    Daily { starts: NaiveTime },
}

/// A budget kept in this process.
pub struct Budget {
    limit: Option<u64>,
    window: Window,
    clock: Clock,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Units by minute, oldest first.
    spent: VecDeque<(DateTime<Utc>, u64)>,
    /// What the side last said is left, and what we spent since.
    remaining: Option<u64>,
    remaining_at: Option<DateTime<Utc>>,
}

impl Budget {
    /// Allows `share_percent` of the side's `limit` a window; no limit, no refusal.
    pub fn new(limit: Option<u64>, share_percent: u64, window: Window, clock: Clock) -> Self {
        let limit = limit.map(|limit| limit.saturating_mul(share_percent.min(100)) / 100);
        Self { limit, window, clock, book: Mutex::default() }
    }

    /// Counts what earlier processes spent: units by time, oldest first.
    #[must_use]
    pub fn after(self, past: impl IntoIterator<Item = (DateTime<Utc>, u64)>) -> Self {
        lock(&self.book).spent.extend(past);
        self
    }

    /// Units spent in the current window.
    pub fn used(&self) -> u64 {
        let mut book = lock(&self.book);
        book.forget(self.opened());
        book.used()
    }

    fn opened(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        match self.window {
            // A minute's entry carries the time of its first call: keep it until its last one is a day old.
            Window::Rolling => now - TimeDelta::days(1) - TimeDelta::minutes(1),
            Window::Daily { starts } => {
                let today = now.date_naive().and_time(starts).and_utc();
                if today <= now { today } else { today - TimeDelta::days(1) }
            }
        }
    }

    /// When `units` fit again.
    fn resets_at(&self, book: &Book, units: u64, limit: u64) -> DateTime<Utc> {
        match self.window {
            Window::Daily { .. } => self.opened() + TimeDelta::days(1),
            Window::Rolling => {
                let mut left = book.used();
                let free = book.spent.iter().find(|(_, spent)| {
                    left = left.saturating_sub(*spent);
                    left.saturating_add(units) <= limit
                });
                free.map_or_else(|| self.clock.now(), |(minute, _)| *minute)
                    + TimeDelta::days(1)
                    + TimeDelta::minutes(1)
            }
        }
    }
}

impl BudgetGate for Budget {
    fn reserve(&self, units: u64) -> Result<(), ErrorKind> {
        let (opened, now) = (self.opened(), self.clock.now());
        let mut book = lock(&self.book);
        book.forget(opened);
        let limit = self.limit.unwrap_or(u64::MAX);
        if book.used().saturating_add(units) > limit || book.remaining.is_some_and(|r| r < units) {
            let resets_at = self.resets_at(&book, units, limit);
            return Err(ErrorKind::BudgetExhausted { resets_at: Some(resets_at) });
        }
        book.spend(now, units);
        Ok(())
    }

    fn refund(&self, units: u64) {
        let mut book = lock(&self.book);
        if let Some((_, spent)) = book.spent.back_mut() {
            *spent = spent.saturating_sub(units);
        }
        book.remaining = book.remaining.map(|remaining| remaining.saturating_add(units));
    }

    fn observe_remaining(&self, remaining: u64) {
        let now = self.clock.now();
        let mut book = lock(&self.book);
        book.remaining = Some(remaining);
        book.remaining_at = Some(now);
    }
}

impl Book {
    /// Drops what was spent, and heard, before the window.
    fn forget(&mut self, opened: DateTime<Utc>) {
        while self.spent.front().is_some_and(|(minute, _)| *minute < opened) {
            self.spent.pop_front();
        }
        // A figure an hour old says little: others spend and windows roll.
        let fresh =
            opened.max(self.spent.back().map_or(opened, |(at, _)| *at) - TimeDelta::hours(1));
        if self.remaining_at.is_some_and(|at| at < fresh) {
            self.remaining = None;
        }
    }

    fn used(&self) -> u64 {
        self.spent.iter().map(|(_, units)| units).sum()
    }

    fn spend(&mut self, now: DateTime<Utc>, units: u64) {
        match self.spent.back_mut() {
            Some((minute, spent)) if now - *minute < TimeDelta::minutes(1) => *spent += units,
            Some(_) | None => self.spent.push_back((now, units)),
        }
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(units));
    }
}

/// Calls made and units charged since the start.
#[derive(Debug, Default)]
pub struct Meter {
    calls: AtomicU64,
    units: AtomicU64,
    /// What [`Meter::take`] told already.
    told: Mutex<Cost>,
}

impl Meter {
    pub fn add(&self, units: u64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.units.fetch_add(units, Ordering::Relaxed);
    }

    /// What came since the last call.
    pub fn take(&self) -> Cost {
        let mut told = lock(&self.told);
        let total = self.total();
        let new = Cost { calls: total.calls - told.calls, units: total.units - told.units };
        *told = total;
        new
    }

    pub fn total(&self) -> Cost {
        Cost {
            calls: self.calls.load(Ordering::Relaxed),
            units: self.units.load(Ordering::Relaxed),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that the test moves, and the budget that looks at it.
    fn budget(limit: u64, window: Window) -> (std::sync::Arc<Mutex<DateTime<Utc>>>, Budget) {
        let start = "2026-03-01T10:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let time = std::sync::Arc::new(Mutex::new(start));
        let shown = std::sync::Arc::clone(&time);
        let clock = Clock::new(move || *lock(&shown));
        (time, Budget::new(Some(limit), 100, window, clock))
    }

    #[test]
    fn given_a_rolling_budget_when_a_day_has_passed_then_the_units_come_back_when_told() {
        let (time, budget) = budget(10, Window::Rolling);
        budget.reserve(8).unwrap();

        let refused = budget.reserve(3).unwrap_err();

        let resets_at = "2026-03-02T10:01:00Z".parse().unwrap();
        assert_eq!(refused, ErrorKind::BudgetExhausted { resets_at: Some(resets_at) });
        *lock(&time) = resets_at + TimeDelta::seconds(1);
        assert_eq!(budget.reserve(10), Ok(()));
    }

    #[test]
    fn given_a_daily_budget_when_the_day_turns_then_all_of_it_is_back() {
        let (time, budget) = budget(10, Window::Daily { starts: NaiveTime::MIN });
        budget.reserve(10).unwrap();

        assert!(budget.reserve(1).is_err());

        *lock(&time) = "2026-03-02T00:00:01Z".parse().unwrap();
        assert_eq!((budget.reserve(10), budget.used()), (Ok(()), 10));
    }

    #[test]
    fn given_what_earlier_processes_spent_when_reserving_then_it_counts_until_it_is_a_day_old() {
        let (time, budget) = budget(10, Window::Rolling);
        let budget = budget.after([("2026-03-01T09:59:59Z".parse().unwrap(), 8)]);

        assert!(budget.reserve(3).is_err());

        *lock(&time) = "2026-03-02T10:01:00Z".parse().unwrap();
        assert_eq!(budget.reserve(10), Ok(()));
    }

    #[test]
    fn given_a_meter_when_taken_twice_then_each_attempt_is_told_once() {
        let meter = Meter::default();
        meter.add(3);

        let first = meter.take();
        meter.add(1);

        assert_eq!(first, Cost { calls: 1, units: 3 });
        assert_eq!((meter.take(), meter.take()), (Cost { calls: 1, units: 1 }, Cost::default()));
        assert_eq!(meter.total(), Cost { calls: 2, units: 4 });
    }

    #[test]
    fn given_what_the_side_says_is_left_when_lower_than_our_book_then_it_decides() {
        let (_, budget) = budget(1_000, Window::Rolling);
        budget.observe_remaining(5);

        let outcomes = [budget.reserve(3).is_ok(), budget.reserve(3).is_ok()];

        assert_eq!(outcomes, [true, false]);
        budget.refund(3);
        assert_eq!((budget.reserve(3), budget.used()), (Ok(()), 3));
    }

    #[tokio::test]
    async fn given_a_burst_of_two_when_three_start_then_the_third_waits() {
        let pace = Pace {
            burst: NonZeroU32::new(2).unwrap(),
            per: Duration::from_millis(100),
            concurrency: 9,
            heavy: 1,
        };
        let (pacer, start) =
            (Pacer::new(pace, Clock::new(|| DateTime::UNIX_EPOCH)), tokio::time::Instant::now());

        for _ in 0..3 {
            pacer.admit(Weight::Heavy).await.unwrap();
        }

        assert!(start.elapsed() >= Duration::from_millis(40));
    }
}
