//! GET, POST, PATCH and DELETE of single records in v2.

use serde_json::{Value, json};

use super::kind::Kind;
use super::query::Look;
use super::refusal::Refusal;
use super::routes::{Ctx, Outcome};
use super::rules::Loss;
use super::settings::Absence;
use super::state::State;
use super::table::Record;
use crate::host::Reply;

fn gone(kind: Kind) -> Refusal {
    Refusal::new(410, &format!("{} was deleted", kind.title()))
}

impl State {
    /// Whether the caller may use this kind at all.
    pub(super) fn permit(&self, kind: Kind) -> Result<(), Refusal> {
        match self.rules.lost.get(&kind) {
            Some(Loss::Forbidden) => Err(Refusal::forbidden()),
            Some(Loss::Rows) | None => Ok(()),
        }
    }

    /// The record a path names, as far as the caller may see it.
    pub(super) fn named(&self, ctx: &Ctx, kind: Kind, id: i64) -> Result<&Record, Refusal> {
        self.permit(kind)?;
        let record = self
            .record(kind, id)
            .filter(|record| self.sees(ctx.by.user, kind, record, &record.version));
        record.ok_or_else(|| Refusal::not_found(kind.title()))
    }

    /// The record a write names: not merged away and not deleted, unless a switch says otherwise.
    pub(super) fn writable_record(
        &self,
        ctx: &Ctx,
        kind: Kind,
        id: i64,
    ) -> Result<&Record, Refusal> {
        let record = self.named(ctx, kind, id)?;
        if self.rules.locked.contains(&(kind, id)) {
            return Err(Refusal::forbidden());
        }
        let switches = &self.settings.switches;
        let rule = if record.merged_into.is_some() {
            switches.merged_reads
        } else {
            switches.deleted_writes
        };
        match (record.version.deleted, rule) {
            (true, Absence::NotFound) => Err(Refusal::not_found(kind.title())),
            (true, Absence::Gone) => Err(gone(kind)),
            (true, Absence::Shown) | (false, _) => Ok(record),
        }
    }

    pub(super) fn readable_record(
        &self,
        ctx: &Ctx,
        kind: Kind,
        id: i64,
    ) -> Result<&Record, Refusal> {
        let record = self.named(ctx, kind, id)?;
        let switches = &self.settings.switches;
        let rule = if record.merged_into.is_some() {
            switches.merged_reads
        } else {
            switches.deleted_reads
        };
        match (record.version.deleted, rule) {
            // A deleted deal is seen to answer.
            (true, Absence::NotFound) if kind != Kind::Deal || record.merged_into.is_some() => {
                Err(Refusal::not_found(kind.title()))
            }
            (true, Absence::Gone) => Err(gone(kind)),
            _ => Ok(record),
        }
    }

    pub(super) fn single(&self, kind: Kind, id: i64, look: &Look) -> Value {
        let record = self.record(kind, id);
        record.map_or(Value::Null, |record| self.looking(kind, record, &record.version, look))
    }
}

fn body(data: &Value) -> Value {
    json!({ "success": true, "data": data })
}

/// `GET /api/v2/{kind}/{id}`
pub(super) fn get(state: &mut State, ctx: &Ctx) -> Outcome {
    let names: &[&str] = match ctx.kind {
        Kind::Person | Kind::Organization | Kind::Deal => {
            &["include_fields", "custom_fields", "include_option_labels", "include_labels"]
        }
        Kind::Activity => &["include_fields"],
        Kind::Product
        | Kind::Pipeline
        | Kind::Stage
        | Kind::Note
        | Kind::Lead
        | Kind::DealProduct => &[],
    };
    ctx.allow(names)?;
    let look = Look::read(state, ctx)?;
    let record = state.readable_record(ctx, ctx.kind, ctx.id(0)?)?;
    Ok(Reply::json(200, &body(&state.looking(ctx.kind, record, &record.version, &look))))
}

/// `POST /api/v2/{kind}`
pub(super) fn create(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    state.permit(ctx.kind)?;
    if matches!(ctx.kind, Kind::Pipeline | Kind::Stage) {
        ctx.admin(state)?;
    }
    let id = state.create(ctx.kind, &ctx.object()?, &ctx.by, ctx.now)?;
    let created = (ctx.kind == Kind::Product) != state.settings.switches.flip_created;
    let status = if created { 201 } else { 200 };
    Ok(Reply::json(status, &body(&state.single(ctx.kind, id, &Look::default()))).wrote(1))
}

/// `PATCH /api/v2/{kind}/{id}`
pub(super) fn change(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    if matches!(ctx.kind, Kind::Pipeline | Kind::Stage) {
        ctx.admin(state)?;
    }
    let id = state.writable_record(ctx, ctx.kind, ctx.id(0)?)?.id;
    state.change(ctx.kind, id, &ctx.object()?, &ctx.by, ctx.now)?;
    Ok(Reply::json(200, &body(&state.single(ctx.kind, id, &Look::default()))).wrote(1))
}

/// `DELETE /api/v2/{kind}/{id}`
pub(super) fn delete(state: &mut State, ctx: &Ctx) -> Outcome {
    ctx.allow(&[])?;
    if matches!(ctx.kind, Kind::Pipeline | Kind::Stage) {
        ctx.admin(state)?;
    }
    let id = ctx.id(0)?;
    if state.rules.locked.contains(&(ctx.kind, id)) {
        return Err(Refusal::forbidden());
    }
    let answer = json!({ "success": true, "data": { "id": id } });
    if state.named(ctx, ctx.kind, id)?.version.deleted {
        return match state.settings.switches.second_delete {
            Absence::Shown => Ok(Reply::json(200, &answer)),
            Absence::NotFound => Err(Refusal::not_found(ctx.kind.title())),
            Absence::Gone => Ok(Reply::json(410, &answer)),
        };
    }
    state.empty_place(ctx.kind, id, ctx)?;
    state.remove(ctx.kind, id, &ctx.by, ctx.now);
    let status = if state.settings.switches.delete_answers_gone { 410 } else { 200 };
    Ok(Reply::json(status, &answer).wrote(1))
}

impl State {
    /// A stage or pipeline in use stays, or takes its deals with it.
    fn empty_place(&mut self, kind: Kind, id: i64, ctx: &Ctx) -> Result<(), Refusal> {
        let key = match kind {
            Kind::Pipeline => "pipeline_id",
            Kind::Stage => "stage_id",
            Kind::Person
            | Kind::Organization
            | Kind::Deal
            | Kind::Activity
            | Kind::Product
            | Kind::Note
            | Kind::Lead
            | Kind::DealProduct => return Ok(()),
        };
        let deals = self.table(Kind::Deal).rows().values();
        let open = deals.filter(|deal| {
            deal.version.text("status") == "open" && deal.version.int(key) == Some(id)
        });
        let deals: Vec<i64> = open.map(|deal| deal.id).collect();
        if !deals.is_empty() && !self.settings.switches.delete_used_stages {
            return Err(Refusal::new(400, &format!("{} has open deals", kind.title())));
        }
        for deal in deals {
            self.remove(Kind::Deal, deal, &ctx.by, ctx.now);
        }
        Ok(())
    }
}
