//! Tables of options and users: explicit pairs first, then like-named ones.

use std::collections::BTreeMap;

use crate::model::mapping::OptionMap;
use crate::model::schema::{FieldKind, FieldSchema, OptionSchema, User};
use crate::model::{Pair, Side};

/// Why a name stands for no option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoOption {
    Unknown,
    /// Full names of the options that share the label.
    Ambiguous(Vec<String>),
}

/// Returns `Sales / Negotiation`, or the label alone where the option has no parent.
pub fn full_label(option: &OptionSchema) -> String {
    match &option.parent {
        Some(parent) => format!("{parent} / {}", option.label),
        None => option.label.clone(),
    }
}

/// Finds an option by ID, full label, label, or label without regard to case.
///
/// # Errors
/// [`NoOption`] when there is none, or more than one.
pub fn find_option<'a>(field: &'a FieldSchema, name: &str) -> Result<&'a OptionSchema, NoOption> {
    let tests: [&dyn Fn(&OptionSchema) -> bool; 4] = [
        &|option| option.id == name,
        &|option| full_label(option) == name,
        &|option| option.label == name,
        &|option| option.label.to_lowercase() == name.to_lowercase(),
    ];
    for fits in tests {
        let found: Vec<_> = field.options.iter().filter(|option| fits(option)).collect();
        match found.as_slice() {
            [] => {}
            [option] => return Ok(option),
            many => return Err(NoOption::Ambiguous(many.iter().map(|o| full_label(o)).collect())),
        }
    }
    Err(NoOption::Unknown)
}

/// An explicit pair, as option IDs.
pub type IdPair = (String, String);

/// Builds the table of two option fields. A side without a list of options holds the other's labels.
///
/// Explicit pairs come first; of several pairs with one ID, the first decides the way back. The remaining options
/// meet by equal label, where that names one option only.
pub fn option_map(fields: &Pair<&FieldSchema>, explicit: &[IdPair]) -> OptionMap {
    let listed = fields.as_ref().map(|field| usable(field).collect::<Vec<_>>());
    let mut map = OptionMap::default();
    for (left, right) in explicit {
        pair_up(&mut map, left, right);
    }
    match (listed.left.is_empty(), listed.right.is_empty()) {
        (true, true) => map.open = true,
        (false, true) => {
            for option in listed.left.iter().filter(|_| is_free_text(fields.right)) {
                pair_if_free(&mut map, &option.id, &full_label(option));
            }
        }
        (true, false) => {
            for option in listed.right.iter().filter(|_| is_free_text(fields.left)) {
                pair_if_free(&mut map, &full_label(option), &option.id);
            }
        }
        (false, false) => {
            for left in &listed.left {
                if let Some(right) = like_named(left, &listed.left, &listed.right) {
                    pair_if_free(&mut map, &left.id, &right.id);
                }
            }
        }
    }
    map
}

fn is_free_text(field: &FieldSchema) -> bool {
    !matches!(field.kind, FieldKind::Option | FieldKind::OptionSet)
}

fn usable(field: &FieldSchema) -> impl Iterator<Item = &OptionSchema> {
    field.options.iter().filter(|option| option.id != "-None-" && !option.id.is_empty())
}

fn pair_up(map: &mut OptionMap, left: &str, right: &str) {
    map.to_right.entry(left.to_owned()).or_insert_with(|| right.to_owned());
    map.to_left.entry(right.to_owned()).or_insert_with(|| left.to_owned());
}

fn pair_if_free(map: &mut OptionMap, left: &str, right: &str) {
    if !map.to_right.contains_key(left) && !map.to_left.contains_key(right) {
        pair_up(map, left, right);
    }
}

/// Finds the one right option that is called as `left` is, if no other left option is called so too.
fn like_named<'a>(
    left: &OptionSchema,
    lefts: &[&OptionSchema],
    rights: &[&'a OptionSchema],
) -> Option<&'a OptionSchema> {
    let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    let full = rights.iter().find(|right| same(&full_label(right), &full_label(left)));
    if let Some(full) = full {
        return Some(full);
    }
    let twins = lefts.iter().filter(|option| same(&option.label, &left.label)).count();
    let mut found = rights.iter().filter(|right| same(&right.label, &left.label));
    match (twins, found.next(), found.next()) {
        (1, Some(right), None) => Some(right),
        _ => None,
    }
}

/// Returns the labels of a side's options that have no partner.
pub fn without_partner(map: &OptionMap, side: Side, field: &FieldSchema) -> Vec<String> {
    let unmapped = usable(field).filter(|option| map.image(side.other(), &option.id).is_none());
    unmapped.map(full_label).collect()
}

/// Finds a user by ID, e-mail (without regard to case) or name.
pub fn find_user<'a>(users: &'a [User], name: &str) -> Option<&'a User> {
    let by = |fits: &dyn Fn(&User) -> bool| users.iter().find(|user| fits(user));
    by(&|user| user.id == name)
        .or_else(|| by(&|user| user.email.eq_ignore_ascii_case(name)))
        .or_else(|| by(&|user| user.name == name))
}

/// Builds the table of both sides' users: explicit pairs, then equal e-mail addresses, active users first.
pub fn user_map(users: &Pair<&[User]>, explicit: &[IdPair]) -> OptionMap {
    let mut map = OptionMap::default();
    for (left, right) in explicit {
        pair_up(&mut map, left, right);
    }
    let by_email = |users: &[User]| -> BTreeMap<String, String> {
        let mut table = BTreeMap::new();
        let (active, rest): (Vec<_>, Vec<_>) = users.iter().partition(|user| user.active);
        for user in active.into_iter().chain(rest).filter(|user| !user.email.is_empty()) {
            table.entry(user.email.to_lowercase()).or_insert_with(|| user.id.clone());
        }
        table
    };
    let right = by_email(users.right);
    for (email, id) in by_email(users.left) {
        if let Some(partner) = right.get(&email) {
            pair_if_free(&mut map, &id, partner);
        }
    }
    map
}

/// Builds the table of users that a text field names by e-mail; `side` is where the users are.
pub fn users_by_email(side: Side, users: &[User]) -> OptionMap {
    let mut map = OptionMap::default();
    for user in users.iter().filter(|user| !user.email.is_empty()) {
        match side {
            Side::Left => pair_if_free(&mut map, &user.id, &user.email),
            Side::Right => pair_if_free(&mut map, &user.email, &user.id),
        }
    }
    map
}
