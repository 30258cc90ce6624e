//! What applying a plan will cost, from the connectors' price lists.

use std::collections::BTreeMap;

use crmsync_core::model::mapping::WriteMode;
use crmsync_core::model::{EntityName, ModuleName, Op, OpKind, Pair, Plan, Side};

use super::run::{OpenRoute, RunSettings};
use crate::connectors::{Capabilities, Connector, Cost, Operation};

#[derive(Clone, Copy, Default)]
struct Writes {
    creates: usize,
    updates: usize,
    deletes: usize,
}

/// Cost of every write of `plan`, withheld ones too, with the reads before and after them.
pub fn forecast(route: &OpenRoute, settings: &RunSettings, plan: &Plan) -> Pair<Cost> {
    let mut writes: BTreeMap<(EntityName, Side), Writes> = BTreeMap::new();
    for op in plan.all_ops() {
        count(&mut writes, op);
    }
    let mut cost = Pair::<Cost>::default();
    for ((entity, side), writes) in writes {
        let Some(entity) = route.entities.iter().find(|known| known.name == entity) else {
            continue;
        };
        let connector = route.connectors[side].as_ref();
        let capabilities = connector.capabilities(&entity.modules[side]);
        let conditional = capabilities.conditional_update
            && match entity.write_mode {
                WriteMode::Conditional => true,
                WriteMode::Batch => false,
                WriteMode::Auto => writes.updates <= settings.conditional_up_to,
            };
        add(
            &mut cost[side],
            of_writes(
                &Prices { connector, module: &entity.modules[side] },
                &capabilities,
                writes,
                conditional,
            ),
        );
    }
    cost
}

fn count(writes: &mut BTreeMap<(EntityName, Side), Writes>, op: &Op) {
    let Some(side) = op.writes() else { return };
    let entry = writes.entry((op.entity.clone(), side)).or_default();
    match &op.kind {
        OpKind::Create { .. } => entry.creates += 1,
        OpKind::Update { .. } | OpKind::Archive { .. } => entry.updates += 1,
        OpKind::Delete { .. } => entry.deletes += 1,
        OpKind::Link { .. }
        | OpKind::Agree { .. }
        | OpKind::Relate { .. }
        | OpKind::Revive { .. } => {}
    }
}

/// What operations on one module cost.
struct Prices<'a> {
    connector: &'a dyn Connector,
    module: &'a ModuleName,
}

fn of_writes(
    prices: &Prices<'_>,
    capabilities: &Capabilities,
    writes: Writes,
    conditional: bool,
) -> Cost {
    let mut cost = Cost::default();
    let update_batch = if conditional { 1 } else { capabilities.update_batch };
    add(&mut cost, batches(prices, Operation::Create, writes.creates, capabilities.create_batch));
    add(&mut cost, batches(prices, Operation::Update, writes.updates, update_batch));
    add(&mut cost, batches(prices, Operation::Delete, writes.deletes, capabilities.delete_batch));
    let reread = writes.updates + writes.deletes;
    add(&mut cost, batches(prices, Operation::Fetch, reread, capabilities.fetch_batch));
    if !capabilities.writes_return_record {
        add(&mut cost, batches(prices, Operation::Fetch, writes.creates, capabilities.fetch_batch));
        add(&mut cost, batches(prices, Operation::Fetch, writes.updates, capabilities.fetch_batch));
    }
    cost
}

fn batches(prices: &Prices<'_>, operation: Operation, rows: usize, batch: usize) -> Cost {
    let batch = batch.max(1);
    let (full, rest) = ((rows / batch) as u64, rows % batch);
    let price = prices.connector.price_for(prices.module, operation, batch);
    let mut cost = Cost { calls: price.calls * full, units: price.units * full };
    if rest > 0 {
        add(&mut cost, prices.connector.price_for(prices.module, operation, rest));
    }
    cost
}

const fn add(total: &mut Cost, more: Cost) {
    total.calls += more.calls;
    total.units += more.units;
}
