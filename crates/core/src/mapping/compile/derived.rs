//! Values that no side stores: constants and expressions.

use std::ops::Range;

use toml::Spanned;

use super::super::file::{FieldFile, in_order};
use super::super::infer::Form;
use super::super::options::{full_label, users_by_email};
use super::super::resolve::shown;
use super::field::kind_name;
use super::{Compiler, did_you_mean};
use crate::engine::expression;
use crate::model::mapping::{Derived, OptionMap};
use crate::model::schema::{FieldKind, FieldSchema};
use crate::model::{Direction, Pair, Relation, Side};

impl Compiler<'_> {
    pub(super) fn derived(
        &mut self,
        file: &FieldFile,
        target: Side,
        schema: &FieldSchema,
        span: Range<usize>,
    ) -> Option<(Relation, Option<Derived>)> {
        if let Some(constant) = &file.constant {
            let value = self.constant(schema, constant.get_ref(), constant.span())?;
            return Some((
                self.one_sided(file, target, schema, true, span)?,
                Some(Derived::Constant(value)),
            ));
        }
        let expression = file.expression.as_ref()?;
        self.check_expression(expression, target.other());
        let derived = Derived::Expression(expression.get_ref().clone());
        Some((self.one_sided(file, target, schema, false, span)?, Some(derived)))
    }

    fn check_expression(&mut self, expression: &Spanned<String>, source: Side) {
        let names = match expression::fields_read(expression.get_ref()) {
            Ok(names) => names,
            Err(error) => return self.error(expression.span(), error.to_string(), None),
        };
        let known: Vec<&str> = in_order(&self.file.fields)
            .into_iter()
            .filter(|(_, field)| field.remote(source).is_some())
            .map(|(name, _)| name.get_ref().as_str())
            .collect();
        for name in names {
            if known.contains(&name.as_str()) {
                continue;
            }
            let help = did_you_mean(&name, known.iter().copied());
            let at = expression.get_ref().find(name.as_str()).unwrap_or_default();
            let span = self.inside(expression, &(at..at + name.len()));
            let message =
                format!("expression reads `{name}`, which is not mapped on the {source} side");
            self.error(span, message, help);
        }
    }

    /// Finds the relation of a derived value and the one field that stores it. A constant is in the target's form
    /// already; an expression names options by label.
    fn one_sided(
        &mut self,
        file: &FieldFile,
        target: Side,
        schema: &FieldSchema,
        is_constant: bool,
        span: Range<usize>,
    ) -> Option<Relation> {
        let open = || OptionMap { open: true, ..OptionMap::default() };
        let both = Pair::new(schema, schema);
        let limits = Pair::from_side(target, schema.max_length, None);
        let written = file.form.as_ref().map(|form| *form.get_ref());
        let form = written.or(Form::natural(schema.kind)).filter(|form| form.admits(schema.kind));
        match form {
            Some(Form::Text) => Some(Relation::Text { limits }),
            Some(Form::RichText) => {
                let html = schema.kind == FieldKind::RichText;
                Some(Relation::RichText { html: Pair::from_side(target, html, false), limits })
            }
            Some(Form::Option) if is_constant => Some(Relation::Option { map: open() }),
            Some(Form::OptionSet) if is_constant => Some(Relation::OptionSet { map: open() }),
            Some(Form::Option) => Some(Relation::Option { map: labels(target, schema) }),
            Some(Form::OptionSet) => Some(Relation::OptionSet { map: labels(target, schema) }),
            Some(Form::User) => {
                let map = users_by_email(target, self.sides[target].users);
                Some(Relation::User { map: if is_constant { open() } else { map } })
            }
            Some(
                form @ (Form::Email
                | Form::Phone
                | Form::Number
                | Form::Bool
                | Form::Date
                | Form::Timestamp),
            ) => self.relation(&span, file, form, &both, Direction::Both),
            Some(Form::Reference) | None => {
                let message =
                    format!("`{}` ({}) cannot be computed", shown(schema), kind_name(schema.kind));
                self.error(span, message, None);
                None
            }
        }
    }
}

/// Labels on the computed side, IDs on the target. An expression may also name an option by its ID, or by its own
/// label where one option alone has it; where names clash, a full label means more than an ID, and that more than a label.
/// Without a list of options, the computed value is written as it is.
fn labels(target: Side, schema: &FieldSchema) -> OptionMap {
    let mut map = OptionMap { open: schema.options.is_empty(), ..OptionMap::default() };
    let (to_target, to_source) = match target {
        Side::Left => (&mut map.to_left, &mut map.to_right),
        Side::Right => (&mut map.to_right, &mut map.to_left),
    };
    for option in &schema.options {
        to_target.entry(full_label(option)).or_insert_with(|| option.id.clone());
        to_source.insert(option.id.clone(), full_label(option));
    }
    for option in &schema.options {
        to_target.entry(option.id.clone()).or_insert_with(|| option.id.clone());
    }
    for option in &schema.options {
        let twins = schema.options.iter().filter(|other| other.label == option.label).count();
        if twins == 1 {
            to_target.entry(option.label.clone()).or_insert_with(|| option.id.clone());
        }
    }
    map
}
