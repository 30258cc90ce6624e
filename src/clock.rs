//! The world outside, handed in by `main`: time, chance, the wire. Nothing else reads the machine's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

type Now = dyn Fn() -> DateTime<Utc> + Send + Sync;
type Sleep = dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync;

/// Tells the time, and lets it pass. Clones show the same time.
#[derive(Clone)]
pub struct Clock {
    now: Arc<Now>,
    sleep: Arc<Sleep>,
}

impl Clock {
    /// A clock whose pauses last as long as they say.
    pub fn new(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        let sleep = |pause| tokio::time::sleep(pause).boxed();
        Self { now: Arc::new(now), sleep: Arc::new(sleep) }
    }

    /// The same clock, with another way to let time pass: where time is simulated, it need not be waited for.
    #[must_use]
    pub fn sleeping(
        self,
        sleep: impl Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self { sleep: Arc::new(sleep), ..self }
    }

    /// Time now, UTC.
    pub fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }

    /// Waits, with nothing else to do.
    pub async fn sleep(&self, pause: Duration) {
        (self.sleep)(pause).await;
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Makes IDs of runs and intents: unique, ascending.
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn() -> String + Send + Sync>);

impl Ids {
    pub fn new(next: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    pub fn next(&self) -> String {
        (self.0)()
    }
}

/// Carries one call to a side and brings its whole answer.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// # Errors
    /// [`Lost`], which tells a call that never left from one whose answer is missing.
    async fn carry(&self, call: http::Request<Bytes>) -> Result<http::Response<Bytes>, Lost>;
}

/// A call without a whole answer; why, in words without addresses or values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It never left, so it surely had no effect.
    Unsent(String),
    /// It may have had its effect, or may have it later.
    Unanswered(String),
}

/// How calls leave the process.
#[derive(Clone, Default)]
pub enum Wire {
    /// Over sockets of its own.
    #[default]
    Sockets,
    /// By somebody who answers in the sides' place.
    Carried(Arc<dyn Carrier>),
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sockets => "Sockets",
            Self::Carried(_) => "Carried",
        })
    }
}

/// How work on both sides that does not depend on each other is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Together,
    /// One after the other: the same trace for the same history.
    LeftFirst,
    RightFirst,
}

impl Order {
    /// Awaits both.
    ///
    /// # Errors
    /// The first error of either; the other is dropped.
    pub async fn both<L, R, E>(
        self,
        left: impl Future<Output = Result<L, E>>,
        right: impl Future<Output = Result<R, E>>,
    ) -> Result<(L, R), E> {
        // Each stands in three places of this one's frame.
        let (left, right) = (Box::pin(left), Box::pin(right));
        match self {
            Self::Together => tokio::try_join!(left, right),
            Self::LeftFirst => Ok((left.await?, right.await?)),
            Self::RightFirst => {
                let right = right.await?;
                Ok((left.await?, right))
            }
        }
    }

    /// Awaits all to their ends, whatever becomes of the others.
    pub async fn all<T>(self, each: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut each: Vec<_> = each.map(Box::pin).collect();
        match self {
            Self::Together => return join_all(each).await,
            Self::LeftFirst => {}
            Self::RightFirst => each.reverse(),
        }
        let mut all = Vec::with_capacity(each.len());
        for one in each {
            all.push(one.await);
        }
        all
    }
}

/// What a process is given from outside: time, IDs, the wire, and its own name as a lease holder.
#[derive(Clone)]
pub struct Ambient {
    pub clock: Clock,
    pub ids: Ids,
    /// Host and process, shown to whoever finds the lease taken.
    pub holder: String,
    /// Whether a holder is known to be gone: a process of this machine that no longer runs.
    pub is_gone: fn(&str) -> bool,
    pub wire: Wire,
    pub order: Order,
}
