//! A person's decision about a row, as typed on the command line, in a spreadsheet or on a page.

use chrono::{DateTime, Utc};
use crmsync_core::model::row::{Choice, Resolution, RowKind};
use crmsync_core::model::{OpenRow, Value};

use super::csv::parse_choice;
use crate::store::StoredRow;

/// What a person typed.
#[derive(Clone, Copy, Debug)]
pub struct Typed<'a> {
    /// `left`, `right`, `value`, `pin`, `link:ID`, `create` or `ignore`.
    pub choice: &'a str,
    pub value: Option<&'a str>,
    /// Fingerprint of the row as it was shown; a row that changed since then is refused.
    pub shown: Option<&'a str>,
}

/// Makes the decision, unless it does not suit the row, or the row is no longer what was shown.
///
/// # Errors
/// A sentence for a person.
pub fn resolution(
    stored: &StoredRow,
    typed: &Typed<'_>,
    by: &str,
    at: DateTime<Utc>,
) -> Result<Resolution, String> {
    let row = &stored.row;
    if stored.closed_at.is_some() {
        return Err("this row is closed already".into());
    }
    if typed.shown.is_some_and(|shown| shown != row.fingerprint) {
        return Err(
            "the values changed since they were shown; look or export again, and decide anew"
                .into(),
        );
    }
    let samples: Vec<&Value> =
        [row.left.as_ref(), row.base.as_ref().map(|base| &base.left), row.right.as_ref()]
            .into_iter()
            .flatten()
            .collect();
    let choice = parse_choice(typed.choice, typed.value, &samples)?;
    suits(&choice, row)?;
    Ok(Resolution {
        row: row.id.clone(),
        choice,
        fingerprint: row.fingerprint.clone(),
        by: by.to_owned(),
        at,
    })
}

/// Refuses a choice that would do nothing.
fn suits(choice: &Choice, row: &OpenRow) -> Result<(), String> {
    if let (Choice::Link { candidate }, RowKind::Match) = (choice, row.kind)
        && !row.candidates.is_empty()
        && !row.candidates.contains(candidate)
    {
        let known: Vec<_> = row.candidates.iter().map(ToString::to_string).collect();
        return Err(format!("`{candidate}` is no candidate; candidates: {}", known.join(", ")));
    }
    let choices = row.choices();
    if choices.contains(&choice.word()) {
        return Ok(());
    }
    Err(match row.kind {
        RowKind::Quarantine => {
            "a side refused this; correct it there or in the mapping, then crmsync failures retry"
                .into()
        }
        RowKind::Conflict if choices.is_empty() => {
            "nothing is to be decided here; crmsync runs redo or accept ends an undo".into()
        }
        RowKind::Hold if choices.is_empty() => {
            "this waits for evidence, or for another record; crmsync conflicts show tells what for"
                .into()
        }
        RowKind::Match => {
            format!("this row asks which records belong together; write {}", spelled(choices))
        }
        RowKind::Conflict | RowKind::Hold => {
            format!("this row is about a value; write {}", spelled(choices))
        }
    })
}

/// `left, right or pin`.
fn spelled(choices: &[&str]) -> String {
    let words = choices.iter().map(|word| if *word == "link" { "link:ID" } else { word });
    let words: Vec<_> = words.collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
