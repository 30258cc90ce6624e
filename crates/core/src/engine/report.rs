//! What a person reads: sentences for codes, counts and a field-level diff of a plan. Strings only.

use crate::model::Code;

/// One sentence for a person, lower case, without a full stop.
pub const fn sentence(code: Code) -> &'static str {
    match code {
        Code::Confirmed => "both sides are unchanged",
        Code::WriteRight => "left changed, right follows",
        Code::WriteLeft => "right changed, left follows",
        Code::Agreed => "both sides agree",
        Code::Gone => "both records are deleted; the link is closed",
        Code::DeleteEdit => "one side deleted the record, the other edited it",
        Code::DeleteCounterpart => "deleted on one side, so deleted on the other",
        Code::ArchiveCounterpart => "deleted on one side, so archived on the other",
        Code::KeepCounterpart => "deleted on one side; the other keeps its record, synced no more",
        Code::Redirected => "merged into another record; the link follows it",
        Code::Merged => {
            "two linked records were merged into one; what becomes of the other side's second record is for a person"
        }
        Code::Converted => "converted into another kind of record; the link is closed",
        Code::SuspectedMerge => {
            "deleted, but another record now has its key values: perhaps a merge"
        }
        Code::OutOfScope => "the filter no longer matches; kept, not synced",
        Code::Archived => "archived on its side, not to be written",
        Code::Deferred => "waits until the other side is known completely",
        Code::Create => "has no counterpart yet",
        Code::Link => "one match on the other side",
        Code::Suggested => {
            "may be the same as a record on the other side; a weak key alone does not link"
        }
        Code::DupInSide => "its match is linked to another record: a duplicate inside its own side",
        Code::Relink => "re-created after a deletion; its old counterpart takes it back",
        Code::Ambiguous => "several records match each other",
        Code::DanglingId => "its external ID names a record that is gone",
        Code::KeyDisagrees => "external ID and keys name different records; the external ID wins",
        Code::Revived => "was deleted and is back",
        Code::Twin => "a second copy of a record that we made",
        Code::ClonedId => "copied together with its external ID",
        Code::CreateNotAllowed => "has no match, and the mapping creates none",
        Code::Forbidden => "not readable for our user",
        Code::UnconfirmedAbsence => "not seen, which proves no deletion",
        Code::ReadError => "could not be read",
        Code::InDoubt => "a write without an answer is open; frozen until it is settled",
        Code::InDoubtCreate => "a create without an answer cannot be found again",
        Code::Conflict => "both sides changed this since they last agreed",
        Code::SilentDivergence => "neither side changed, yet they do not agree",
        Code::NotReturned => "a side did not return this field",
        Code::Untranslatable => "the value has no partner on the other side",
        Code::LossyBackWrite => "writing this back would lose what only the other side keeps",
        Code::TooLong => "does not fit the other side",
        Code::PendingRef => "refers to a record that is not linked yet",
        Code::UnresolvedRef => "refers to a record without a counterpart",
        Code::ServerRewrite => "the side stored something else than was written",
        Code::ServerDefault => "the side filled this by itself",
        Code::Drift => "changed on the side that does not own it; the owner's value is restored",
        Code::Initial => "both sides differed when they were linked",
        Code::MappingChanged => "the field's mapping changed and both sides differ",
        Code::MetadataDrift => "the field changed on its side: gone, re-typed or shortened",
        Code::Oscillation => "automations keep changing it back",
        Code::MissingRequired => "a required field has no value",
        Code::OverwrittenInWindow => "an edit came between our last look and our write",
        Code::StalePlan => "the target changed after planning",
        Code::Quarantined => "the other side refused this value",
        Code::Locked => "the record is locked on its side",
        Code::UniqueClash => "another record has the same unique value",
        Code::NewId => "deleted on one side, edited on the other; made anew",
        Code::DeleteCap => "too many deletes at once",
        Code::CreateCap => "too many creates at once",
        Code::FirstSync => "the first sync needs approval",
        Code::EmptySide => "a side lists less than half of its linked records",
        Code::MassChange => "one field changed on most records at once",
        Code::ScopeChange => "filter, user or permissions changed since the last run",
        Code::UnstampedChange => "changed without a new modified time",
        Code::ClockStep => "the side's clock stepped back",
        Code::UndoConflict => "edited after the run that was to be undone",
    }
}
