//! A plan for people: counts, field-level diff both ways, conflicts, guards, and what it will cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crmsync_core::engine::report::sentence;
use crmsync_core::model::plan::GuardTrip;
use crmsync_core::model::{Code, EntityName, Op, OpKind, Pair, Plan, RecordId, Side, Value};

use super::render::{Output, counted, printable};
use super::rows_view;
use crate::connectors::Cost;
use crate::service::Labels;

/// Records shown unless `--all` is given.
pub(super) const FIRST: usize = 20;

/// Which records are listed with their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// One write of each kind, for each entity and side; all rows.
    Samples,
    First,
    All,
}

impl Detail {
    /// How many of `all` rows are shown.
    pub(super) fn rows(self, all: usize) -> usize {
        match self {
            Self::First => FIRST.min(all),
            Self::Samples | Self::All => all,
        }
    }

    /// Takes what is shown off `left`, the number of writes that still may be.
    fn writes<'p>(self, ops: Vec<&'p Op>, left: &mut usize) -> Vec<&'p Op> {
        let mut kinds = BTreeSet::new();
        let shown: Vec<_> = match self {
            Self::All => ops,
            Self::First => ops.into_iter().take(*left).collect(),
            Self::Samples => ops.into_iter().filter(|op| kinds.insert(kind(op))).collect(),
        };
        *left = left.saturating_sub(shown.len());
        shown
    }

    /// Where to find what is not shown.
    const fn hint(self) -> &'static str {
        match self {
            Self::Samples => " of the same kinds",
            Self::First | Self::All => "; --all shows them",
        }
    }
}

fn kind(op: &Op) -> (&EntityName, Option<Side>, &'static str) {
    let verb = match &op.kind {
        OpKind::Create { .. } => "create",
        OpKind::Update { .. } => "update",
        OpKind::Delete { .. } => "delete",
        OpKind::Archive { .. } => "archive",
        OpKind::Link { .. } => "link",
        OpKind::Agree { .. } | OpKind::Relate { .. } | OpKind::Revive { .. } => "note",
    };
    (&op.entity, op.writes(), verb)
}

/// What a plan is shown with.
pub(super) struct View<'a> {
    /// Names of the connections.
    pub(super) names: &'a Pair<String>,
    pub(super) labels: &'a Labels,
    pub(super) detail: Detail,
    pub(super) output: &'a Output,
}

/// The whole plan, in the order in which a person decides.
pub(super) fn show(plan: &Plan, view: &View<'_>) -> String {
    let mut text = format!("route {}: {} ⇄ {}\n\n", plan.route, view.names.left, view.names.right);
    text.push_str(&view.counts(plan));
    text.push_str(&view.changes(plan));
    text.push_str(&rows_view::show(&plan.rows, view));
    text.push_str(&view.guards(&plan.guards));
    text
}

/// What something costs, by side.
pub(super) fn cost(what: &str, cost: &Pair<Cost>, names: &Pair<String>) -> String {
    let side = |side: Side| {
        let unit = if cost[side].units == 1 { "unit" } else { "units" };
        let (calls, units) = (counted(cost[side].calls, "call"), cost[side].units);
        format!("{} {calls} ({units} {unit})", names[side])
    };
    format!("{what}: {}, {}\n", side(Side::Left), side(Side::Right))
}

/// Kinds of ops in one row of the table.
#[derive(Clone, Copy, Default)]
struct Counts {
    create: u64,
    update: u64,
    delete: u64,
    archive: u64,
    link: u64,
    note: u64,
    /// Of all these, how many wait for approval.
    waiting: u64,
}

impl Counts {
    fn add(&mut self, op: &Op) {
        match &op.kind {
            OpKind::Create { .. } => self.create += 1,
            OpKind::Update { .. } => self.update += 1,
            OpKind::Delete { .. } => self.delete += 1,
            OpKind::Archive { .. } => self.archive += 1,
            OpKind::Link { .. } => self.link += 1,
            OpKind::Agree { .. } | OpKind::Relate { .. } | OpKind::Revive { .. } => self.note += 1,
        }
    }

    const fn cells(self) -> [u64; 7] {
        [self.create, self.update, self.delete, self.archive, self.link, self.note, self.waiting]
    }
}

const COLUMNS: [&str; 7] =
    ["create", "update", "delete", "archive", "link", "note", "waits for approval"];

impl View<'_> {
    /// What the plan does, and what it would do once approved, by entity and side; columns without a number are left out.
    fn counts(&self, plan: &Plan) -> String {
        let mut table: BTreeMap<(&EntityName, Option<Side>), Counts> = BTreeMap::new();
        for op in plan.all_ops() {
            table.entry((&op.entity, op.writes())).or_default().add(op);
        }
        for op in plan.withheld() {
            table.entry((&op.entity, op.writes())).or_default().waiting += 1;
        }
        if table.is_empty() {
            return "nothing to write: both sides agree\n".to_owned();
        }
        let used: Vec<usize> = (0..COLUMNS.len())
            .filter(|at| table.values().any(|counts| counts.cells()[*at] > 0))
            .collect();
        let number = |number: u64| if number == 0 { "·".to_owned() } else { number.to_string() };
        let rows = table.iter().map(|((entity, side), counts)| {
            let place =
                side.map_or_else(|| "(bookkeeping)".to_owned(), |side| self.names[side].clone());
            let cells = used.iter().map(|at| number(counts.cells()[*at]));
            [entity.to_string(), place].into_iter().chain(cells).collect()
        });
        let header: Vec<_> = ["entity", "written to"]
            .into_iter()
            .chain(used.iter().map(|at| COLUMNS[*at]))
            .collect();
        self.output.table(&header, rows)
    }

    fn changes(&self, plan: &Plan) -> String {
        let written: Vec<_> = plan.ops.iter().filter(|op| op.writes().is_some()).collect();
        let waiting: Vec<_> = plan.withheld().filter(|op| op.writes().is_some()).collect();
        let all = written.len() + waiting.len();
        let (mut left, mut shown) = (FIRST, 0);
        let mut text = String::new();
        for (heading, ops) in [("to be written", written), ("waits for approval", waiting)] {
            let ops = self.detail.writes(ops, &mut left);
            shown += ops.len();
            if !ops.is_empty() {
                let _ = writeln!(text, "\n{heading}:");
            }
            text.extend(ops.iter().map(|op| self.change(op)));
        }
        if shown < all {
            let _ = writeln!(text, "  … and {} more{}", all - shown, self.detail.hint());
        }
        text
    }

    /// A record by its name, with its ID behind; by its ID alone where it has no name.
    pub(super) fn record(&self, entity: &EntityName, side: Side, id: &RecordId) -> String {
        match self.labels.record(entity, side, id) {
            Some(name) => format!("{} (#{id})", one_line_text(name)),
            None => format!("#{id}"),
        }
    }

    fn change(&self, op: &Op) -> String {
        let entity = &op.entity;
        let head = |sign: &str, side: Side, id: &RecordId, note: &str| {
            let record = self.record(entity, side, id);
            format!(
                "  {sign} {entity} in {}: {record}{note}{}\n",
                self.names[side],
                reason(op.code)
            )
        };
        match &op.kind {
            OpKind::Create { side, source, fields, .. } => {
                let from = self.record(entity, side.other(), source);
                let shown = fields.iter().map(|(field, value)| {
                    let value = self.labels.value(entity, field, *side, value);
                    format!("{field}: {}", one_line_text(&value))
                });
                let (into, origin) = (&self.names[*side], &self.names[side.other()]);
                format!("  + {entity} in {into}, from {origin} {from}\n")
                    + &wrapped(shown, self.output.width)
            }
            OpKind::Update { side, id, changes, .. } => {
                let shown = changes.iter().map(|(field, change)| {
                    let value = |it| one_line_text(&self.labels.value(entity, field, *side, it));
                    format!("      {field}: {} → {}\n", value(&change.before), value(&change.after))
                });
                head("~", *side, id, "") + &shown.collect::<String>()
            }
            OpKind::Delete { side, id, .. } => head("-", *side, id, ", deleted"),
            OpKind::Archive { side, id, .. } => head("-", *side, id, ", archived"),
            OpKind::Link { .. }
            | OpKind::Agree { .. }
            | OpKind::Relate { .. }
            | OpKind::Revive { .. } => String::new(),
        }
    }

    fn guards(&self, guards: &[GuardTrip]) -> String {
        let section = |heading: &str, trips: Vec<&GuardTrip>| {
            if trips.is_empty() {
                return String::new();
            }
            let capped = trips.iter().filter(|trip| trip.limit > 0).map(|trip| {
                let (entity, side) = (&trip.entity, &self.names[trip.side]);
                let (count, limit) = (trip.count, trip.limit);
                let what = sentence(trip.code);
                format!("  {entity} in {side}: {what}, {count} where {limit} pass  {}\n", trip.code)
            });
            format!("\n{heading}:\n{}{}", uncapped(&trips), capped.collect::<String>())
        };
        let (held, approved) = guards.iter().partition(|trip| !trip.withheld.is_empty());
        section("held back until a person approves", held) + &section("approved", approved)
    }
}

/// Guards that let nothing pass, a line a kind with all its entities.
fn uncapped(trips: &[&GuardTrip]) -> String {
    let mut kinds: BTreeMap<Code, (BTreeSet<&str>, u64)> = BTreeMap::new();
    for trip in trips.iter().filter(|trip| trip.limit == 0) {
        let (entities, count) = kinds.entry(trip.code).or_default();
        entities.insert(trip.entity.as_str());
        *count += trip.count;
    }
    let line = |(code, (entities, count)): (&Code, &(BTreeSet<&str>, u64))| {
        let entities: Vec<_> = entities.iter().copied().collect();
        let steps = counted(*count, "step");
        format!("  {}: {} ({steps})  {code}\n", sentence(*code), entities.join(", "))
    };
    kinds.iter().map(line).collect()
}

/// Why an op is there, unless its sign says so.
fn reason(code: Code) -> String {
    if matches!(code, Code::Create | Code::WriteLeft | Code::WriteRight) {
        return String::new();
    }
    format!("  [{}]", sentence(code))
}

/// Puts short texts on as few lines as fit, divided by dots.
fn wrapped(parts: impl Iterator<Item = String>, width: usize) -> String {
    const INDENT: &str = "      ";
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 3 + part.chars().count() <= width => {
                line.push_str(" · ");
                line.push_str(&part);
            }
            Some(_) | None => lines.push(format!("{INDENT}{part}")),
        }
    }
    if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
}

/// A value short enough for a line.
pub(super) fn one_line(value: &Value) -> String {
    one_line_text(&value.to_string())
}

/// A text short enough for a line.
pub(super) fn one_line_text(text: &str) -> String {
    const LONGEST: usize = 60;
    let text = printable(text).replace('\n', "⏎");
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use crmsync_core::model::plan::Change;
    use crmsync_core::model::{FieldName, LinkId, RouteName};

    use super::*;
    use crate::config::Paint;

    fn op(code: Code, kind: OpKind) -> Op {
        let (entity, link) = (EntityName::new("contact"), LinkId("l1".to_owned()));
        Op { entity, link, code, kind, later: Vec::new() }
    }

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<FieldName, Value> {
        pairs.iter().map(|(name, value)| (FieldName::new(*name), Value::text(value))).collect()
    }

    fn plan() -> Plan {
        let change = Change {
            before: Value::text("ada@old.example"),
            after: Value::Empty,
            source: Value::Empty,
            halfway: false,
        };
        let create = OpKind::Create {
            side: Side::Right,
            source: RecordId::new("4711"),
            fields: fields(&[("first_name", "Ada"), ("note", "two\nlines and \u{1b}[31mred")]),
            from: BTreeMap::new(),
        };
        let update = OpKind::Update {
            side: Side::Left,
            id: RecordId::new("4712"),
            changes: BTreeMap::from([(FieldName::new("email"), change)]),
            planned_on: None,
        };
        let delete =
            OpKind::Delete { side: Side::Right, id: RecordId::new("9"), expected: BTreeMap::new() };
        let agree = OpKind::Agree { fields: BTreeMap::new(), pinned: false };
        Plan {
            route: RouteName::new("crm"),
            ops: vec![
                op(Code::Create, create),
                op(Code::WriteLeft, update),
                op(Code::Agreed, agree),
            ],
            rows: Vec::new(),
            guards: vec![GuardTrip {
                code: Code::DeleteCap,
                entity: EntityName::new("contact"),
                side: Side::Right,
                count: 12,
                limit: 3,
                withheld: vec![op(Code::DeleteCounterpart, delete)],
            }],
            unchanged: BTreeMap::new(),
            hash: "0123456789abcdef".to_owned(),
        }
    }

    #[test]
    fn given_a_plan_when_shown_then_counts_fields_guards_and_hash_stand_in_that_order() {
        let output =
            Output { json: false, quiet: false, terminal: false, paint: Paint::Plain, width: 100 };
        let names = Pair::new("zoho".to_owned(), "pipedrive".to_owned());
        let labels = Labels::default();
        let view = View { names: &names, labels: &labels, detail: Detail::First, output: &output };

        let shown = show(&plan(), &view);

        insta::assert_snapshot!(shown);
    }

    #[test]
    fn given_a_long_value_when_shown_on_a_line_then_it_is_cut() {
        let shown = one_line(&Value::text(&"x".repeat(200)));

        assert_eq!(shown.chars().count(), 60);
        assert!(shown.ends_with('…'));
    }
}
