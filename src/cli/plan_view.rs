//! A plan for people: counts, field-level diff both ways, conflicts, guards, and what it will cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crmsync_core::model::plan::GuardTrip;
use crmsync_core::model::{EntityName, FieldName, Op, OpKind, Pair, Plan, Side, Value};

use super::render::{Output, counted, printable};
use crate::connectors::Cost;

/// Records shown unless `--all` is given.
pub(super) const FIRST: usize = 20;

/// Which records are listed with their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    First,
    All,
}

/// The whole plan, in the order in which a person decides.
pub(super) fn show(plan: &Plan, names: &Pair<String>, detail: Detail, output: &Output) -> String {
    let mut text = format!("route {}: {} ⇄ {}\n\n", plan.route, names.left, names.right);
    text.push_str(&counts(plan, names, output));
    text.push_str(&changes(plan, names, detail));
    text.push_str(&rows(plan));
    text.push_str(&guards(&plan.guards, names));
    let _ = writeln!(text, "\nplan {}", plan.hash);
    text
}

/// Price of applying, by side.
pub(super) fn cost(cost: &Pair<Cost>, names: &Pair<String>) -> String {
    let side = |side: Side| {
        format!(
            "{} {} ({} units)",
            names[side],
            counted(cost[side].calls, "call"),
            cost[side].units
        )
    };
    format!("cost: {}, {}\n", side(Side::Left), side(Side::Right))
}

#[derive(Clone, Copy, Default)]
struct Counts {
    create: u64,
    update: u64,
    delete: u64,
    archive: u64,
    link: u64,
    other: u64,
}

fn counts(plan: &Plan, names: &Pair<String>, output: &Output) -> String {
    let mut table: BTreeMap<(&EntityName, Option<Side>), Counts> = BTreeMap::new();
    for op in &plan.ops {
        let counts = table.entry((&op.entity, op.writes())).or_default();
        match &op.kind {
            OpKind::Create { .. } => counts.create += 1,
            OpKind::Update { .. } => counts.update += 1,
            OpKind::Delete { .. } => counts.delete += 1,
            OpKind::Archive { .. } => counts.archive += 1,
            OpKind::Link { .. } => counts.link += 1,
            OpKind::Agree { .. } | OpKind::Relate { .. } | OpKind::Revive { .. } => {
                counts.other += 1;
            }
        }
    }
    if table.is_empty() {
        return "nothing to write\n".to_owned();
    }
    let number = |number: u64| if number == 0 { "·".to_owned() } else { number.to_string() };
    let rows = table.iter().map(|((entity, side), counts)| {
        vec![
            entity.to_string(),
            side.map_or_else(|| "(here)".to_owned(), |side| names[side].clone()),
            number(counts.create),
            number(counts.update),
            number(counts.delete),
            number(counts.archive),
            number(counts.link),
            number(counts.other),
        ]
    });
    let header = ["entity", "writes to", "create", "update", "delete", "archive", "link", "note"];
    output.table(&header, rows)
}

fn changes(plan: &Plan, names: &Pair<String>, detail: Detail) -> String {
    let writes: Vec<_> = plan.ops.iter().filter(|op| op.writes().is_some()).collect();
    let shown = match detail {
        Detail::First => FIRST.min(writes.len()),
        Detail::All => writes.len(),
    };
    let mut text = String::new();
    for op in &writes[..shown] {
        text.push_str(&change(op, names));
    }
    if shown < writes.len() {
        let _ = writeln!(text, "\n… and {} more; --all shows them", writes.len() - shown);
    }
    text
}

fn change(op: &Op, names: &Pair<String>) -> String {
    let head = |verb: &str, side: Side, id: &str| {
        format!("\n{verb} {} in {}{id}  {}\n", op.entity, names[side], op.code)
    };
    match &op.kind {
        OpKind::Create { side, source, fields, .. } => {
            let from = format!(", from {} #{source}", names[side.other()]);
            head("+", *side, &from)
                + &lines(fields.iter().map(|(field, value)| (field, None, value)))
        }
        OpKind::Update { side, id, changes, .. } => {
            let changed = changes.iter().map(|(field, it)| (field, Some(&it.before), &it.after));
            head("~", *side, &format!(" #{id}")) + &lines(changed)
        }
        OpKind::Delete { side, id, .. } => head("-", *side, &format!(" #{id}")),
        OpKind::Archive { side, id, .. } => head("-", *side, &format!(" #{id}, archived")),
        OpKind::Link { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => String::new(),
    }
}

/// One line a field: `email: ada@old → ada@new`.
fn lines<'p>(
    fields: impl Iterator<Item = (&'p FieldName, Option<&'p Value>, &'p Value)>,
) -> String {
    let line = |(field, before, after): (&FieldName, Option<&Value>, &Value)| {
        let after = one_line(after);
        match before {
            Some(before) => format!("    {field}: {} → {after}\n", one_line(before)),
            None => format!("    {field}: {after}\n"),
        }
    };
    fields.map(line).collect()
}

/// A value short enough for a line.
pub(super) fn one_line(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = printable(&value.to_string()).replace('\n', "⏎");
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn rows(plan: &Plan) -> String {
    let open = plan.rows.iter().filter(|row| row.is_open()).count();
    let decided = plan.rows.len() - open;
    if plan.rows.is_empty() {
        return String::new();
    }
    let mut by_code: BTreeMap<_, u64> = BTreeMap::new();
    for row in &plan.rows {
        *by_code.entry(row.code.as_str()).or_default() += 1;
    }
    let codes: Vec<_> = by_code.iter().map(|(code, count)| format!("{code} {count}")).collect();
    format!("\n{open} open, {decided} decided by policy: {}\n", codes.join(", "))
}

fn guards(guards: &[GuardTrip], names: &Pair<String>) -> String {
    if guards.is_empty() {
        return String::new();
    }
    let line = |trip: &GuardTrip| {
        format!(
            "  {} {} in {}: {} planned, {} allowed without consent\n",
            trip.code, trip.entity, names[trip.side], trip.count, trip.limit
        )
    };
    let list: String = guards.iter().map(line).collect();
    format!("\nheld back until a person approves:\n{list}")
}

#[cfg(test)]
mod tests {
    use crmsync_core::model::plan::Change;
    use crmsync_core::model::{Code, LinkId, RecordId, RouteName};

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

        let shown = show(&plan(), &names, Detail::First, &output);

        insta::assert_snapshot!(shown);
    }

    #[test]
    fn given_a_long_value_when_shown_on_a_line_then_it_is_cut() {
        let shown = one_line(&Value::text(&"x".repeat(200)));

        assert_eq!(shown.chars().count(), 60);
        assert!(shown.ends_with('…'));
    }
}
