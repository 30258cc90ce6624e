//! What reports show about a route's sides: modules from the mapping files; links and zones where a side answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crmsync_core::mapping;
use crmsync_core::model::{EntityName, ModuleName, Pair, Side};

use super::SideFacts;
use crate::clock::Ambient;
use crate::config::{Config, Route};
use crate::service::connect;
use crate::store::Store;

/// Facts that need no side: names of connections and modules.
pub fn offline(route: &Route) -> Pair<SideFacts> {
    let modules = modules(&route.mappings);
    Pair::new(Side::Left, Side::Right).map(|side| {
        let modules: BTreeMap<EntityName, ModuleName> = modules
            .iter()
            .map(|(entity, modules)| (entity.clone(), modules[side].clone()))
            .collect();
        SideFacts {
            module: Box::new(move |entity| modules.get(entity).cloned()),
            ..SideFacts::unknown(&route.sides[side])
        }
    })
}

/// The same with links into both systems and their accounts' zones; a side that does not answer is left without.
pub async fn online(
    config: &Config,
    store: &Store,
    ambient: &Ambient,
    route: &Route,
) -> Pair<SideFacts> {
    let mut facts = offline(route);
    for side in Side::BOTH {
        let name = &route.sides[side];
        match connect::connector(config, name, store, ambient).await {
            Ok(connector) => {
                match connector.account().await {
                    Ok(account) => facts[side].zone = account.time_zone,
                    Err(error) => tracing::info!("no time zone of {name}: {error}"),
                }
                facts[side].url = Box::new(move |module, id| connector.record_url(module, id));
            }
            Err(error) => tracing::info!("no links into {name}: {error}"),
        }
    }
    facts
}

/// Modules of each entity, as the mapping files name them; files that do not parse are left to `mapping check`.
pub fn modules(folder: &Path) -> BTreeMap<EntityName, Pair<ModuleName>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().extension().is_some_and(|it| it == "toml"));
    let parsed = files.filter_map(|entry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        let file = mapping::parse(&entry.path().display().to_string(), &text).ok()?;
        let module = |side| ModuleName::new(file.module(side));
        Some((file.name(), Pair::new(module(Side::Left), module(Side::Right))))
    });
    parsed.collect()
}
