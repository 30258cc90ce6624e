//! Lengths of time as people write them: `5m`, `1h`, `1mo`.

use std::time::Duration;

const UNITS: [(&str, u64); 6] =
    [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800), ("mo", 2_592_000)];

/// How long something read may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Not at all.
    Off,
    For(Duration),
    Forever,
}

/// Reads a length of time: a whole number and a unit, `s m h d w mo`. A month is 30 days.
///
/// # Errors
/// A sentence for a person: what is accepted.
pub fn parse_period(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, seconds)| seconds);
    let length = number.parse::<u64>().ok().zip(seconds).and_then(|(n, s)| n.checked_mul(*s));
    length.map(Duration::from_secs).ok_or_else(|| {
        format!("`{text}` is no length of time; write a whole number and s, m, h, d, w or mo")
    })
}

/// Reads `off`, `forever`, or a length of time.
///
/// # Errors
/// As [`parse_period`].
pub fn parse_lifetime(text: &str) -> Result<Lifetime, String> {
    match text {
        "off" => Ok(Lifetime::Off),
        "forever" => Ok(Lifetime::Forever),
        period => parse_period(period)
            .map(Lifetime::For)
            .map_err(|reason| format!("{reason}, or `off`, or `forever`")),
    }
}

/// Writes a length of time in its largest whole unit: 120 s is `2m`.
pub fn show_period(period: Duration) -> String {
    let seconds = period.as_secs();
    let fits = |(_, unit): &&(&str, u64)| seconds >= *unit && seconds.is_multiple_of(*unit);
    let (name, unit) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_written_period_when_parsed_then_it_has_that_many_seconds() {
        let cases = [
            ("0s", Some(0)),
            ("45s", Some(45)),
            ("5m", Some(300)),
            ("1h", Some(3_600)),
            ("1d", Some(86_400)),
            ("2w", Some(1_209_600)),
            ("1mo", Some(2_592_000)),
            ("5 m", Some(300)),
            ("5", None),
            ("m", None),
            ("-5m", None),
            ("5min", None),
            ("1.5h", None),
            ("99999999999999999999s", None),
            ("9999999999999999999w", None),
        ];
        for (text, seconds) in cases {
            let parsed = parse_period(text).ok().map(|period| period.as_secs());

            assert_eq!(parsed, seconds, "{text}");
        }
    }

    #[test]
    fn given_a_period_when_shown_then_it_parses_back() {
        for text in ["0s", "45s", "90s", "5m", "36h", "1d", "1w", "1mo"] {
            let shown = show_period(parse_period(text).expect("a listed period"));

            assert_eq!(shown, text);
        }
    }

    #[test]
    fn given_a_lifetime_when_parsed_then_off_and_forever_are_words() {
        assert_eq!(parse_lifetime("off"), Ok(Lifetime::Off));
        assert_eq!(parse_lifetime("forever"), Ok(Lifetime::Forever));
        assert_eq!(parse_lifetime("1h"), Ok(Lifetime::For(Duration::from_hours(1))));
        assert!(parse_lifetime("never").is_err());
    }
}
