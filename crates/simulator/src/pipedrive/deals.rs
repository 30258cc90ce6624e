//! Deals: where they start, and what follows their status.

use serde_json::{Value, json};

use super::derive::{Body, int, required, text};
use super::kind::Kind;
use super::refusal::Refusal;
use super::state::{Actor, Source, State};
use super::table::Millis;
use super::time;
use super::validate::Input;

impl State {
    pub(super) fn new_deal(
        &self,
        body: &mut Body,
        given: &Input,
        by: &Actor,
        now: Millis,
    ) -> Result<(), Refusal> {
        required(given, "title")?;
        if let Some(limit) = self.settings.limits.open_deals {
            let open = self
                .table(Kind::Deal)
                .rows()
                .values()
                .filter(|deal| deal.version.text("status") == "open");
            if open.count() >= limit {
                let text = "Couldn't add the deal. Open deals limit reached.";
                return Err(Refusal::coded(403, text, "feature_capping_deals_limit"));
            }
        }
        body.insert("creator_user_id".into(), by.user.into());
        body.insert("currency".into(), self.currency_of(by.user).into());
        Self::sign(body, by);
        body.extend(given.body.clone());
        self.place_deal(body, given)?;
        zero_value(body);
        if body["is_archived"] == true && text(body, "archive_time").is_empty() {
            body.insert("archive_time".into(), time::v1(now).into());
        }
        self.close_deal(body, given, "open", now)
    }

    /// Origin of deals and leads.
    pub(super) fn sign(body: &mut Body, by: &Actor) {
        let (origin, id) = match &by.source {
            Source::Web => ("ManuallyCreated", None),
            Source::Token => ("API", None),
            Source::App(client) => ("Marketplace", Some(client.clone())),
        };
        body.insert("origin".into(), origin.into());
        body.insert("origin_id".into(), id.into());
    }

    pub(super) fn currency_of(&self, user: i64) -> String {
        self.user(user)
            .map_or_else(|| self.settings.company.currency.clone(), |user| user.currency.clone())
    }

    /// A given stage wins over a given pipeline; neither means the first stage of the default pipeline.
    fn place_deal(&self, body: &mut Body, given: &Input) -> Result<(), Refusal> {
        if let Some(stage) = int(&given.body, "stage_id").and_then(|id| self.live(Kind::Stage, id))
        {
            body.insert("pipeline_id".into(), stage.version.body["pipeline_id"].clone());
            return Ok(());
        }
        let pipeline = int(body, "pipeline_id").or_else(|| self.first(Kind::Pipeline, |_| true));
        let stage = self.first(Kind::Stage, |stage| stage.version.int("pipeline_id") == pipeline);
        let (Some(pipeline), Some(stage)) = (pipeline, stage) else {
            return Err(Refusal::new(400, "Pipeline has no stages"));
        };
        body.insert("pipeline_id".into(), pipeline.into());
        body.insert("stage_id".into(), stage.into());
        Ok(())
    }

    /// The live record of a kind with the lowest order.
    pub(super) fn first(
        &self,
        kind: Kind,
        fits: impl Fn(&super::table::Record) -> bool,
    ) -> Option<i64> {
        let rows = self.table(kind).rows().values().filter(|row| !row.version.deleted && fits(row));
        rows.min_by_key(|row| (row.version.int("order_nr"), row.id)).map(|row| row.id)
    }

    pub(super) fn change_deal(
        &self,
        body: &mut Body,
        given: &Input,
        by: &Actor,
        now: Millis,
    ) -> Result<(), Refusal> {
        let archived = body["is_archived"] == true;
        let unarchives = given.body.get("is_archived") == Some(&json!(false));
        if archived && !unarchives && by.source != Source::Web {
            return Err(Refusal::new(400, "Archived deals can't be edited"));
        }
        let (status, stage) = (text(body, "status").to_owned(), body["stage_id"].clone());
        body.extend(given.body.clone());
        if given.body.contains_key("stage_id")
            || (given.body.contains_key("pipeline_id") && !self.stage_fits(body))
        {
            self.place_deal(body, given)?;
        }
        if body["stage_id"] != stage {
            body.insert("stage_change_time".into(), time::v2(now).into());
        }
        zero_value(body);
        if given.body.contains_key("value")
            && let Some(value) = int(body, "id").and_then(|id| self.rows_value(id))
        {
            body.insert("value".into(), value);
        }
        if body["is_archived"] == true && text(body, "archive_time").is_empty() {
            body.insert("archive_time".into(), time::v1(now).into());
        }
        if body["is_archived"] == false {
            body.insert("archive_time".into(), Value::Null);
        }
        self.close_deal(body, given, &status, now)
    }

    fn stage_fits(&self, body: &Body) -> bool {
        let stage = int(body, "stage_id").and_then(|id| self.live(Kind::Stage, id));
        stage.is_some_and(|stage| stage.version.int("pipeline_id") == int(body, "pipeline_id"))
    }

    /// Sets and clears the times that follow the status; refuses those that don't fit it.
    fn close_deal(
        &self,
        body: &mut Body,
        given: &Input,
        before: &str,
        now: Millis,
    ) -> Result<(), Refusal> {
        let status = text(body, "status").to_owned();
        for (key, fits) in [("won_time", "won"), ("lost_time", "lost"), ("lost_reason", "lost")] {
            let is_given = given.body.get(key).is_some_and(|value| !value.is_null());
            if is_given && status != fits {
                return Err(Refusal::invalid(
                    key,
                    &format!("Can only be set if deal status is {fits}"),
                ));
            }
        }
        if status == "open" && given.body.get("close_time").is_some_and(|value| !value.is_null()) {
            return Err(Refusal::invalid(
                "close_time",
                "Can only be set if deal status is won or lost",
            ));
        }
        let stamp: Value = time::v2(now).into();
        if status != before {
            for key in ["close_time", "won_time", "lost_time", "lost_reason"] {
                if !given.body.contains_key(key) {
                    body.insert(key.into(), Value::Null);
                }
            }
        }
        if status != "open" {
            for key in ["close_time", if status == "won" { "won_time" } else { "lost_time" }] {
                if body.get(key).is_none_or(Value::is_null) {
                    body.insert(key.into(), stamp.clone());
                }
            }
        }
        let zone = &self.settings.company.time_zone;
        for (time_key, date_key) in [
            ("won_time", "local_won_date"),
            ("lost_time", "local_lost_date"),
            ("close_time", "local_close_date"),
        ] {
            let date =
                time::parse_any(text(body, time_key)).map(|millis| time::local_date(millis, zone));
            body.insert(date_key.into(), date.into());
        }
        Ok(())
    }
}

fn zero_value(body: &mut Body) {
    if body["value"].is_null() {
        body.insert("value".into(), json!(0));
    }
}
