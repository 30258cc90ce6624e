//! Faults by script and by seed: what goes wrong, at which call, how often.

use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to one call instead of a clean answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The connection closes before the call has any effect.
    Refused,
    /// The call takes effect, the connection closes without an answer.
    ReplyLost,
    /// The connection closes at once; the call takes effect `after` that.
    LateEffect { after: Duration },
    /// No effect; this status with this JSON (or other) body.
    Answer { status: u16, content_type: &'static str, body: String },
    /// The call takes effect, the caller reads this status with a gateway's HTML page.
    EffectThenStatus { status: u16 },
    /// The call takes effect; the body ends in the middle.
    Truncated,
    /// The call takes effect; the answer comes `by` later.
    Slow { by: Duration },
    /// The call takes effect; the answer is padded to this many bytes of JSON white space.
    Huge { bytes: usize },
    /// Only the first `rows` rows of a multi-row write take effect and only they are answered.
    PartialRows { rows: usize },
    /// All rows take effect; the row statuses are answered without the rows from `kept` on.
    StatusesMissing { kept: usize },
    /// The answer carries no `Date` header.
    NoDate,
    /// Lists and feeds answer as of `by` ago.
    Stale { by: Duration },
}

impl Fault {
    /// 429 as both CRMs send it, with or without `Retry-After`.
    pub fn rate_limited() -> Self {
        Self::Answer {
            status: 429,
            content_type: "application/json",
            body: r#"{"success":false,"code":"TOO_MANY_REQUESTS","details":{},"message":"too many requests","status":"error","error":"Request over limit","errorCode":429}"#.into(),
        }
    }

    /// A gateway's page in HTML.
    pub fn html(status: u16) -> Self {
        Self::Answer {
            status,
            content_type: "text/html",
            body: format!("<html><head><title>{status}</title></head><body>Bad gateway</body></html>"),
        }
    }
}

/// When a scripted fault strikes.
#[derive(Clone, Debug)]
struct Rule {
    /// `METHOD /path/prefix`; `*` as method stands for any, a `*` in the path for one segment.
    pattern: String,
    /// Matching calls to let pass first.
    skip: usize,
    /// How many calls it strikes after that.
    times: usize,
    fault: Fault,
}

/// Seeded random faults on top of the script.
#[derive(Clone, Debug)]
struct Weather {
    state: u64,
    per_mille: u64,
    kinds: Vec<Fault>,
}

/// The faults of one server. Clones share the script.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    rules: Vec<Rule>,
    weather: Option<Weather>,
    struck: usize,
}

impl Faults {
    /// Strikes the next call that matches `pattern`, such as `POST /api/v2/persons`.
    pub fn on_next(&self, pattern: &str, fault: Fault) {
        self.on(pattern, 0, 1, fault);
    }

    /// Strikes `times` matching calls after letting `skip` pass.
    pub fn on(&self, pattern: &str, skip: usize, times: usize, fault: Fault) {
        self.script().rules.push(Rule { pattern: pattern.into(), skip, times, fault });
    }

    /// Strikes about `per_mille` of 1,000 calls with one of `kinds`, decided by `seed` alone.
    pub fn weather(&self, seed: u64, per_mille: u64, kinds: Vec<Fault>) {
        self.script().weather = (!kinds.is_empty()).then_some(Weather { state: seed | 1, per_mille, kinds });
    }

    /// Removes script and weather.
    pub fn clear(&self) {
        *self.script() = Script::default();
    }

    /// Scripted strikes that no call has met yet.
    pub fn unused(&self) -> usize {
        self.script().rules.iter().map(|rule| rule.times).sum()
    }

    /// How many calls were struck so far.
    pub fn struck(&self) -> usize {
        self.script().struck
    }

    /// Decides the fate of a call.
    pub fn strike(&self, method: &str, path: &str) -> Option<Fault> {
        let mut script = self.script();
        let fault = script.scripted(method, path).or_else(|| script.weather.as_mut().and_then(Weather::draw));
        script.struck += usize::from(fault.is_some());
        fault
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Script {
    fn scripted(&mut self, method: &str, path: &str) -> Option<Fault> {
        let rule = self.rules.iter_mut().find(|rule| rule.times > 0 && matches(&rule.pattern, method, path))?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}

impl Weather {
    fn draw(&mut self) -> Option<Fault> {
        let strikes = self.next() % 1_000 < self.per_mille;
        let kind = usize::try_from(self.next() % self.kinds.len() as u64).unwrap_or(0);
        strikes.then(|| self.kinds[kind].clone())
    }

    /// xorshift64*: enough to scatter faults, the same on every machine.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}

fn matches(pattern: &str, method: &str, path: &str) -> bool {
    let (want_method, want_path) = pattern.split_once(' ').unwrap_or(("*", pattern));
    let mut segments = path.trim_matches('/').split('/');
    (want_method == "*" || want_method == method)
        && want_path.trim_matches('/').split('/').filter(|want| !want.is_empty()).all(|want| {
            segments.next().is_some_and(|segment| want == "*" || want == segment)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_rule_with_a_skip_when_called_then_it_strikes_after_it_and_only_as_often_as_told() {
        let faults = Faults::default();

        faults.on("POST /api/v2/persons", 1, 2, Fault::ReplyLost);

        let strikes: Vec<_> = (0..5).map(|_| faults.strike("POST", "/api/v2/persons").is_some()).collect();
        assert_eq!(strikes, [false, true, true, false, false]);
        assert_eq!(faults.unused(), 0);
    }

    #[test]
    fn given_one_seed_when_drawn_twice_then_the_weather_is_the_same() {
        let draw = || {
            let faults = Faults::default();
            faults.weather(7, 300, vec![Fault::Refused, Fault::Truncated]);
            (0..50).map(|_| faults.strike("GET", "/x")).collect::<Vec<_>>()
        };

        assert_eq!(draw(), draw());
        assert!(draw().iter().any(Option::is_some));
    }
}
