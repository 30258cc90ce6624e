//! Values as a database takes them: pure.

use chrono::{DateTime, Utc};
use crmsync_core::replica::shape::Shape;

use super::super::codec::Cell;

/// A cell for a bound value: flags as numbers, times in UTC without a zone.
pub(super) fn cell(shape: Shape, text: &str) -> Cell {
    match shape {
        Shape::Bool => Cell::Integer(i64::from(text == "true")),
        Shape::Integer => text.parse().map_or_else(|_| Cell::text(text), Cell::Integer),
        Shape::Timestamp => Cell::Text(utc(text)),
        Shape::Number | Shape::Date | Shape::Json | Shape::Text => Cell::text(text),
    }
}

/// `2024-01-31 10:00:00`: what compares as text and what MySQL takes.
fn utc(text: &str) -> String {
    let plain = text.strip_suffix('Z').unwrap_or(text);
    let has_offset = plain.len() > 19 && plain[19..].contains(['+', '-']);
    if !has_offset {
        return plain.replacen('T', " ", 1);
    }
    let spaced = text.replacen(' ', "T", 1);
    DateTime::parse_from_str(&spaced, "%Y-%m-%dT%H:%M:%S%.f%#z")
        .map_or(spaced, |at| at.with_timezone(&Utc).format("%Y-%m-%d %H:%M:%S%.f").to_string())
}

/// Adds a value to a line of `COPY`, text format. Source: PostgreSQL 15, "COPY", "Text Format".
pub(super) fn push_copy(into: &mut Vec<u8>, shape: Shape, text: &str) {
    let bytes = text.as_bytes();
    let is_plain = match shape {
        Shape::Json | Shape::Text => {
            !bytes.iter().any(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r'))
        }
        Shape::Bool | Shape::Integer | Shape::Number | Shape::Date | Shape::Timestamp => true,
    };
    if is_plain {
        into.extend_from_slice(bytes);
        return;
    }
    for byte in bytes {
        match byte {
            b'\\' => into.extend_from_slice(b"\\\\"),
            b'\t' => into.extend_from_slice(b"\\t"),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            other => into.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_times_when_written_without_a_zone_then_they_are_utc() {
        let cases = [
            ("2024-01-31T10:00:00Z", "2024-01-31 10:00:00"),
            ("2024-01-31 10:00:00", "2024-01-31 10:00:00"),
            ("2024-01-31T10:00:00.250Z", "2024-01-31 10:00:00.250"),
            ("2024-01-31T10:00:00+02:00", "2024-01-31 08:00:00"),
            ("2024-01-31T10:00:00-0800", "2024-01-31 18:00:00"),
        ];

        for (text, expected) in cases {
            assert_eq!(utc(text), expected);
        }
    }

    #[test]
    fn given_control_characters_when_copied_then_they_do_not_end_the_value() {
        let mut line = Vec::new();

        push_copy(&mut line, Shape::Text, "a\tb\\c\r\nd");

        assert_eq!(line, b"a\\tb\\\\c\\r\\nd");
    }
}
