//! Tables of options and users of one field.

use std::ops::Range;

use toml::Spanned;

use super::super::file::{FieldFile, SpannedMap, in_order};
use super::super::options::{
    IdPair, NoOption, find_option, find_user, full_label, option_map, user_map, users_by_email,
    without_partner,
};
use super::super::resolve::shown;
use super::{Compiler, did_you_mean};
use crate::model::mapping::OptionMap;
use crate::model::schema::{FieldKind, FieldSchema};
use crate::model::{Direction, Pair, Side};

/// How many names a finding lists before it only counts.
const LISTED: usize = 8;

impl Compiler<'_> {
    pub(super) fn options(
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

    pub(super) fn users(
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
        let keeps_ids = |side| matches!(fields[side].kind, FieldKind::Integer | FieldKind::Id);
        let map = match (is_user.left, is_user.right) {
            (true, true) => user_map(&people, &explicit),
            _ if Side::BOTH.into_iter().any(keeps_ids) => {
                OptionMap { open: true, ..OptionMap::default() }
            }
            (true, false) => users_by_email(Side::Left, people.left),
            (false, true) => users_by_email(Side::Right, people.right),
            (false, false) => OptionMap { open: true, ..OptionMap::default() },
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
