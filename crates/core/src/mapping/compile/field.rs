//! One field: its remote fields, direction and relation.

use std::ops::Range;

use toml::Spanned;

use super::super::file::{FieldFile, SpannedMap};
use super::super::infer::Form;
use super::super::resolve::shown;
use super::{Compiled, Compiler, did_you_mean, fingerprint};
use crate::engine::relation::phone;
use crate::model::mapping::{Derived, TextMerge};
use crate::model::schema::{FieldKind, FieldSchema, OptionSchema};
use crate::model::{Direction, EntityName, FieldName, FieldRule, Pair, Relation, Side};

/// A finding has been made: there is no value, and nothing more to say.
pub(super) struct Reported;

impl<'a> Compiler<'a> {
    /// Compiles one field; `None` when nothing can be made of it, which then has been reported.
    pub(super) fn field(
        &mut self,
        name: &'a Spanned<String>,
        file: &'a FieldFile,
    ) -> Option<Compiled<'a>> {
        let span = name.span();
        let left = self.side_field(file, Side::Left);
        let right = self.side_field(file, Side::Right);
        let (Ok(left), Ok(right)) = (left, right) else { return None };
        let schemas = Pair::new(left.map(with_flags), right.map(with_flags));
        let derived_to = self.derived_target(name, file, &schemas).ok()?;
        let direction = self.direction(&span, file, derived_to);
        let (relation, derived) = match (derived_to, &schemas.left, &schemas.right) {
            (None, Some(left), Some(right)) => {
                let form = self.form(&span, file, left, right, direction)?;
                (self.relation(&span, file, form, &Pair::new(left, right), direction)?, None)
            }
            (Some(target), ..) => self.derived(file, target, schemas[target].as_ref()?, span)?,
            (None, ..) => return None,
        };
        self.unused_keys(file, &relation);
        let rule = FieldRule {
            name: FieldName::new(name.get_ref().as_str()),
            remote: schemas.as_ref().map(|schema| schema.as_ref().map(|field| field.name.clone())),
            direction,
            merge: self.text_merge(file, &relation),
            conflict: file.conflict,
            required: schemas.as_ref().map(|schema| schema.as_ref().is_some_and(|f| f.required)),
            writable: schemas
                .as_ref()
                .map(|schema| schema.as_ref().is_some_and(|field| field.writable_on_update)),
            creatable: schemas
                .as_ref()
                .map(|schema| schema.as_ref().is_some_and(|field| field.writable_on_create)),
            fingerprint: fingerprint_of(file, &schemas, &relation, derived.as_ref()),
            relation,
            derived,
        };
        Some(Compiled { name, file, rule, schemas })
    }

    /// Resolves one side's field, if the file names one.
    fn side_field(
        &mut self,
        file: &FieldFile,
        side: Side,
    ) -> Result<Option<FieldSchema>, Reported> {
        match file.remote(side) {
            Some(written) => self.resolve(side, written).map(Some).ok_or(Reported),
            None => Ok(None),
        }
    }

    /// Returns the side that a constant or expression is written to; nothing for a plain field.
    fn derived_target(
        &mut self,
        name: &Spanned<String>,
        file: &FieldFile,
        schemas: &Pair<Option<FieldSchema>>,
    ) -> Result<Option<Side>, Reported> {
        let derives = file.expression.is_some() || file.constant.is_some();
        let message = match (schemas.left.is_some(), schemas.right.is_some(), derives) {
            (true, true, false) => return Ok(None),
            (true, false, true) if file.expression.is_none() || file.constant.is_none() => {
                return Ok(Some(Side::Left));
            }
            (false, true, true) if file.expression.is_none() || file.constant.is_none() => {
                return Ok(Some(Side::Right));
            }
            (_, _, true) => "needs one side, and either `expression` or `constant`",
            (_, _, false) => {
                "needs `left` and `right`, or one of them and `expression` or `constant`"
            }
        };
        self.error(name.span(), format!("field `{}` {message}", name.get_ref()), None);
        Err(Reported)
    }

    fn direction(
        &mut self,
        span: &Range<usize>,
        file: &FieldFile,
        derived_to: Option<Side>,
    ) -> Direction {
        let written = file.direction.as_ref();
        let wanted = written.map_or(self.file.direction, |direction| *direction.get_ref());
        let forced = match derived_to {
            Some(Side::Left) => Direction::ToLeft,
            Some(Side::Right) => Direction::ToRight,
            None => return wanted,
        };
        if let Some(written) = written.filter(|_| wanted != forced) {
            let span = if written.span().is_empty() { span.clone() } else { written.span() };
            self.error(
                span,
                "a constant or expression flows one way: to the side that is named",
                None,
            );
        }
        forced
    }

    fn form(
        &mut self,
        span: &Range<usize>,
        file: &FieldFile,
        left: &FieldSchema,
        right: &FieldSchema,
        direction: Direction,
    ) -> Option<Form> {
        let written = file.form.as_ref().map(|form| *form.get_ref());
        let form = match (written, &file.reference) {
            (Some(form), _) => Some(form),
            (None, Some(_)) => Some(Form::Reference),
            (None, None) => Form::infer(left.kind, right.kind),
        };
        let admitted = form.filter(|form| form.admits(left.kind) && form.admits(right.kind));
        let Some(form) = admitted else {
            let (left_kind, right_kind) = (kind_name(left.kind), kind_name(right.kind));
            let message = format!(
                "`{}` ({left_kind}) and `{}` ({right_kind}) do not fit together{}",
                shown(left),
                shown(right),
                form.map(|form| format!(" as `{}`", form.as_str())).unwrap_or_default()
            );
            self.error(file.form.as_ref().map_or(span.clone(), Spanned::span), message, None);
            return None;
        };
        let grain = |side| if side == Side::Left { left.kind } else { right.kind };
        for target in Side::BOTH {
            let coarsens = grain(target.other()) == FieldKind::Date;
            let is_instant = form == Form::Date && grain(target) == FieldKind::Timestamp;
            if is_instant && coarsens && direction.flows_from(target.other()) {
                let way = if target == Side::Left { "to-right" } else { "to-left" };
                let help = format!("add `direction = \"{way}\"`");
                self.error(span.clone(), "a date would overwrite the time of day", Some(help));
            }
        }
        Some(form)
    }

    pub(super) fn relation(
        &mut self,
        span: &Range<usize>,
        file: &FieldFile,
        form: Form,
        fields: &Pair<&FieldSchema>,
        direction: Direction,
    ) -> Option<Relation> {
        let limits = fields.as_ref().map(|field| field.max_length);
        Some(match form {
            Form::Text => Relation::Text { limits },
            Form::RichText => Relation::RichText {
                html: fields.as_ref().map(|field| field.kind == FieldKind::RichText),
                limits,
            },
            Form::Email => Relation::Email,
            Form::Phone => Relation::Phone { region: self.region(file).ok()? },
            Form::Number => {
                Relation::Number { scale: fields.as_ref().map(|field| scale(field, file)) }
            }
            Form::Bool => Relation::Bool,
            Form::Date => Relation::Date,
            Form::Timestamp => Relation::Timestamp,
            Form::Option | Form::OptionSet => {
                let map = self.options(span, file, fields, direction)?;
                if form == Form::Option {
                    Relation::Option { map }
                } else {
                    Relation::OptionSet { map }
                }
            }
            Form::User => Relation::User { map: self.users(span, file, fields, direction)? },
            Form::Reference => Relation::Reference { entity: self.reference(span, file)? },
        })
    }

    fn region(&mut self, file: &FieldFile) -> Result<Option<String>, Reported> {
        let Some(written) = &file.region else { return Ok(None) };
        if phone::is_region(written.get_ref()) {
            return Ok(Some(written.get_ref().clone()));
        }
        let help = "write a country code of ISO 3166, such as `DE`";
        self.error(
            written.span(),
            format!("unknown region `{}`", written.get_ref()),
            Some(help.to_owned()),
        );
        Err(Reported)
    }

    fn reference(&mut self, span: &Range<usize>, file: &FieldFile) -> Option<EntityName> {
        let Some(written) = &file.reference else {
            let help = "add `reference = \"<entity>\"`: the entity that the lookup points to";
            self.error(
                span.clone(),
                "a lookup needs the entity it points to",
                Some(help.to_owned()),
            );
            return None;
        };
        let name = EntityName::new(written.get_ref().as_str());
        if self.entities.contains(&name) || name == self.file.name() {
            return Some(name);
        }
        let help = did_you_mean(name.as_str(), self.entities.iter().map(EntityName::as_str));
        self.error(written.span(), format!("no mapping file of this route is for `{name}`"), help);
        None
    }

    /// Lines are merged where both sides store the same text.
    fn text_merge(&mut self, file: &FieldFile, relation: &Relation) -> TextMerge {
        let Some(written) = &file.merge else { return TextMerge::Whole };
        let is_plain = matches!(relation, Relation::Text { .. });
        if *written.get_ref() == TextMerge::Lines && !is_plain {
            let message = "`merge = \"lines\"` needs plain text on both sides";
            self.error(written.span(), message, None);
        }
        *written.get_ref()
    }

    /// Keys that say nothing for this relation are mistakes.
    fn unused_keys(&mut self, file: &FieldFile, relation: &Relation) {
        let unused = |span: Option<Range<usize>>, key: &'static str, used: bool| {
            span.filter(|_| !used).map(|span| (span, key))
        };
        let is_option = matches!(relation, Relation::Option { .. } | Relation::OptionSet { .. });
        let findings = [
            unused(file.options.as_ref().map(Spanned::span), "options", is_option),
            unused(
                file.users.as_ref().map(Spanned::span),
                "users",
                matches!(relation, Relation::User { .. }),
            ),
            unused(
                file.region.as_ref().map(Spanned::span),
                "region",
                matches!(relation, Relation::Phone { .. }),
            ),
            unused(
                file.reference.as_ref().map(Spanned::span),
                "reference",
                matches!(relation, Relation::Reference { .. }),
            ),
        ];
        for (span, key) in findings.into_iter().flatten() {
            self.error(span, format!("`{key}` has no meaning for these fields' types"), None);
        }
    }
}

/// Gives a checkbox its two options, so that a status can meet it: `options = { "Completed" = "true" }`.
fn with_flags(mut field: FieldSchema) -> FieldSchema {
    if field.kind == FieldKind::Bool {
        let flag = |text: &str| OptionSchema { id: text.into(), label: text.into(), parent: None };
        field.options = vec![flag("true"), flag("false")];
    }
    field
}

fn scale(field: &FieldSchema, file: &FieldFile) -> Option<u32> {
    if field.kind == FieldKind::Integer { Some(0) } else { file.decimals }
}

pub(super) fn kind_name(kind: FieldKind) -> String {
    let name = serde_json::to_value(kind).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Hashes what semantics §14.3 names: mapping, transform, explicit pairs, remote field, type and length.
///
/// Pairs found by equal labels or e-mails stay out: a new colleague must not cost every owner its baseline.
fn fingerprint_of(
    file: &FieldFile,
    schemas: &Pair<Option<FieldSchema>>,
    relation: &Relation,
    derived: Option<&Derived>,
) -> String {
    let side = |schema: &Option<FieldSchema>| {
        schema.as_ref().map(|field| (field.name.clone(), field.kind, field.max_length))
    };
    let table = |table: &Option<Spanned<SpannedMap<Spanned<String>>>>| -> Vec<(String, String)> {
        let entries = table.iter().flat_map(Spanned::get_ref);
        entries.map(|(left, right)| (left.get_ref().clone(), right.get_ref().clone())).collect()
    };
    let transform = match relation {
        Relation::Option { .. } => "option".to_owned(),
        Relation::OptionSet { .. } => "option-set".to_owned(),
        Relation::User { .. } => "user".to_owned(),
        Relation::Text { .. }
        | Relation::RichText { .. }
        | Relation::Number { .. }
        | Relation::Bool
        | Relation::Phone { .. }
        | Relation::Email
        | Relation::Date
        | Relation::Timestamp
        | Relation::Reference { .. } => format!("{relation:?}"),
    };
    let sides = schemas.as_ref().map(side);
    fingerprint(&format!(
        "{:?}",
        (sides, transform, table(&file.options), table(&file.users), derived)
    ))
}
