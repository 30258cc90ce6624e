//! Records in the form of v1: recents, merges, notes, leads, and the retired entity calls.
//!
//! Source: recorded answers of the live v1 API, May 2026.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::state::State;
use super::table::{Record, Version};
use super::time;
use super::values::{self, ADDRESS_PARTS};

fn key(version: &Version, key: &str) -> Value {
    version.body.get(key).cloned().unwrap_or_default()
}

/// `[{"value":"","primary":true}]` where there is nothing.
fn contacts(version: &Version, name: &str) -> Value {
    match version.body.get(name).and_then(Value::as_array) {
        Some(items) if !items.is_empty() => items.clone().into(),
        _ => json!([{ "value": "", "primary": true }]),
    }
}

fn label(version: &Version) -> Value {
    let ids = version.body.get("label_ids").and_then(Value::as_array);
    ids.filter(|ids| !ids.is_empty()).map(|ids| values::joined(ids)).into()
}

fn visible_to(version: &Version) -> Value {
    version.int("visible_to").map(|level| level.to_string()).into()
}

fn extend(target: &mut Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        target.extend(more);
    }
}

impl State {
    /// A record's v1 form.
    pub(super) fn v1(&self, kind: Kind, record: &Record, version: &Version) -> Value {
        let mut map = Map::from_iter([("id".to_owned(), Value::from(record.id))]);
        map.insert("add_time".into(), Self::v1_time(version, "add_time"));
        map.insert("update_time".into(), Self::v1_time(version, "update_time"));
        let more = match kind {
            Kind::Person => self.v1_person(record, version),
            Kind::Organization => self.v1_organization(record, version),
            Kind::Deal => self.v1_deal(record, version),
            Kind::Activity => self.v1_activity(version),
            Kind::Product => self.v1_product(version),
            Kind::Pipeline => {
                json!({ "name": key(version, "name"), "order_nr": key(version, "order_nr"), "active": !version.deleted,
                "deal_probability": version.flag("is_deal_probability_enabled"), "selected": true,
                "url_title": version.text("name").replace(' ', "-") })
            }
            Kind::Stage => {
                json!({ "name": key(version, "name"), "order_nr": key(version, "order_nr"), "active_flag": !version.deleted,
                "deal_probability": key(version, "deal_probability"), "pipeline_id": key(version, "pipeline_id"),
                "rotten_flag": key(version, "is_deal_rot_enabled"), "rotten_days": key(version, "days_to_rotten") })
            }
            Kind::Note => return self.note_json(version, self.web().user),
            Kind::Lead => return self.lead_json(version),
            Kind::DealProduct => Value::from(version.body.clone()),
        };
        extend(&mut map, more);
        if kind.has_custom_fields() {
            for field in self.custom_fields(kind) {
                let value = version.custom.get(&field.code).cloned().unwrap_or_default();
                map.extend(values::flat(field, &value));
            }
        }
        map.into()
    }

    /// A user as an object inside a v1 record.
    pub(super) fn v1_user(&self, id: Option<i64>) -> Value {
        let Some(user) = id.and_then(|id| self.user(id)) else { return Value::Null };
        json!({ "id": user.id, "name": user.name, "email": user.email, "has_pic": 0, "pic_hash": null,
            "active_flag": user.active, "value": user.id })
    }

    fn owner_name(&self, version: &Version, name: &str) -> Value {
        version.int(name).and_then(|id| self.user(id)).map(|user| user.name.clone()).into()
    }

    fn name_of(&self, kind: Kind, id: Option<i64>) -> Value {
        let record = id.and_then(|id| self.record(kind, id));
        let name = if kind == Kind::Deal { "title" } else { "name" };
        record.map_or(Value::Null, |record| key(&record.version, name))
    }

    pub(super) fn v1_link(&self, kind: Kind, id: Option<i64>) -> Value {
        let Some(record) = id.and_then(|id| self.record(kind, id)) else { return Value::Null };
        let version = &record.version;
        match kind {
            Kind::Person => {
                json!({ "active_flag": !version.deleted, "name": key(version, "name"), "email": contacts(version, "emails"),
                "phone": contacts(version, "phones"), "owner_id": key(version, "owner_id"), "value": record.id })
            }
            Kind::Organization
            | Kind::Deal
            | Kind::Activity
            | Kind::Product
            | Kind::Pipeline
            | Kind::Stage
            | Kind::Note
            | Kind::Lead
            | Kind::DealProduct => {
                json!({ "name": key(version, "name"), "people_count": 0,
                "owner_id": key(version, "owner_id"), "address": version.body.get("address").map(|address| address["value"].clone()),
                "label_ids": key(version, "label_ids"), "active_flag": !version.deleted, "cc_email": self.bcc(),
                "owner_name": self.owner_name(version, "owner_id"), "value": record.id })
            }
        }
    }

    fn bcc(&self) -> String {
        format!("{}@pipedrivemail.com", self.settings.company.domain)
    }

    /// Counters and activity hints that v1 always carries.
    fn v1_counters(kind: Kind, record: &Record) -> Map<String, Value> {
        let names = super::schema::optional(kind).iter().filter(|name| name.ends_with("_count"));
        // Counting is a scan each: feeds show the cheap ones only, as zero when unknown.
        names
            .map(|name| {
                (
                    (*name).to_owned(),
                    if *name == "followers_count" {
                        record.followers.len().into()
                    } else {
                        0.into()
                    },
                )
            })
            .collect()
    }

    fn v1_common(&self, kind: Kind, record: &Record, version: &Version) -> Value {
        let name = version.text("name");
        let mut map = Self::v1_counters(kind, record);
        extend(
            &mut map,
            json!({
                "company_id": self.settings.company.id, "owner_id": self.v1_user(version.int("owner_id")), "name": name,
                "active_flag": !version.deleted, "first_char": name.chars().next().map(|first| first.to_lowercase().to_string()),
                "delete_time": version.deleted.then(|| Self::v1_time(version, "update_time")), "visible_to": visible_to(version),
                "picture_id": null, "next_activity_date": null, "next_activity_time": null, "next_activity_id": null,
                "last_activity_id": null, "last_activity_date": null, "label": label(version), "label_ids": key(version, "label_ids"),
                "owner_name": self.owner_name(version, "owner_id"), "cc_email": self.bcc(),
            }),
        );
        map.into()
    }

    fn v1_person(&self, record: &Record, version: &Version) -> Value {
        let mut map = Map::new();
        extend(&mut map, self.v1_common(Kind::Person, record, version));
        let emails = contacts(version, "emails");
        extend(
            &mut map,
            json!({
                "first_name": key(version, "first_name"), "last_name": key(version, "last_name"),
                "org_id": self.v1_link(Kind::Organization, version.int("org_id")), "org_name": self.name_of(Kind::Organization, version.int("org_id")),
                "primary_email": emails[0]["value"].as_str().filter(|email| !email.is_empty()), "email": emails,
                "phone": contacts(version, "phones"), "im": contacts(version, "im"), "notes": key(version, "notes"),
                "birthday": key(version, "birthday"), "job_title": key(version, "job_title"), "postal_address": key(version, "postal_address")["value"],
                "last_incoming_mail_time": null, "last_outgoing_mail_time": null,
            }),
        );
        map.into()
    }

    fn v1_organization(&self, record: &Record, version: &Version) -> Value {
        let mut map = Map::new();
        extend(&mut map, self.v1_common(Kind::Organization, record, version));
        let address = key(version, "address");
        map.insert("address".into(), address["value"].clone());
        for part in ADDRESS_PARTS.into_iter().chain(["formatted_address"]) {
            map.insert(format!("address_{part}"), address[part].clone());
        }
        extend(
            &mut map,
            json!({ "address_country_code": null, "country_code": null, "edit_name": true, "website": key(version, "website"),
            "linkedin": key(version, "linkedin"), "industry": key(version, "industry"), "annual_revenue": key(version, "annual_revenue"),
            "employee_count": key(version, "employee_count") }),
        );
        map.into()
    }

    fn v1_deal(&self, record: &Record, version: &Version) -> Value {
        let mut map = Self::v1_counters(Kind::Deal, record);
        for name in [
            "title",
            "value",
            "currency",
            "stage_id",
            "pipeline_id",
            "status",
            "probability",
            "lost_reason",
            "expected_close_date",
            "origin",
            "origin_id",
            "channel",
            "channel_id",
            "is_archived",
            "label_ids",
            "local_won_date",
            "local_lost_date",
            "local_close_date",
            "acv",
            "arr",
            "mrr",
        ] {
            map.insert(name.into(), key(version, name));
        }
        for name in ["stage_change_time", "close_time", "won_time", "lost_time"] {
            map.insert(name.into(), Self::v1_time(version, name));
        }
        let (person, organization) = (version.int("person_id"), version.int("org_id"));
        let stage = version.int("stage_id").and_then(|id| self.record(Kind::Stage, id));
        extend(
            &mut map,
            json!({
                "user_id": self.v1_user(version.int("owner_id")), "creator_user_id": self.v1_user(version.int("creator_user_id")),
                "person_id": self.v1_link(Kind::Person, person), "org_id": self.v1_link(Kind::Organization, organization),
                "person_name": self.name_of(Kind::Person, person), "org_name": self.name_of(Kind::Organization, organization),
                "active": !version.deleted && version.text("status") == "open", "deleted": version.deleted, "label": label(version),
                "visible_to": visible_to(version), "first_won_time": Self::v1_time(version, "won_time"),
                "stage_order_nr": stage.map(|stage| key(&stage.version, "order_nr")),
                "formatted_value": format!("{} {}", key(version, "value"), version.text("currency")), "weighted_value": key(version, "value"),
                "weighted_value_currency": key(version, "currency"), "formatted_weighted_value": format!("{} {}", key(version, "value"), version.text("currency")),
                "rotten_time": null, "owner_name": self.owner_name(version, "owner_id"), "cc_email": format!("{}+deal{}@pipedrivemail.com", self.settings.company.domain, record.id),
                "org_hidden": false, "person_hidden": false, "next_activity_id": null, "next_activity_date": null, "next_activity_time": null,
                "last_activity_id": null, "last_activity_date": null, "sequence_enrollment": null,
            }),
        );
        map.into()
    }

    fn v1_activity(&self, version: &Version) -> Value {
        let short = |name: &str| version.text(name).get(..5).unwrap_or_default().to_owned();
        let rows =
            version.body.get("participants").and_then(Value::as_array).cloned().unwrap_or_default();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| json!({ "person_id": row["person_id"], "primary_flag": row["primary"] }))
            .collect();
        let location = key(version, "location");
        let mut map = Map::new();
        map.insert("location".into(), location["value"].clone());
        for part in ADDRESS_PARTS {
            map.insert(format!("location_{part}"), location[part].clone());
        }
        extend(
            &mut map,
            json!({
                "company_id": self.settings.company.id, "user_id": key(version, "owner_id"), "assigned_to_user_id": key(version, "owner_id"),
                "created_by_user_id": key(version, "creator_user_id"), "update_user_id": null, "done": version.flag("done"), "type": key(version, "type"),
                "subject": key(version, "subject"), "due_date": key(version, "due_date"), "due_time": short("due_time"), "duration": short("duration"),
                "busy_flag": version.flag("busy"), "active_flag": !version.deleted, "marked_as_done_time": time::to_v1(version.text("marked_as_done_time")),
                "note": key(version, "note"), "public_description": key(version, "public_description"), "priority": key(version, "priority"),
                "deal_id": key(version, "deal_id"), "lead_id": key(version, "lead_id"), "person_id": key(version, "person_id"),
                "org_id": key(version, "org_id"), "project_id": key(version, "project_id"), "participants": rows,
                "deal_title": self.name_of(Kind::Deal, version.int("deal_id")), "person_name": self.name_of(Kind::Person, version.int("person_id")),
                "org_name": self.name_of(Kind::Organization, version.int("org_id")), "owner_name": self.owner_name(version, "owner_id"),
                "rec_rule": null, "series": [], "reference_type": null,
            }),
        );
        map.into()
    }

    fn v1_product(&self, version: &Version) -> Value {
        let mut map = Map::new();
        for name in [
            "name",
            "code",
            "description",
            "unit",
            "tax",
            "category",
            "prices",
            "billing_frequency",
            "billing_frequency_cycles",
        ] {
            map.insert(name.into(), key(version, name));
        }
        extend(
            &mut map,
            json!({ "active_flag": !version.deleted, "selectable": version.flag("is_linkable"), "visible_to": visible_to(version),
            "owner_id": self.v1_user(version.int("owner_id")), "first_char": version.text("name").chars().next().map(|first| first.to_lowercase().to_string()) }),
        );
        map.into()
    }

    /// A note as v1 has it; it has no other form.
    pub(super) fn note_json(&self, version: &Version, caller: i64) -> Value {
        let mut note = version.body.clone();
        for name in ["add_time", "update_time"] {
            note.insert(name.into(), Self::v1_time(version, name));
        }
        let link = |kind: Kind, name: &str, shown: &str| {
            let record = version.int(name).and_then(|id| self.record(kind, id));
            record.map_or(Value::Null, |record| json!({ shown: key(&record.version, shown) }))
        };
        let lead =
            self.leads.get(version.text("lead_id")).and_then(|id| self.record(Kind::Lead, *id));
        let author = version.int("user_id").and_then(|id| self.user(id));
        extend(
            &mut note,
            json!({
                "active_flag": !version.deleted, "organization": link(Kind::Organization, "org_id", "name"),
                "person": link(Kind::Person, "person_id", "name"), "deal": link(Kind::Deal, "deal_id", "title"),
                "lead": lead.map(|lead| json!({ "title": key(&lead.version, "title") })),
                "user": author.map(|user| json!({ "email": user.email, "name": user.name, "icon_url": null, "is_you": user.id == caller })),
            }),
        );
        note.into()
    }

    /// A lead as v1 has it: custom fields flat at the root, unset ones absent.
    pub(super) fn lead_json(&self, version: &Version) -> Value {
        let mut lead = version.body.clone();
        lead.insert(
            "cc_email".into(),
            format!(
                "{}+lead{}@pipedrivemail.com",
                self.settings.company.domain,
                version.text("id")
            )
            .into(),
        );
        for field in self.custom_fields(Kind::Lead) {
            if let Some(value) = version.custom.get(&field.code) {
                lead.extend(values::flat(field, value));
            }
        }
        lead.into()
    }
}
