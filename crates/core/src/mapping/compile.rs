//! From a mapping file and live metadata to a checked entity.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;

use super::diagnostic::{Diagnostic, Document, Severity, did_you_mean};
use super::file::{FieldFile, Id, KeyFile, MappingFile, in_order};
use super::resolve::{NotFound, resolve};
use super::{check, filter};
use crate::engine::filter::Filter;
use crate::model::mapping::{KeyGroup, Matching};
use crate::model::schema::{FieldSchema, ModuleSchema, User};
use crate::model::{Entity, EntityName, FieldName, FieldRule, Pair, RemoteField, Side};

mod derived;
mod field;
mod settings;
mod tables;

/// What a side says about the module and its people.
#[derive(Clone, Copy, Debug)]
pub struct SideMetadata<'a> {
    pub schema: &'a ModuleSchema,
    pub users: &'a [User],
}

/// A compiled field and what it was compiled from.
pub(super) struct Compiled<'a> {
    pub(super) name: &'a Spanned<String>,
    pub(super) file: &'a FieldFile,
    pub(super) rule: FieldRule,
    pub(super) schemas: Pair<Option<FieldSchema>>,
}

/// Everything that compiling looks at, and the findings so far.
pub(super) struct Compiler<'a> {
    pub(super) document: Document<'a>,
    pub(super) file: &'a MappingFile,
    pub(super) sides: Pair<SideMetadata<'a>>,
    pub(super) entities: &'a BTreeSet<EntityName>,
    pub(super) found: Vec<Diagnostic>,
}

/// Compiles a mapping file against both sides' metadata: names and labels become API names, relations are found
/// from the fields' types, options and users are paired, fingerprints are taken.
///
/// `text` is what `file` was parsed from; `entities` are the names of all entities of the route. With the entity
/// come warnings.
///
/// # Errors
/// All findings, warnings included, when at least one is an error.
pub fn compile(
    path: &str,
    text: &str,
    file: &MappingFile,
    sides: Pair<SideMetadata<'_>>,
    entities: &BTreeSet<EntityName>,
) -> Result<(Entity, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut compiler =
        Compiler { document: Document { path, text }, file, sides, entities, found: Vec::new() };
    let entity = compiler.entity();
    let mut found = compiler.found;
    found.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.severity));
    if found.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(found);
    }
    Ok((entity, found))
}

impl<'a> Compiler<'a> {
    fn entity(&mut self) -> Entity {
        let file = self.file;
        for side in Side::BOTH {
            self.check_module(side);
        }
        let fields: Vec<Compiled<'a>> = in_order(&file.fields)
            .into_iter()
            .filter_map(|(name, field)| self.field(name, field))
            .collect();
        let filters = Pair::new(self.filter(Side::Left), self.filter(Side::Right));
        let matching = self.matching(&fields);
        let groups = self.groups(&fields);
        check::check(self, &fields);
        Entity {
            name: file.name(),
            modules: self.sides.as_ref().map(|side| side.schema.module.clone()),
            direction: file.direction,
            create: file.create,
            conflicts: self.conflicts(),
            deletes: self.deletes(),
            write_mode: file.write_mode,
            merged: file.merged,
            audit_writes: file.audit_writes,
            canaries: Pair::new(&file.left, &file.right)
                .map(|side| side.get_ref().canary.as_ref().map(Id::id)),
            fields: fields.into_iter().map(|field| field.rule).collect(),
            groups,
            scope_fingerprint: scope_fingerprint(file, &filters, &matching),
            filters,
            matching,
        }
    }

    pub(super) fn error(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.found.push(self.document.at(span, Severity::Error, message, help));
    }

    pub(super) fn warn(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.found.push(self.document.at(span, Severity::Warning, message, help));
    }

    fn check_module(&mut self, side: Side) {
        let schema = self.sides[side].schema;
        let name = &self.file.side(side).get_ref().module;
        let known = [schema.module.as_str(), schema.label.as_str()];
        if !known.contains(&name.get_ref().as_str()) {
            let help = did_you_mean(name.get_ref(), known);
            self.error(
                name.span(),
                format!("the {side} side has no module `{}`", name.get_ref()),
                help,
            );
        }
    }

    /// Resolves a name as written; a name that stands for nothing is an error.
    pub(super) fn resolve(&mut self, side: Side, name: &Spanned<String>) -> Option<FieldSchema> {
        match resolve(self.sides[side].schema, name.get_ref()) {
            Ok(field) => Some(field),
            Err(NotFound { message, help, .. }) => {
                self.error(name.span(), message, help);
                None
            }
        }
    }

    fn filter(&mut self, side: Side) -> Option<Filter> {
        let written = self.file.side(side).get_ref().filter.as_ref()?;
        match filter::parse(written.get_ref(), self.sides[side].schema) {
            Ok(filter) => Some(filter),
            Err(error) => {
                let span = self.inside(written, &error.span);
                self.error(span, format!("filter: {}", error.message), error.help);
                None
            }
        }
    }

    /// Returns the place of a part of a string; of the whole string where escapes make that unsure.
    pub(super) fn inside(&self, written: &Spanned<String>, part: &Range<usize>) -> Range<usize> {
        let span = written.span();
        let start = span.start + 1;
        let is_verbatim = self.document.text.get(start..span.end.saturating_sub(1))
            == Some(written.get_ref().as_str());
        if is_verbatim { start + part.start..start + part.end } else { span }
    }

    fn matching(&mut self, fields: &[Compiled<'a>]) -> Matching {
        let file = self.file;
        let external = Side::BOTH
            .map(|side| file.external_id(side).and_then(|name| self.external_id(side, name)));
        let [left, right] = external;
        let keys = file.matching.keys.iter().filter_map(|key| self.key_group(key, fields));
        Matching {
            keys: keys.collect(),
            external_id: (left.is_some() || right.is_some()).then(|| Pair::new(left, right)),
        }
    }

    /// A missing external-ID field is a warning: installing makes it, and plans can be read before.
    fn external_id(&mut self, side: Side, name: &Spanned<String>) -> Option<RemoteField> {
        match resolve(self.sides[side].schema, name.get_ref()) {
            Ok(field) if field.writable_on_create => Some(field.name),
            Ok(field) => {
                self.error(name.span(), format!("external ID `{}` is read-only", field.name), None);
                None
            }
            Err(NotFound { message, help, ambiguous: true }) => {
                self.error(name.span(), message, help);
                None
            }
            Err(NotFound { message, .. }) => {
                let help = "`crmsync connect --install` makes it; without it, a create whose answer is lost waits \
                            for a person";
                self.warn(name.span(), message, Some(help.to_owned()));
                None
            }
        }
    }

    fn key_group(&mut self, key: &KeyFile, fields: &[Compiled<'a>]) -> Option<KeyGroup> {
        let names = key.fields.get_ref();
        if names.is_empty() {
            self.error(key.fields.span(), "a key needs at least one field", None);
        }
        let mut group = Vec::new();
        for name in names {
            let rule = self.known_field(name, fields, "key")?;
            if let Some(reason) = check::not_comparable(&rule.rule) {
                self.error(
                    name.span(),
                    format!("`{}` cannot be a key: {reason}", name.get_ref()),
                    None,
                );
            }
            group.push(rule.rule.name.clone());
        }
        Some(KeyGroup { fields: group, strength: key.strength })
    }

    fn known_field<'f>(
        &mut self,
        name: &Spanned<String>,
        fields: &'f [Compiled<'a>],
        user: &str,
    ) -> Option<&'f Compiled<'a>> {
        let found = fields.iter().find(|field| field.rule.name.as_str() == name.get_ref());
        // A field that is mapped, but in error, has been reported already.
        if found.is_none() && !self.file.fields.contains_key(name.get_ref().as_str()) {
            let known = self.file.fields.keys().map(|key| key.get_ref().as_str());
            let help = did_you_mean(name.get_ref(), known);
            self.error(
                name.span(),
                format!("{user} names `{}`, which is not mapped", name.get_ref()),
                help,
            );
        }
        found
    }

    fn groups(&mut self, fields: &[Compiled<'a>]) -> BTreeMap<String, Vec<FieldName>> {
        let mut groups = BTreeMap::new();
        let mut taken: BTreeMap<FieldName, String> = BTreeMap::new();
        for (group, members) in in_order(&self.file.groups) {
            let mut names = Vec::new();
            let mut directions = BTreeSet::new();
            for member in members {
                let Some(field) = self.known_field(member, fields, "group") else { continue };
                directions.insert(field.rule.direction);
                let name = field.rule.name.clone();
                if let Some(other) = taken.insert(name.clone(), group.get_ref().clone()) {
                    let message =
                        format!("`{name}` is in the groups `{other}` and `{}`", group.get_ref());
                    self.error(member.span(), message, None);
                }
                names.push(name);
            }
            if directions.len() > 1 {
                let message =
                    format!("the fields of group `{}` flow different ways", group.get_ref());
                let help = "a group is written as one unit: give its fields one `direction`";
                self.error(group.span(), message, Some(help.to_owned()));
            }
            groups.insert(group.get_ref().clone(), names);
        }
        groups
    }
}

fn scope_fingerprint(
    file: &MappingFile,
    filters: &Pair<Option<Filter>>,
    matching: &Matching,
) -> String {
    let scope = (file.module(Side::Left), file.module(Side::Right), filters, matching);
    fingerprint(&format!("{scope:?}"))
}

pub(super) fn fingerprint(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests;
