//! What a mapping as a whole must satisfy, beyond each field by itself.

use std::collections::BTreeMap;

use super::compile::{Compiled, Compiler};
use super::resolve::shown;
use crate::model::schema::FieldKind;
use crate::model::{FieldRule, Relation, RemoteField, Side};

/// Says why a field cannot be a key; `None` when it can.
pub(super) fn not_comparable(rule: &FieldRule) -> Option<&'static str> {
    match &rule.relation {
        _ if rule.derived.is_some() => Some("no side stores it on both ends"),
        Relation::RichText { .. } => Some("formatted text is not compared"),
        Relation::OptionSet { .. } => Some("sets overlap, they are not equal"),
        Relation::Text { .. }
        | Relation::Option { .. }
        | Relation::Number { .. }
        | Relation::Bool
        | Relation::Phone { .. }
        | Relation::Email
        | Relation::Date
        | Relation::Timestamp
        | Relation::User { .. }
        | Relation::Reference { .. } => None,
    }
}

/// Checks all fields together.
pub(super) fn check(compiler: &mut Compiler<'_>, fields: &[Compiled<'_>]) {
    check_targets(compiler, fields);
    for field in fields {
        check_access(compiler, field);
        check_length(compiler, field);
        check_lists(compiler, field);
    }
    for side in Side::BOTH {
        check_required(compiler, fields, side);
    }
}

/// Two fields that write one remote field would overwrite each other.
fn check_targets(compiler: &mut Compiler<'_>, fields: &[Compiled<'_>]) {
    for side in Side::BOTH {
        let mut writers: BTreeMap<&RemoteField, &str> = BTreeMap::new();
        for field in fields.iter().filter(|field| field.rule.direction.flows_from(side.other())) {
            let Some(remote) = &field.rule.remote[side] else { continue };
            if let Some(other) = writers.insert(remote, field.rule.name.as_str()) {
                let message = format!("`{other}` and `{}` both write `{remote}`", field.rule.name);
                compiler.error(field.name.span(), message, None);
            }
        }
    }
}

fn check_access(compiler: &mut Compiler<'_>, field: &Compiled<'_>) {
    for side in Side::BOTH {
        let (Some(schema), Some(written)) = (&field.schemas[side], field.file.remote(side)) else {
            continue;
        };
        if !schema.readable {
            compiler.error(written.span(), format!("`{}` cannot be read", shown(schema)), None);
        }
        if !field.rule.direction.flows_from(side.other()) {
            continue;
        }
        if !schema.writable_on_create && !schema.writable_on_update {
            let way = if side == Side::Left { "to-right" } else { "to-left" };
            let help = field.rule.derived.is_none().then(|| format!("add `direction = \"{way}\"`"));
            compiler.error(written.span(), format!("`{}` is read-only", shown(schema)), help);
        } else if !schema.writable_on_update {
            let message = format!("`{}` is written on create only", shown(schema));
            compiler.warn(written.span(), message, None);
        }
    }
}

fn check_length(compiler: &mut Compiler<'_>, field: &Compiled<'_>) {
    let (Relation::Text { limits } | Relation::RichText { limits, .. }) = &field.rule.relation
    else {
        return;
    };
    for side in Side::BOTH.into_iter().filter(|side| field.rule.direction.flows_from(side.other()))
    {
        let (Some(room), Some(schema), Some(written)) =
            (limits[side], &field.schemas[side], field.file.remote(side))
        else {
            continue;
        };
        let Some(source) = &field.schemas[side.other()] else { continue };
        // Of a short text without a stated length, nothing is known.
        let is_longer = match limits[side.other()] {
            Some(length) => length > room,
            None => matches!(source.kind, FieldKind::LongText | FieldKind::RichText),
        };
        if !is_longer {
            continue;
        }
        let length =
            limits[side.other()].map_or("any length".to_owned(), |n| format!("{n} characters"));
        let message =
            format!("`{}` holds {room} characters, `{}` {length}", shown(schema), shown(source));
        let help = "longer text is cut, and then edited on the longer side only";
        compiler.warn(written.span(), message, Some(help.to_owned()));
    }
}

/// Of two lists only the primary entries are kept the same.
fn check_lists(compiler: &mut Compiler<'_>, field: &Compiled<'_>) {
    let is_list = |side: Side| {
        let kind = field.schemas[side].as_ref().map(|schema| schema.kind);
        matches!(kind, Some(FieldKind::EmailList | FieldKind::PhoneList))
    };
    if Side::BOTH.into_iter().all(is_list) {
        let message = "of two lists, only the first entries are kept the same";
        let help = "map further entries as fields of their own, such as `phones[work]`";
        compiler.warn(field.name.span(), message, Some(help.to_owned()));
    }
}

fn check_required(compiler: &mut Compiler<'_>, fields: &[Compiled<'_>], side: Side) {
    if !compiler.file.create.allows(side) {
        return;
    }
    let schema = compiler.sides[side].schema;
    let required = schema.fields.iter().filter(|field| field.required && field.writable_on_create);
    for field in required {
        let fills = |compiled: &&Compiled<'_>| {
            let remote = compiled.rule.remote[side].as_ref();
            remote.is_some_and(|remote| remote.base() == field.name.base())
                && compiled.rule.direction.flows_from(side.other())
        };
        if fields.iter().find(fills).is_none() && !is_mapped_in_error(compiler, fields, side) {
            let span = compiler.file.side(side).get_ref().module.span();
            let message = format!(
                "`{}` needs `{}` to create a record, and nothing fills it",
                schema.module,
                shown(field)
            );
            let help = "map it, give it a `constant`, or restrict `create`";
            compiler.error(span, message, Some(help.to_owned()));
        }
    }
}

/// Whether a field of the file could not be compiled: it may be the one that is missed, and is reported already.
fn is_mapped_in_error(compiler: &Compiler<'_>, fields: &[Compiled<'_>], side: Side) -> bool {
    let named = |field: &super::file::FieldFile| field.remote(side).is_some();
    compiler.file.fields.values().filter(|field| named(field)).count()
        > fields.iter().filter(|field| field.rule.remote[side].is_some()).count()
}
