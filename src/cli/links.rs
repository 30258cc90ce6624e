//! `link` and `unlink`: a person says which records are one.

use crmsync_core::model::{EntityName, Op, OpKind, Pair, RecordId, RouteName, Side};

use super::args;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::operations::{self, RunReport};
use super::plan::{known, known_entity, names};
use crate::config::Config;
use crate::service::links::Bound;

pub(super) async fn link(context: &Context, args: &args::Link) -> Result<Exit, Failure> {
    let config = context.config()?;
    let (route, entity) = entity_of(&config, &args.target)?;
    let ends = Pair::new(&args.left, &args.right).map(|id| RecordId::new(id.as_str()));
    let bound = if args.moves { Bound::Moves } else { Bound::Stays };
    let report = operations::link(context, &config, &route, &entity, &ends, bound).await?;
    let names = names(&config, &route);
    let (left, right) = (&names.left, &names.right);
    tell(context, &report, || {
        format!(
            "linked {left} {} with {right} {}; crmsync plan {route} --record {} shows what will be written\n",
            ends.left, ends.right, ends.left
        )
    })
}

pub(super) async fn unlink(context: &Context, args: &args::Unlink) -> Result<Exit, Failure> {
    let config = context.config()?;
    let (route, entity) = entity_of(&config, &args.target)?;
    let id = RecordId::new(args.id.as_str());
    let report = operations::unlink(context, &config, &route, &entity, &id).await?;
    let names = names(&config, &route);
    let ends = report.plan.ops.first().map(ends).unwrap_or_default();
    let end = |side: Side| match &ends[side] {
        Some(id) => format!("{} {id}", names[side]),
        None => format!("no record in {}", names[side]),
    };
    tell(context, &report, || {
        let (left, right) = (end(Side::Left), end(Side::Right));
        format!(
            "unlinked {left} and {right}: neither is synced or linked again by itself; crmsync link {route}/{entity} LEFT RIGHT binds it anew\n"
        )
    })
}

fn ends(op: &Op) -> Pair<Option<RecordId>> {
    match &op.kind {
        OpKind::Relate { ends, .. } => ends.clone(),
        OpKind::Link { ends, .. } => ends.clone().map(Some),
        OpKind::Create { .. }
        | OpKind::Update { .. }
        | OpKind::Delete { .. }
        | OpKind::Archive { .. }
        | OpKind::Agree { .. }
        | OpKind::Revive { .. } => Pair::default(),
    }
}

fn entity_of(config: &Config, target: &args::Target) -> Result<(RouteName, EntityName), Failure> {
    known(config, &target.route)?;
    let Some(entity) = target.entity.clone() else {
        return Err(Failure::config("name the entity too, such as crm/contact"));
    };
    known_entity(config, &target.route, &entity)?;
    Ok((target.route.clone(), entity))
}

fn tell(
    context: &Context,
    report: &RunReport,
    text: impl FnOnce() -> String,
) -> Result<Exit, Failure> {
    context.output.result(report, text)?;
    Ok(Exit::Clean)
}
