//! Routes that meet in the same fields must not run in circles: semantics §15.

use std::collections::BTreeMap;

use crmsync_core::model::{Direction, Pair, RouteName, Side};

use super::error::ServiceError;
use super::metadata::read_folder;
use crate::config::Config;

/// A field of a module of a connection, as the mapping files call it.
type Place = (String, String, String);

/// Refuses two-way routes that close a circle: an edit would go round in it, and come back as an edit of its own.
///
/// Files that cannot be read are left to the check of their own route.
///
/// # Errors
/// [`ServiceError::Config`] naming the field that closes the circle, and how to open it.
pub fn refuse_circles(config: &Config) -> Result<(), ServiceError> {
    let mut forest = Forest::default();
    for (name, route) in config.routes.iter().filter(|_| config.routes.len() > 1) {
        for source in read_folder(&route.mappings).unwrap_or_default() {
            let file = &source.file;
            for (field, written) in &file.fields {
                let direction = written.direction.as_ref().map(|way| *way.get_ref());
                let is_two_way = direction.unwrap_or(file.direction) == Direction::Both;
                let (Some(left), Some(right)) =
                    (written.remote(Side::Left), written.remote(Side::Right))
                else {
                    continue;
                };
                let remote = Pair::new(left, right);
                let place = |side: Side| {
                    let connection = route.sides[side].clone();
                    (
                        connection,
                        file.module(side).to_lowercase(),
                        remote[side].get_ref().to_lowercase(),
                    )
                };
                if is_two_way && !forest.join(name, place(Side::Left), place(Side::Right)) {
                    let (entity, field) = (file.name(), field.get_ref());
                    return Err(ServiceError::Config(format!(
                        "{name}/{entity}: `{field}` closes a circle of two-way routes; give it, or the same field of \
                         another route, a direction: to-right or to-left"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Places that are kept the same, directly or through others.
#[derive(Default)]
struct Forest {
    parents: BTreeMap<Place, Place>,
    /// Which route joins two places.
    joined: BTreeMap<(Place, Place), RouteName>,
}

impl Forest {
    fn root(&self, place: &Place) -> Place {
        let mut place = place;
        while let Some(parent) = self.parents.get(place) {
            place = parent;
        }
        place.clone()
    }

    /// Joins two places; false when they are joined already by another way.
    fn join(&mut self, route: &RouteName, left: Place, right: Place) -> bool {
        let edge = if left < right { (left, right) } else { (right, left) };
        // Several entities of one route may share a module, told apart by their filters.
        if self.joined.get(&edge) == Some(route) {
            return true;
        }
        let (one, other) = (self.root(&edge.0), self.root(&edge.1));
        self.joined.insert(edge, route.clone());
        if one == other {
            return false;
        }
        self.parents.insert(one, other);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;
    use crate::config::Environment;

    fn file(entity: &str, left: &str, right: &str, direction: &str) -> String {
        format!(
            "entity = \"{entity}\"\nleft = {{ module = \"{left}\" }}\nright = {{ module = \"{right}\" }}\n\
             direction = \"{direction}\"\n[fields]\nname = {{ left = \"Name\", right = \"name\" }}\n"
        )
    }

    /// Routes a–b, b–c, c–a, each with one mapping file of this direction.
    fn three(folder: &Path, directions: [&str; 3]) -> Config {
        let sides = [("a", "b"), ("b", "c"), ("a", "c")];
        let mut text = "[store]\nurl = \"sqlite://s.db\"\n".to_owned();
        for name in ["a", "b", "c"] {
            let _ = writeln!(
                text,
                "[connections.{name}]\ntype = \"pipedrive\"\ncompany = \"{name}\"\napi_token = {{ env = \"T\" }}"
            );
        }
        for ((left, right), direction) in sides.iter().zip(directions) {
            let name = format!("{left}{right}");
            std::fs::create_dir(folder.join(&name)).unwrap();
            let mapping = file("person", "persons", "persons", direction).replace("Name", "name");
            std::fs::write(folder.join(&name).join("person.toml"), mapping).unwrap();
            let _ = writeln!(
                text,
                "[routes.{name}]\nleft = \"{left}\"\nright = \"{right}\"\nmappings = \"{name}\""
            );
        }
        Config::parse(&folder.join("crmsync.toml"), &text, &Environment::default()).unwrap()
    }

    #[test]
    fn given_three_routes_round_a_circle_when_checked_then_one_must_be_one_way() {
        let cases = [
            (["both", "both", "both"], Some("bc/person: `name` closes a circle")),
            (["both", "to-right", "both"], None),
        ];
        for (directions, refusal) in cases {
            let folder = tempfile::TempDir::new().unwrap();

            let checked = refuse_circles(&three(folder.path(), directions));

            let told = checked.err().map(|error| error.to_string());
            assert_eq!(told.is_some(), refusal.is_some(), "{told:?}");
            assert!(told.unwrap_or_default().starts_with(refusal.unwrap_or_default()));
        }
    }
}
