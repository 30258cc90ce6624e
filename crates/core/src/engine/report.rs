//! What a person reads: sentences for codes, counts and a field-level diff of a plan. Strings only; colors are
//! added where the terminal is known.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::model::plan::{Change, GuardTrip};
use crate::model::row::RowKind;
use crate::model::{
    Code, EntityName, FieldName, Op, OpKind, OpenRow, Pair, Plan, RecordId, Side, Value,
};

/// What a plan does to one entity. Withheld ops count like the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes by the side they go to.
    pub writes: Pair<Writes>,
    pub links: u64,
    /// Differences decided by policy, and those that wait for a person.
    pub decided: u64,
    pub conflicts: u64,
    pub holds: u64,
    pub quarantined: u64,
    /// Questions of matching.
    pub matches: u64,
    pub unchanged: u64,
}

/// Remote writes to one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    pub creates: u64,
    pub updates: u64,
    pub archives: u64,
    pub deletes: u64,
}

/// Counts ops and rows by entity.
pub fn count(plan: &Plan) -> BTreeMap<EntityName, Counts> {
    let mut counts: BTreeMap<EntityName, Counts> = BTreeMap::new();
    for (entity, unchanged) in &plan.unchanged {
        counts.entry(entity.clone()).or_default().unchanged += unchanged;
    }
    for op in plan.all_ops() {
        counts.entry(op.entity.clone()).or_default().add_op(op);
    }
    for row in &plan.rows {
        counts.entry(row.entity.clone()).or_default().add_row(row);
    }
    counts
}

impl Counts {
    fn add_op(&mut self, op: &Op) {
        match &op.kind {
            OpKind::Create { side, .. } => self.writes[*side].creates += 1,
            OpKind::Update { side, .. } => self.writes[*side].updates += 1,
            OpKind::Archive { side, .. } => self.writes[*side].archives += 1,
            OpKind::Delete { side, .. } => self.writes[*side].deletes += 1,
            OpKind::Link { .. } => self.links += 1,
            OpKind::Relate { .. } if op.code == Code::Relink => self.links += 1,
            OpKind::Agree { .. } | OpKind::Relate { .. } | OpKind::Revive { .. } => {}
        }
    }

    fn add_row(&mut self, row: &OpenRow) {
        match row.kind {
            RowKind::Conflict if row.is_open() => self.conflicts += 1,
            RowKind::Conflict => self.decided += 1,
            RowKind::Hold => self.holds += 1,
            RowKind::Quarantine => self.quarantined += 1,
            RowKind::Match => self.matches += 1,
        }
    }

    /// One line, such as `create 2 in pipedrive, update 1 in zoho, link 3; 1 in conflict; 120 unchanged`.
    pub fn line(&self, sides: &Pair<String>) -> String {
        let mut doing = Vec::new();
        for side in Side::BOTH {
            let Writes { creates, updates, archives, deletes } = &self.writes[side];
            let verbs = [
                ("create", creates),
                ("update", updates),
                ("archive", archives),
                ("delete", deletes),
            ];
            let some = verbs.into_iter().filter(|(_, count)| **count > 0);
            doing.extend(some.map(|(verb, count)| format!("{verb} {count} in {}", sides[side])));
        }
        doing.extend((self.links > 0).then(|| format!("link {}", self.links)));
        let doing = if doing.is_empty() { "nothing to do".to_owned() } else { doing.join(", ") };
        let waiting = [
            (self.conflicts, "in conflict"),
            (self.decided, "decided by policy"),
            (self.matches, "to be matched by a person"),
            (self.holds, "held"),
            (self.quarantined, "quarantined"),
            (self.unchanged, "unchanged"),
        ];
        let some = waiting.into_iter().filter(|(count, _)| *count > 0);
        let rest = some.map(|(count, what)| format!("{count} {what}"));
        std::iter::once(doing).chain(rest).collect::<Vec<_>>().join("; ")
    }
}

/// A plan as text: counts first, then guards, then each op with its fields, then what waits.
///
/// `sides` are the connections' names; at most `limit` ops and `limit` rows are shown.
pub fn render(plan: &Plan, sides: &Pair<String>, limit: usize) -> String {
    let page = Page { plan, sides, limit };
    page.to_string()
}

struct Page<'a> {
    plan: &'a Plan,
    sides: &'a Pair<String>,
    limit: usize,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Plan {} for route {}", self.plan.hash, self.plan.route)?;
        for (entity, counts) in count(self.plan) {
            writeln!(f, "  {entity}: {}", counts.line(self.sides))?;
        }
        for trip in &self.plan.guards {
            writeln!(f, "{}", self.guard(trip))?;
        }
        self.list(f, &self.plan.ops, |f, op| self.op(f, op))?;
        for trip in &self.plan.guards {
            self.list(f, &trip.withheld, |f, op| self.op(f, op))?;
        }
        self.list(f, &self.plan.rows, |f, row| self.row(f, row))
    }
}

impl Page<'_> {
    fn list<T>(
        &self,
        f: &mut fmt::Formatter<'_>,
        items: &[T],
        show: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
    ) -> fmt::Result {
        if !items.is_empty() {
            writeln!(f)?;
        }
        for item in items.iter().take(self.limit) {
            show(f, item)?;
        }
        match items.len().saturating_sub(self.limit) {
            0 => Ok(()),
            more => writeln!(f, "  … and {more} more"),
        }
    }

    fn guard(&self, trip: &GuardTrip) -> String {
        let what = sentence(trip.code);
        let (count, side) = (trip.count, &self.sides[trip.side]);
        let way = if trip.withheld.is_empty() {
            "approved".to_owned()
        } else {
            format!("withheld; release with --approve {}", self.plan.hash)
        };
        format!("! {} {side}: {count} ops, limit {}: {what}; {way}", trip.entity, trip.limit)
    }

    fn name(&self, side: Side, id: &RecordId) -> String {
        format!("{} #{id}", self.sides[side])
    }

    fn op(&self, f: &mut fmt::Formatter<'_>, op: &Op) -> fmt::Result {
        let (sign, what) = match &op.kind {
            OpKind::Create { side, source, .. } => {
                let from = self.name(side.other(), source);
                ("+", format!("create in {} from {from}", self.sides[*side]))
            }
            OpKind::Update { side, id, .. } => ("~", format!("update {}", self.name(*side, id))),
            OpKind::Delete { side, id, .. } => ("-", format!("delete {}", self.name(*side, id))),
            OpKind::Archive { side, id, .. } => ("-", format!("archive {}", self.name(*side, id))),
            OpKind::Link { ends, .. } => {
                let left = self.name(Side::Left, &ends.left);
                ("=", format!("link {left} with {}", self.name(Side::Right, &ends.right)))
            }
            OpKind::Agree { fields, .. } => ("=", format!("note {} agreeing fields", fields.len())),
            OpKind::Relate { state, .. } => ("=", format!("link {} becomes {state:?}", op.link)),
            OpKind::Revive { side, id } => ("=", format!("revive {}", self.name(*side, id))),
        };
        writeln!(f, "{sign} {} {what}  [{}: {}]", op.entity, op.code, sentence(op.code))?;
        match &op.kind {
            OpKind::Create { fields, .. } => write_fields(f, fields)?,
            OpKind::Update { changes, .. } => write_changes(f, changes)?,
            OpKind::Link { .. }
            | OpKind::Delete { .. }
            | OpKind::Archive { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => {}
        }
        for field in &op.later {
            writeln!(f, "    {field}: later, once its target exists")?;
        }
        Ok(())
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, row: &OpenRow) -> fmt::Result {
        let mut who = String::new();
        for side in Side::BOTH {
            if let Some(id) = &row.records[side] {
                write!(who, " {}", self.name(side, id))?;
            }
        }
        let field = row.field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
        let sign = if row.is_open() { "?" } else { "·" };
        writeln!(f, "{sign} {}{who}{field}  [{}: {}]", row.entity, row.code, row.message)?;
        let (Some(left), Some(right)) = (&row.left, &row.right) else { return Ok(()) };
        let values = format!("{}: {left}, {}: {right}", self.sides.left, self.sides.right);
        match &row.base {
            Some(base) if base.left == base.right => {
                writeln!(f, "    {values}, before: {}", base.left)
            }
            Some(base) => writeln!(f, "    {values}, before: {} / {}", base.left, base.right),
            None => writeln!(f, "    {values}"),
        }
    }
}

fn write_fields(f: &mut fmt::Formatter<'_>, fields: &BTreeMap<FieldName, Value>) -> fmt::Result {
    fields.iter().try_for_each(|(name, value)| writeln!(f, "    {name}: {value}"))
}

fn write_changes(f: &mut fmt::Formatter<'_>, changes: &BTreeMap<FieldName, Change>) -> fmt::Result {
    changes.iter().try_for_each(|(name, change)| {
        writeln!(f, "    {name}: {} → {}", change.before, change.after)
    })
}

/// What people call a record: a person's names, else a name or title, else an e-mail, else its first text.
///
/// `None` for a record without any text.
pub fn label(fields: &BTreeMap<FieldName, Value>) -> Option<String> {
    const NAMES: [&str; 6] = ["name", "full_name", "title", "subject", "code", "email"];
    let text = |name: &str| match fields.get(name)? {
        Value::Text(text) => Some(text.as_str()),
        Value::List(texts) => texts.first().map(String::as_str),
        Value::Empty
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::Reference(_)
        | Value::Link(_) => None,
    };
    let person: Vec<_> = ["first_name", "last_name"].into_iter().filter_map(text).collect();
    if !person.is_empty() {
        return Some(person.join(" "));
    }
    let named = NAMES.into_iter().find_map(text);
    named.or_else(|| fields.keys().find_map(|name| text(name.as_str()))).map(str::to_owned)
}

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
        Code::OutOfScope => "archived, or the filter no longer matches; kept, not synced",
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
        Code::Unlinked => "a person said that these are two; neither is linked again by itself",
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
        Code::Initial => "filled in or settled when both were linked",
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
        Code::Undo => "takes back what a run wrote",
        Code::UndoConflict => "edited after the run that was to be undone",
    }
}
