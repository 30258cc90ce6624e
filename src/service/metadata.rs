//! Mapping files and live metadata, brought together into checked entities.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crmsync_core::mapping::{self, Diagnostic, MappingFile, Severity, SideMetadata};
use crmsync_core::model::schema::{ModuleSchema, User};
use crmsync_core::model::{Entity, EntityName, FieldName, ModuleName, Pair, Side};

use super::error::ServiceError;
use crate::connectors::{Connector, ConnectorError};

/// A mapping file as read.
pub struct Source {
    pub path: String,
    pub text: String,
    pub file: MappingFile,
}

/// What compiling a folder of mapping files gave.
pub struct Compiled {
    /// Parents first.
    pub entities: Vec<Entity>,
    /// References written in a second pass always: cycles and self-references.
    pub deferred: Vec<(EntityName, FieldName)>,
    pub warnings: Vec<Diagnostic>,
}

/// Reads the mapping files of a folder, sorted by name.
///
/// # Errors
/// [`ServiceError::Config`] when the folder is missing or empty, [`ServiceError::Mapping`] with all syntax errors.
pub fn read_folder(folder: &Path) -> Result<Vec<Source>, ServiceError> {
    let paths = toml_files(folder)?;
    let (mut sources, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|error| {
            ServiceError::Config(format!("cannot read the mapping file {shown}: {error}"))
        })?;
        match mapping::parse(&shown, &text) {
            Ok(file) => sources.push(Source { path: shown, text, file }),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(sources) } else { Err(ServiceError::Mapping(errors)) }
}

fn toml_files(folder: &Path) -> Result<Vec<PathBuf>, ServiceError> {
    let unreadable = |error: std::io::Error| {
        ServiceError::Config(format!(
            "cannot read the mapping folder {}: {error}; crmsync init writes the shipped mappings",
            folder.display()
        ))
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        let text = format!(
            "no mapping files (*.toml) in {}; `crmsync mapping new` drafts one",
            folder.display()
        );
        return Err(ServiceError::Config(text));
    }
    Ok(paths)
}

/// Live metadata of one side, for the modules that the mapping files name.
pub struct Metadata {
    schemas: BTreeMap<ModuleName, ModuleSchema>,
    users: Vec<User>,
}

impl Metadata {
    /// Describes every module once; an unknown module is left out, and the compiler names it with file and line.
    ///
    /// # Errors
    /// The connector's, when the side does not answer.
    pub async fn load(
        connector: &dyn Connector,
        modules: &BTreeSet<ModuleName>,
    ) -> Result<Self, ConnectorError> {
        let known = connector.modules().await?;
        let mut schemas = BTreeMap::new();
        for module in modules.iter().filter(|module| known.iter().any(|(name, _)| name == *module))
        {
            schemas.insert(module.clone(), connector.describe(module).await?);
        }
        Ok(Self { schemas, users: connector.users().await? })
    }

    pub fn schema(&self, module: &ModuleName) -> Option<&ModuleSchema> {
        self.schemas.get(module)
    }

    pub fn users(&self) -> &[User] {
        &self.users
    }

    fn of<'a>(&'a self, module: &ModuleName, missing: &'a ModuleSchema) -> SideMetadata<'a> {
        SideMetadata { schema: self.schemas.get(module).unwrap_or(missing), users: &self.users }
    }
}

/// Modules that the files name on one side.
pub fn modules(sources: &[Source], side: Side) -> BTreeSet<ModuleName> {
    sources.iter().map(|source| ModuleName::new(source.file.module(side))).collect()
}

/// Checks every file against both sides' metadata and puts the entities in order.
///
/// # Errors
/// [`ServiceError::Mapping`] with the errors of all files.
pub fn compile(sources: &[Source], metadata: &Pair<Metadata>) -> Result<Compiled, ServiceError> {
    let names: BTreeSet<_> = sources.iter().map(|source| source.file.name()).collect();
    let (mut entities, mut warnings, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        let missing = Pair::new(Side::Left, Side::Right).map(|side| ModuleSchema {
            module: ModuleName::new(""),
            label: source.file.module(side).to_string(),
            fields: Vec::new(),
        });
        let sides = Pair::new(Side::Left, Side::Right).map(|side| {
            metadata[side].of(&ModuleName::new(source.file.module(side)), &missing[side])
        });
        match mapping::compile(&source.path, &source.text, &source.file, sides, &names) {
            Ok((entity, found)) => {
                entities.push(entity);
                warnings.extend(found);
            }
            Err(found) => errors.extend(found),
        }
    }
    if errors.iter().any(|error: &Diagnostic| error.severity == Severity::Error) {
        return Err(ServiceError::Mapping(errors));
    }
    let (order, deferred) = mapping::order(&entities);
    let mut slots: Vec<_> = entities.into_iter().map(Some).collect();
    let entities = order.into_iter().filter_map(|at| slots[at].take()).collect();
    Ok(Compiled { entities, deferred, warnings })
}
