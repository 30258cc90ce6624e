//! The conflict report as one HTML file that needs nothing else: readable on a phone, printable, all values escaped.

use askama::Template;
use crmsync_core::model::row::Evidence;
use crmsync_core::model::{Policy, Side};

use super::{Conflict, ConflictReport, Moment, evidence_name, kind_name, plain_name};

#[derive(Template)]
#[template(path = "conflicts.html")]
struct Page<'a> {
    generated_at: String,
    open: usize,
    cards: Vec<Card<'a>>,
}

/// One conflict, laid out.
pub struct Card<'a> {
    pub row: &'a Conflict,
    pub status: &'static str,
    pub kind: &'static str,
    pub field: String,
    pub base: String,
    pub sides: [SideCard; 2],
    pub rule: &'static str,
    pub evidence: &'static str,
    pub first_seen: String,
    /// The beginning of the row's ID, as commands take it.
    pub id: &'a str,
    pub choices: Vec<ChoiceLine>,
}

/// One way to decide a row, and what comes of it.
pub struct ChoiceLine {
    pub outcome: String,
    pub word: String,
}

pub struct SideCard {
    /// `left` or `right`, as decisions call it.
    pub side: Side,
    pub name: String,
    /// What people call the record there.
    pub name_there: String,
    pub value: Vec<Piece>,
    pub id: String,
    pub url: Option<String>,
    /// `2026-01-10 09:15:00 UTC · 2026-01-10 10:15:00 CET`: of the record, and of this very field.
    pub modified: String,
    pub changed: String,
    pub wins: bool,
}

/// A part of a value; `differs` is marked.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub differs: bool,
}

/// Renders the report.
///
/// # Errors
/// When the template cannot be filled, which a test rules out for every kind of row.
pub fn write(report: &ConflictReport) -> Result<String, askama::Error> {
    let page = Page {
        generated_at: report.generated_at.format("%Y-%m-%d %H:%M UTC").to_string(),
        open: report.conflicts.iter().filter(|row| row.status == super::Status::Open).count(),
        cards: report.conflicts.iter().map(card).collect(),
    };
    page.render()
}

/// Lays one conflict out.
pub fn card(row: &Conflict) -> Card<'_> {
    let base = row.shown_base.as_ref().map(|base| {
        if base.left == base.right {
            base.left.clone()
        } else {
            format!("{} | {}", base.left, base.right)
        }
    });
    Card {
        row,
        status: row.status.as_str(),
        kind: kind_name(row.kind),
        field: row
            .field
            .as_ref()
            .map_or_else(|| "whole record".to_owned(), |it| plain_name(it).replace('_', " ")),
        base: base.unwrap_or_default(),
        sides: Side::BOTH.map(|side| side_card(row, side)),
        rule: row.rule.map(Policy::as_str).unwrap_or_default(),
        evidence: row
            .evidence
            .filter(|evidence| *evidence != Evidence::None)
            .map(evidence_name)
            .unwrap_or_default(),
        first_seen: row.first_seen.format("%Y-%m-%d %H:%M UTC").to_string(),
        id: row.row_id.get(..10).unwrap_or(&row.row_id),
        choices: choices(row),
    }
}

/// What a person may choose about an open row, and what comes of it.
fn choices(row: &Conflict) -> Vec<ChoiceLine> {
    let line =
        |outcome: &str, word: &str| ChoiceLine { outcome: outcome.into(), word: word.into() };
    let mut lines = Vec::new();
    for word in row.choices {
        match *word {
            "left" => lines.push(line(&format!("take {}", row.sides.left), word)),
            "right" => lines.push(line(&format!("take {}", row.sides.right), word)),
            "value" => lines.push(line("take another value", "value --value \"…\"")),
            "pin" => lines.push(line("keep both", word)),
            "link" => lines.extend(row.candidates.iter().map(|candidate| {
                let name = candidate.name.as_deref().unwrap_or("record");
                line(
                    &format!("same as {name} #{}", candidate.id),
                    &format!("link:{}", candidate.id),
                )
            })),
            "create" => lines.push(line("a record of its own", word)),
            other => lines.push(line("leave it", other)),
        }
    }
    lines
}

fn side_card(row: &Conflict, side: Side) -> SideCard {
    let (own, other) = (row.shown[side].as_deref(), row.shown[side.other()].as_deref());
    let record = row.records[side].as_ref();
    SideCard {
        side,
        name: row.sides[side].clone(),
        value: pieces(own, other),
        name_there: record.and_then(|record| record.name.clone()).unwrap_or_default(),
        id: record.map(|record| record.id.to_string()).unwrap_or_default(),
        url: record.and_then(|record| record.url.clone()),
        modified: row.modified_at[side].as_ref().map(both_clocks).unwrap_or_default(),
        changed: row.changed_at[side].as_ref().map(both_clocks).unwrap_or_default(),
        wins: row.winner == Some(side),
    }
}

fn both_clocks(moment: &Moment) -> String {
    let utc = moment.utc.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    moment.local.as_ref().map_or_else(|| utc.clone(), |local| format!("{utc} · {local}"))
}

/// Cuts `own` into what it shares with `other` at its start and end, and what differs between them.
fn pieces(own: Option<&str>, other: Option<&str>) -> Vec<Piece> {
    let own: Vec<char> = own.unwrap_or_default().chars().collect();
    let other: Vec<char> = other.unwrap_or_default().chars().collect();
    let shared = own.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let most = own.len().min(other.len()) - shared;
    let ending =
        own.iter().rev().zip(other.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let piece = |chars: &[char], differs| Piece { text: chars.iter().collect(), differs };
    let parts = [
        piece(&own[..shared], false),
        piece(&own[shared..own.len() - ending], true),
        piece(&own[own.len() - ending..], false),
    ];
    parts.into_iter().filter(|part| !part.text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_two_values_when_cut_then_only_what_differs_is_marked() {
        let cases = [
            (
                "other has more",
                "Ada King",
                "Ada Byron King",
                vec![("Ada ", false), ("King", false)],
            ),
            (
                "own has more",
                "Ada Byron King",
                "Ada King",
                vec![("Ada ", false), ("Byron ", true), ("King", false)],
            ),
            ("all", "abc", "xyz", vec![("abc", true)]),
            ("same", "abc", "abc", vec![("abc", false)]),
            ("repeats", "aa", "aaa", vec![("aa", false)]),
            ("empty on the other", "abc", "", vec![("abc", true)]),
        ];
        for (case, own, other, expected) in cases {
            let cut = pieces(Some(own), Some(other));

            let cut: Vec<_> =
                cut.iter().map(|piece| (piece.text.as_str(), piece.differs)).collect();
            assert_eq!(cut, expected, "{case}");
        }
    }
}
