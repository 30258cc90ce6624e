//! Records as v2 entities.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::query::Look;
use super::routes::Ctx;
use super::state::State;
use super::table::{Millis, Record, Version};
use super::time;

/// A number without a fraction it doesn't need.
pub(super) fn tidy(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        format!("{number:.0}").parse::<i64>().unwrap_or(0).into()
    } else {
        number.into()
    }
}

impl State {
    /// The v2 entity of a version.
    pub(super) fn entity(&self, kind: Kind, version: &Version) -> Map<String, Value> {
        let mut entity = version.body.clone();
        if kind == Kind::Activity {
            entity.remove("attendees");
        }
        if kind.has_custom_fields() {
            entity.insert("custom_fields".into(), self.custom_json(kind, version, None));
        }
        entity
    }

    /// All custom fields, unset ones null; null when the company has none of this kind.
    pub(super) fn custom_json(
        &self,
        kind: Kind,
        version: &Version,
        only: Option<&[String]>,
    ) -> Value {
        if self.custom_fields(kind).next().is_none() {
            return Value::Null;
        }
        let wanted = |code: &String| only.is_none_or(|codes| codes.contains(code));
        let fields = self.custom_fields(kind).filter(|field| wanted(&field.code));
        fields
            .map(|field| {
                (field.code.clone(), version.custom.get(&field.code).cloned().unwrap_or_default())
            })
            .collect::<Map<_, _>>()
            .into()
    }

    /// Appends a row of a list; plain rows are rendered once per version.
    pub(super) fn render_into(
        &mut self,
        body: &mut String,
        ctx: &Ctx,
        now: Millis,
        id: i64,
        look: &Look,
    ) {
        let Some(record) = self.record(ctx.kind, id) else { return };
        let present = ctx.as_of.is_none() && record.hidden_until.is_none_or(|until| until <= now);
        if !present || *look != Look::default() {
            if let Some(version) = record.shown(now, ctx.as_of) {
                // A String takes every write.
                let _ = write!(body, "{}", self.looking(ctx.kind, record, version, look));
            }
            return;
        }
        if let Some((_, text)) = record.rendered.as_ref().filter(|(epoch, _)| *epoch == self.epoch)
        {
            body.push_str(text);
            return;
        }
        let text = Value::from(self.entity(ctx.kind, &record.version)).to_string();
        body.push_str(&text);
        let epoch = self.epoch;
        if let Some(record) = self.table_mut(ctx.kind).get_mut(id) {
            record.rendered = Some((epoch, text));
        }
    }

    /// The v2 entity with what the caller asked for on top.
    pub(super) fn looking(
        &self,
        kind: Kind,
        record: &Record,
        version: &Version,
        look: &Look,
    ) -> Value {
        let mut entity = self.entity(kind, version);
        if let Some(codes) = look.custom.as_deref() {
            entity.insert("custom_fields".into(), self.custom_json(kind, version, Some(codes)));
        }
        for name in &look.include {
            entity.insert(name.clone(), self.optional(kind, record, name));
        }
        if look.option_labels {
            self.name_options(kind, &mut entity);
        }
        if look.labels {
            let ids = version
                .body
                .get("label_ids")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let labels: Vec<_> =
                ids.iter().map(|id| self.option_json(kind, "label_ids", id)).collect();
            entity.insert("labels".into(), labels.into());
        }
        entity.into()
    }

    fn option_json(&self, kind: Kind, code: &str, id: &Value) -> Value {
        let field = self.fields_of(kind).iter().find(|field| field.code == code);
        let choice =
            field.and_then(|field| field.options.iter().flatten().find(|choice| choice.id == *id));
        json!({ "id": id, "label": choice.map(|choice| &choice.label) })
    }

    fn name_options(&self, kind: Kind, entity: &mut Map<String, Value>) {
        let Some(custom) = entity.get_mut("custom_fields").and_then(Value::as_object_mut) else {
            return;
        };
        for (code, value) in custom {
            let is_option = self
                .custom_field(kind, code)
                .is_some_and(|field| matches!(field.value_type.as_str(), "enum" | "set"));
            if !is_option || value.is_null() {
                continue;
            }
            *value = match value.as_array() {
                Some(ids) => ids.iter().map(|id| self.option_json(kind, code, id)).collect(),
                None => self.option_json(kind, code, value),
            };
        }
    }

    /// A field that only `include_fields` brings.
    pub(super) fn optional(&self, kind: Kind, record: &Record, name: &str) -> Value {
        let link = kind.link().unwrap_or("deal_id");
        let of = |child: Kind, fits: &dyn Fn(&Version) -> bool| {
            let rows = self.table(child).rows().values().filter(|row| !row.version.deleted);
            Value::from(
                rows.filter(|row| row.version.int(link) == Some(record.id) && fits(&row.version))
                    .count(),
            )
        };
        match name {
            "attendees" => {
                record.version.body.get("attendees").cloned().unwrap_or_else(|| json!([]))
            }
            "followers_count" => record.followers.len().into(),
            "notes_count" => of(Kind::Note, &|_| true),
            "people_count" => of(Kind::Person, &|_| true),
            "products_count" => of(Kind::DealProduct, &|_| true),
            "files_count" => self.files_on(link, record.id).into(),
            "participants_count" => self.participants_of(record.id).into(),
            "activities_count" => of(Kind::Activity, &|_| true),
            "done_activities_count" => of(Kind::Activity, &|row| row.flag("done")),
            "undone_activities_count" => of(Kind::Activity, &|row| !row.flag("done")),
            "open_deals_count" => of(Kind::Deal, &|row| row.text("status") == "open"),
            "won_deals_count" => of(Kind::Deal, &|row| row.text("status") == "won"),
            "lost_deals_count" => of(Kind::Deal, &|row| row.text("status") == "lost"),
            "closed_deals_count" => of(Kind::Deal, &|row| row.text("status") != "open"),
            "first_won_time" => record.version.body.get("won_time").cloned().unwrap_or_default(),
            "next_activity_id" => self.activity(link, record.id, false),
            "last_activity_id" => self.activity(link, record.id, true),
            "smart_bcc_email" => {
                format!("{}@pipedrivemail.com", self.settings.company.domain).into()
            }
            count if count.ends_with("_count") => 0.into(),
            _ => Value::Null,
        }
    }

    fn activity(&self, link: &str, id: i64, done: bool) -> Value {
        let rows = self.table(Kind::Activity).rows().values().filter(|row| !row.version.deleted);
        let ours = rows
            .filter(|row| row.version.int(link) == Some(id) && row.version.flag("done") == done);
        let dated = |row: &&Record| (row.version.text("due_date").to_owned(), row.id);
        let found = if done { ours.max_by_key(dated) } else { ours.min_by_key(dated) };
        found.map(|row| row.id).into()
    }

    /// A v1 timestamp of a version's own times, null when it has none.
    pub(super) fn v1_time(version: &Version, key: &str) -> Value {
        let text = version.text(key);
        if text.is_empty() { Value::Null } else { time::to_v1(text).into() }
    }
}
