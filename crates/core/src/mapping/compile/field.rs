//! One field: its remote fields, direction, relation, tables of options and users.

use std::ops::Range;

use toml::Spanned;

use super::super::file::{FieldFile, SpannedMap, in_order};
use super::super::infer::Form;
use super::super::options::{
    IdPair, NoOption, find_option, find_user, full_label, option_map, user_map, users_by_email,
    without_partner,
};
use super::super::resolve::shown;
use super::{Compiled, Compiler, did_you_mean, fingerprint};
use crate::engine::expression;
use crate::engine::relation::phone;
use crate::model::mapping::{Derived, OptionMap};
use crate::model::schema::{FieldKind, FieldSchema, OptionSchema};
use crate::model::{Direction, EntityName, FieldName, FieldRule, Pair, Relation, Side};

/// How many names a warning lists before it only counts.
const LISTED: usize = 8;

/// A finding has been made: there is no value, and nothing more to say.
struct Reported;

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
            conflict: file.conflict,
            required: schemas.as_ref().map(|schema| schema.as_ref().is_some_and(|f| f.required)),
            writable: schemas
                .as_ref()
                .map(|schema| schema.as_ref().is_some_and(|field| field.writable_on_update)),
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

    fn relation(
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

    fn options(
        &mut self,
        span: &Range<usize>,
        file: &FieldFile,
        fields: &Pair<&FieldSchema>,
        direction: Direction,
    ) -> Option<OptionMap> {
        let explicit = match &file.options {
            Some(options) => self.pairs(options.get_ref(), |compiler, side, name| {
                compiler.option_id(fields[side], name)
            })?,
            None => Vec::new(),
        };
        let map = option_map(fields, &explicit);
        for side in Side::BOTH.into_iter().filter(|side| direction.flows_from(*side)) {
            let missing = without_partner(&map, side, fields[side]);
            if missing.is_empty() {
                continue;
            }
            let message = format!(
                "{} of `{}` without a partner in `{}`: {}",
                counted(missing.len(), "option"),
                shown(fields[side]),
                shown(fields[side.other()]),
                listed(&missing)
            );
            if let Some(options) = &file.options {
                self.error(options.span(), message, Some("add them to `options`".to_owned()));
            } else {
                let help = "records with them hold this field; name partners in `options`";
                self.warn(span.clone(), message, Some(help.to_owned()));
            }
        }
        Some(map)
    }

    fn option_id(&mut self, field: &FieldSchema, name: &Spanned<String>) -> Option<String> {
        let written = name.get_ref();
        // A side without a list of options holds plain text.
        if field.options.is_empty() {
            return Some(written.clone());
        }
        let (message, help) = match find_option(field, written) {
            Ok(option) => return Some(option.id.clone()),
            Err(NoOption::Ambiguous(labels)) => (
                format!("`{written}` names several options of `{}`", shown(field)),
                Some(format!("write one of `{}`", labels.join("`, `"))),
            ),
            Err(NoOption::Unknown) => {
                let labels: Vec<_> = field.options.iter().map(full_label).collect();
                let known = labels.iter().map(String::as_str);
                let help = did_you_mean(written, known)
                    .or_else(|| Some(format!("it has {}", listed(&labels))));
                (format!("`{}` has no option `{written}`", shown(field)), help)
            }
        };
        self.error(name.span(), message, help);
        None
    }

    fn users(
        &mut self,
        span: &Range<usize>,
        file: &FieldFile,
        fields: &Pair<&FieldSchema>,
        direction: Direction,
    ) -> Option<OptionMap> {
        let explicit = match &file.users {
            Some(users) => self.pairs(users.get_ref(), Self::user_id)?,
            None => Vec::new(),
        };
        let people = self.sides.as_ref().map(|side| side.users);
        let is_user = fields.as_ref().map(|field| field.kind == FieldKind::User);
        let map = match (is_user.left, is_user.right) {
            (true, false) => users_by_email(Side::Left, people.left),
            (false, true) => users_by_email(Side::Right, people.right),
            (true, true) | (false, false) => user_map(&people, &explicit),
        };
        for side in Side::BOTH.into_iter().filter(|side| direction.flows_from(*side)) {
            let missing: Vec<_> = people[side]
                .iter()
                .filter(|user| user.active && map.image(side.other(), &user.id).is_none())
                .map(|user| user.email.clone())
                .collect();
            if is_user[side] && !missing.is_empty() {
                let message = format!(
                    "{} on the {side} side without a partner: {}",
                    counted(missing.len(), "user"),
                    listed(&missing)
                );
                let help = "their records hold this field; name partners in `users`";
                self.warn(span.clone(), message, Some(help.to_owned()));
            }
        }
        Some(map)
    }

    fn user_id(&mut self, side: Side, name: &Spanned<String>) -> Option<String> {
        let users = self.sides[side].users;
        if let Some(user) = find_user(users, name.get_ref()) {
            return Some(user.id.clone());
        }
        let help = did_you_mean(name.get_ref(), users.iter().map(|user| user.email.as_str()));
        self.error(name.span(), format!("the {side} side has no user `{}`", name.get_ref()), help);
        None
    }

    /// Resolves a table of pairs; all of its entries are looked at before it is given up.
    fn pairs(
        &mut self,
        table: &SpannedMap<Spanned<String>>,
        mut id: impl FnMut(&mut Self, Side, &Spanned<String>) -> Option<String>,
    ) -> Option<Vec<IdPair>> {
        let pairs: Vec<Option<IdPair>> = in_order(table)
            .into_iter()
            .map(|(left, right)| {
                let left = id(self, Side::Left, left);
                let right = id(self, Side::Right, right);
                left.zip(right)
            })
            .collect();
        pairs.into_iter().collect()
    }

    fn derived(
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

/// Labels on the computed side, IDs on the target.
fn labels(target: Side, schema: &FieldSchema) -> OptionMap {
    let mut map = OptionMap::default();
    for option in &schema.options {
        let (to_target, to_source) = match target {
            Side::Left => (&mut map.to_left, &mut map.to_right),
            Side::Right => (&mut map.to_right, &mut map.to_left),
        };
        to_target.insert(full_label(option), option.id.clone());
        to_source.insert(option.id.clone(), full_label(option));
    }
    map
}

fn scale(field: &FieldSchema, file: &FieldFile) -> Option<u32> {
    if field.kind == FieldKind::Integer { Some(0) } else { file.decimals }
}

fn kind_name(kind: FieldKind) -> String {
    let name = serde_json::to_value(kind).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let more = names.len().saturating_sub(LISTED);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", shown.join(", "))
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
