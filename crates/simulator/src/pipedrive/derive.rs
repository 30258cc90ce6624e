//! What the server adds to a write: defaults, derived names, times that follow the status, refusals that
//! depend on more than one field.

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::refusal::Refusal;
use super::state::{Actor, Source, State};
use super::table::Millis;
use super::time;
use super::validate::Input;

pub(super) type Body = Map<String, Value>;

pub(super) fn required(given: &Input, key: &str) -> Result<(), Refusal> {
    if given.body.get(key).is_some_and(|value| !value.is_null()) {
        return Ok(());
    }
    Err(Refusal::invalid(key, "Required field is missing"))
}

pub(super) fn int(body: &Body, key: &str) -> Option<i64> {
    body.get(key).and_then(Value::as_i64)
}

pub(super) fn text<'a>(body: &'a Body, key: &str) -> &'a str {
    body.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl State {
    /// Completes a new record's body.
    pub(super) fn derive_new(
        &mut self,
        kind: Kind,
        body: &mut Body,
        given: &Input,
        by: &Actor,
        now: Millis,
    ) -> Result<(), Refusal> {
        let owner = if kind == Kind::Note { "user_id" } else { "owner_id" };
        if body.contains_key(owner) {
            body.insert(owner.into(), by.user.into());
        }
        match kind {
            Kind::Person => Self::new_person(body, given),
            Kind::Organization => {
                required(given, "name")?;
                body.extend(given.body.clone());
                Ok(())
            }
            Kind::Deal => self.new_deal(body, given, by, now),
            Kind::Activity => self.new_activity(body, given, by, now),
            Kind::Product => self.new_product(body, given, by),
            Kind::Pipeline => self.new_pipeline(body, given),
            Kind::Stage => self.new_stage(body, given),
            Kind::Note => self.new_note(body, given),
            Kind::Lead => Self::new_lead(body, given, by),
            Kind::DealProduct => {
                body.extend(given.body.clone());
                Ok(())
            }
        }
    }

    /// Completes a change.
    pub(super) fn derive_change(
        &mut self,
        kind: Kind,
        id: i64,
        body: &mut Body,
        given: &Input,
        by: &Actor,
        now: Millis,
    ) -> Result<(), Refusal> {
        match kind {
            Kind::Person => {
                body.extend(given.body.clone());
                derive_name(body, given)
            }
            Kind::Deal => self.change_deal(body, given, by, now),
            Kind::Activity => {
                self.check_activity_type(given)?;
                body.extend(given.body.clone());
                finish_activity(body, given, now);
                Ok(())
            }
            Kind::Product => {
                body.extend(given.body.clone());
                tag_prices(body, id);
                check_billing(body)
            }
            Kind::Note => {
                let before = body.clone();
                body.extend(given.body.clone());
                if *body != before {
                    body.insert("last_update_user_id".into(), by.user.into());
                }
                check_note(body)
            }
            Kind::Lead => change_lead(body, given, now),
            Kind::DealProduct => {
                body.extend(given.body.clone());
                Self::price_row(body);
                Ok(())
            }
            Kind::Organization | Kind::Pipeline | Kind::Stage => {
                body.extend(given.body.clone());
                Ok(())
            }
        }
    }

    fn new_person(body: &mut Body, given: &Input) -> Result<(), Refusal> {
        let has = |key: &str| !text(&given.body, key).trim().is_empty();
        if !(has("name") || has("first_name") && has("last_name")) {
            return Err(Refusal::invalid("name", "Required field is missing"));
        }
        body.extend(given.body.clone());
        derive_name(body, given)
    }

    fn check_activity_type(&self, given: &Input) -> Result<(), Refusal> {
        let word = text(&given.body, "type");
        let known = self.shelf.activity_types.iter().any(|kind| kind["key_string"] == word);
        if word.is_empty() || known {
            Ok(())
        } else {
            Err(Refusal::invalid("type", "Unknown activity type"))
        }
    }

    fn new_activity(
        &self,
        body: &mut Body,
        given: &Input,
        by: &Actor,
        now: Millis,
    ) -> Result<(), Refusal> {
        if self.settings.switches.refuse_bare_activities {
            required(given, "subject")?;
            required(given, "type")?;
        }
        self.check_activity_type(given)?;
        body.insert("creator_user_id".into(), by.user.into());
        body.extend(given.body.clone());
        if text(body, "type").is_empty() {
            let first = self.shelf.activity_types.iter().find(|kind| kind["active_flag"] == true);
            body.insert(
                "type".into(),
                first.map_or_else(|| json!("task"), |kind| kind["key_string"].clone()),
            );
        }
        if text(body, "subject").is_empty() {
            let named =
                self.shelf.activity_types.iter().find(|kind| kind["key_string"] == body["type"]);
            body.insert("subject".into(), named.map_or(Value::Null, |kind| kind["name"].clone()));
        }
        finish_activity(body, given, now);
        Ok(())
    }

    fn new_product(&mut self, body: &mut Body, given: &Input, by: &Actor) -> Result<(), Refusal> {
        required(given, "name")?;
        body.extend(given.body.clone());
        if !given.body.contains_key("prices") {
            let currency = self.currency_of(by.user);
            body.insert("prices".into(), json!([{ "currency": currency, "price": 0, "cost": 0, "direct_cost": 0, "notes": "" }]));
        }
        let id = self.table(Kind::Product).upcoming_id();
        tag_prices(body, id);
        check_billing(body)
    }

    fn new_pipeline(&self, body: &mut Body, given: &Input) -> Result<(), Refusal> {
        required(given, "name")?;
        let last = self
            .table(Kind::Pipeline)
            .rows()
            .values()
            .filter_map(|row| row.version.int("order_nr"))
            .max();
        body.insert("order_nr".into(), (last.unwrap_or(0) + 1).into());
        body.insert("is_selected".into(), true.into());
        body.extend(given.body.clone());
        Ok(())
    }

    fn new_stage(&self, body: &mut Body, given: &Input) -> Result<(), Refusal> {
        required(given, "name")?;
        required(given, "pipeline_id")?;
        let stages = self.table(Kind::Stage).rows().values();
        let siblings =
            stages.filter(|row| row.version.body["pipeline_id"] == given.body["pipeline_id"]);
        let last = siblings.filter_map(|row| row.version.int("order_nr")).max();
        body.insert("order_nr".into(), (last.unwrap_or(0) + 1).into());
        body.extend(given.body.clone());
        Ok(())
    }

    /// A note of a deal is a note of its person and organization too.
    fn new_note(&self, body: &mut Body, given: &Input) -> Result<(), Refusal> {
        if text(&given.body, "content").is_empty() {
            return Err(Refusal::new(400, "Note content must be given."));
        }
        body.extend(given.body.clone());
        if let Some(deal) = int(body, "deal_id").and_then(|id| self.live(Kind::Deal, id)) {
            for key in ["person_id", "org_id"] {
                if body[key].is_null() {
                    body.insert(key.into(), deal.version.body[key].clone());
                }
            }
        }
        check_note(body)
    }

    fn new_lead(body: &mut Body, given: &Input, by: &Actor) -> Result<(), Refusal> {
        if text(&given.body, "title").is_empty() {
            return Err(Refusal::new(400, "Title must be given."));
        }
        body.insert("creator_id".into(), by.user.into());
        body.insert(
            "source_name".into(),
            if by.source == Source::Web { json!("Manually created") } else { json!("API") },
        );
        body.insert("visible_to".into(), "3".into());
        Self::sign(body, by);
        body.extend(given.body.clone());
        check_lead(body)
    }

    /// Sum of a deal's product row.
    pub(super) fn price_row(body: &mut Body) {
        let number = |key: &str| body.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        let gross = number("item_price") * number("quantity");
        let net = if text(body, "discount_type") == "amount" {
            gross - number("discount")
        } else {
            gross * (1.0 - number("discount") / 100.0)
        };
        let taxed = if text(body, "tax_method") == "exclusive" {
            net * (1.0 + number("tax") / 100.0)
        } else {
            net
        };
        body.insert("sum".into(), super::render::tidy((taxed * 100.0).round() / 100.0));
    }
}

/// Name from its parts, or the parts from the name, split at the first blank.
fn derive_name(body: &mut Body, given: &Input) -> Result<(), Refusal> {
    if given.body.contains_key("first_name") || given.body.contains_key("last_name") {
        let parts = [text(body, "first_name").trim(), text(body, "last_name").trim()];
        let name =
            parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ");
        if name.is_empty() {
            return Err(Refusal::invalid(
                "name",
                "First name and last name must not both be empty",
            ));
        }
        body.insert("name".into(), name.into());
    } else if given.body.contains_key("name") {
        let name = text(body, "name").to_owned();
        let (first, last) =
            name.split_once(' ').map_or((name.as_str(), None), |(first, last)| (first, Some(last)));
        body.insert("first_name".into(), first.into());
        body.insert("last_name".into(), last.into());
    }
    Ok(())
}

/// Person from the primary participant, time of completion from `done`.
fn finish_activity(body: &mut Body, given: &Input, now: Millis) {
    if let Some(participants) = given.body.get("participants").and_then(Value::as_array) {
        let primary = participants.iter().find(|row| row["primary"] == true);
        body.insert(
            "person_id".into(),
            primary.map_or(Value::Null, |row| row["person_id"].clone()),
        );
    } else if let Some(person) = int(&given.body, "person_id") {
        // Only the web UI gets here: the API takes participants.
        body.insert("participants".into(), json!([{ "person_id": person, "primary": true }]));
    }
    let marked = !text(body, "marked_as_done_time").is_empty();
    match (body["done"] == true, marked) {
        (true, false) => body.insert("marked_as_done_time".into(), time::v2(now).into()),
        (false, true) => body.insert("marked_as_done_time".into(), Value::Null),
        _ => None,
    };
}

fn tag_prices(body: &mut Body, product: i64) {
    for row in body.get_mut("prices").and_then(Value::as_array_mut).into_iter().flatten() {
        row["product_id"] = product.into();
    }
}

fn check_billing(body: &Body) -> Result<(), Refusal> {
    let (frequency, cycles) =
        (text(body, "billing_frequency"), int(body, "billing_frequency_cycles"));
    match (frequency, cycles) {
        ("one-time", Some(_)) => {
            Err(Refusal::invalid("billing_frequency_cycles", "Must be null for one-time billing"))
        }
        ("weekly", None) => {
            Err(Refusal::invalid("billing_frequency_cycles", "Required for weekly billing"))
        }
        (_, Some(cycles)) if !(1..=208).contains(&cycles) => {
            Err(Refusal::invalid("billing_frequency_cycles", "Must be between 1 and 208"))
        }
        _ => Ok(()),
    }
}

const NOTE_LINKS: [(&str, &str); 6] = [
    ("lead_id", "pinned_to_lead_flag"),
    ("deal_id", "pinned_to_deal_flag"),
    ("person_id", "pinned_to_person_flag"),
    ("org_id", "pinned_to_organization_flag"),
    ("project_id", "pinned_to_project_flag"),
    ("task_id", "pinned_to_task_flag"),
];

fn check_note(body: &Body) -> Result<(), Refusal> {
    if NOTE_LINKS.iter().all(|(link, _)| body[*link].is_null()) {
        let text = "Note must be associated with at least one organization, person, deal, lead or project.";
        return Err(Refusal::new(400, text));
    }
    let loose = NOTE_LINKS.iter().find(|(link, pin)| body[*pin] == true && body[*link].is_null());
    loose.map_or(Ok(()), |(link, pin)| Err(Refusal::new(400, &format!("{pin} needs {link}"))))
}

fn check_lead(body: &Body) -> Result<(), Refusal> {
    if body["person_id"].is_null() && body["organization_id"].is_null() {
        return Err(Refusal::new(
            400,
            "One of the \"person_id\" or \"organization_id\" must be set.",
        ));
    }
    Ok(())
}

fn change_lead(body: &mut Body, given: &Input, now: Millis) -> Result<(), Refusal> {
    let only_unarchives =
        given.body.keys().all(|key| key == "is_archived") && given.custom.is_empty();
    if body["is_archived"] == true && !only_unarchives {
        return Err(Refusal::new(400, "Archived leads accept only is_archived"));
    }
    body.extend(given.body.clone());
    let archived = if body["is_archived"] == true { time::exact(now).into() } else { Value::Null };
    body.insert("archive_time".into(), archived);
    check_lead(body)
}
