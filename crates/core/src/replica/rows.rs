//! A page of records, cut into values that fill columns and lists that fill tables of their own.
//!
//! A page is scanned once. Values stay as they came until they are known to be needed: numbers and times are never
//! parsed into something that could round them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::names;
use super::shape::Shape;

/// Objects whose members are fields of the record itself.
const TRANSPARENT: &str = "custom_fields";

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// The field's path in the record.
    pub source: String,
    /// `None` until a value was seen: such a column is not made yet.
    pub shape: Option<Shape>,
}

/// A table, as far as its records have shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    pub table: String,
    /// Path of the field that tells its rows apart.
    pub key: String,
    pub columns: Vec<Column>,
    /// Tables of its records' lists, by the list's path.
    pub children: BTreeMap<String, Sheet>,
    /// What people call a field, by path.
    pub labels: BTreeMap<String, String>,
    /// Fields that appear later are left out.
    pub closed: bool,
    places: BTreeMap<String, usize>,
    /// Place of the column that last came after each column in a record; first that of a record's first field.
    follows: Vec<usize>,
    taken: BTreeSet<String>,
}

/// Paths of a child table's own columns.
pub const PARENT: &str = "$parent";
pub const POSITION: &str = "$position";
pub const VALUE: &str = "$value";

/// Rows to be stored in one sheet: cells in the order of its columns.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    text: String,
    cells: Vec<Option<(u32, u32)>>,
    /// Where each row's cells end.
    ends: Vec<usize>,
    /// Rows that a later version of their record replaced, or that have no key.
    dead: BTreeSet<usize>,
    /// The latest row of each key.
    latest: HashMap<String, usize>,
    /// Of a list's rows: the row of their record.
    owners: Vec<usize>,
    /// Records without a key, which no table can hold.
    pub keyless: usize,
    pub children: BTreeMap<String, Batch>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Rows to be stored: of each record the last version.
    pub fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.ends.len()).filter(|row| !self.dead.contains(row))
    }

    fn bury(&mut self, row: usize) {
        self.dead.insert(row);
        for child in self.children.values_mut() {
            let of_row = child.owners.iter().enumerate().filter(|(_, owner)| **owner == row);
            child.dead.extend(of_row.map(|(at, _)| at));
        }
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.text.len() + self.cells.len() * 12
    }

    /// The cell of a column; a row from before the column was known has none.
    pub fn cell(&self, row: usize, column: usize) -> Option<&str> {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let at = start + column;
        let (from, to) = if at < self.ends[row] { self.cells[at]? } else { return None };
        self.text.get(from as usize..to as usize)
    }

    fn begin(&mut self, width: usize) -> usize {
        let start = self.cells.len();
        self.cells.resize(start + width, None);
        start
    }

    fn set(&mut self, start: usize, column: usize, from: usize) {
        let at = start + column;
        if at >= self.cells.len() {
            self.cells.resize(at + 1, None);
        }
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.cells[at] = Some((place(from), place(self.text.len())));
    }

    fn end(&mut self) {
        self.ends.push(self.cells.len());
    }
}

impl Sheet {
    pub fn new(table: impl Into<String>, key: impl Into<String>) -> Self {
        let (table, key) = (table.into(), key.into());
        Self {
            table,
            key,
            columns: Vec::new(),
            children: BTreeMap::new(),
            labels: BTreeMap::new(),
            closed: false,
            places: BTreeMap::new(),
            follows: Vec::new(),
            // Ours, in every table.
            taken: ["_crmsync_synced_at", "_crmsync_deleted_at"].map(str::to_owned).into(),
        }
    }

    /// A table of lists: rows go by their record and their place in it.
    pub fn child(parent: &Self, field: &str) -> Self {
        let name = names::plain(parent.labels.get(field).map_or(field, String::as_str));
        let mut child = Self::new(format!("{}_{name}", parent.table), PARENT);
        let key = parent.columns.iter().find(|column| column.source == parent.key);
        child.insert("parent_id", PARENT, key.and_then(|column| column.shape));
        child.insert("position", POSITION, Some(Shape::Integer));
        child
    }

    /// Takes over a column that was made before, under the name it has.
    pub fn insert(&mut self, name: &str, source: &str, shape: Option<Shape>) {
        self.places.insert(source.to_owned(), self.columns.len());
        self.taken.insert(name.to_owned());
        self.columns.push(Column { name: name.to_owned(), source: source.to_owned(), shape });
    }

    /// Place of a path's column, which is made when there is none.
    pub fn column(&mut self, source: &str, shape: Option<Shape>) -> usize {
        if let Some(place) = self.places.get(source) {
            return *place;
        }
        let readable = self.readable(source);
        let name = names::column(source, &readable, &self.taken);
        self.insert(&name, source, shape);
        self.columns.len() - 1
    }

    /// `5e1f….value` reads `Budget value`.
    fn readable(&self, source: &str) -> String {
        if let Some(label) = self.labels.get(source) {
            return label.clone();
        }
        match source.split_once('.') {
            Some((field, part)) => {
                let field = self.labels.get(field).map_or(field, String::as_str);
                format!("{field} {part}")
            }
            None if source == VALUE => "value".to_owned(),
            None => source.to_owned(),
        }
    }

    /// Reads a page: a JSON array of records.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(&mut self, page: &[u8], batch: &mut Batch) -> Result<usize, serde_json::Error> {
        let records: Vec<Members<'_>> = serde_json::from_slice(page)?;
        for record in &records {
            self.add(record, batch)?;
        }
        Ok(records.len())
    }

    fn add(&mut self, record: &Members<'_>, batch: &mut Batch) -> Result<(), serde_json::Error> {
        let start = batch.begin(self.columns.len());
        let (mut hint, mut lists) = (0, Vec::new());
        for (name, raw) in &record.0 {
            if raw.get().starts_with('{') {
                let members: Members<'_> = serde_json::from_str(raw.get())?;
                if name == TRANSPARENT {
                    for (name, raw) in &members.0 {
                        self.field("", name, raw, batch, start, &mut hint, &mut lists)?;
                    }
                } else {
                    self.parts(name, &members, batch, start, &mut hint);
                }
            } else {
                self.field("", name, raw, batch, start, &mut hint, &mut lists)?;
            }
        }
        batch.end();
        let row = batch.len() - 1;
        let key = self.places.get(&self.key).and_then(|place| batch.cell(row, *place));
        let Some(key) = key.map(str::to_owned) else {
            batch.keyless += 1;
            batch.bury(row);
            return Ok(());
        };
        if let Some(before) = batch.latest.insert(key.clone(), row) {
            batch.bury(before);
        }
        for (field, raw) in lists {
            if !self.children.contains_key(&field) {
                if self.closed {
                    continue;
                }
                let child = Self::child(self, &field);
                self.children.insert(field.clone(), child);
            }
            if let Some(child) = self.children.get_mut(&field) {
                child.add_list(&key, row, raw, batch.children.entry(field).or_default())?;
            }
        }
        Ok(())
    }

    /// One field: a scalar, an object of one more level, or a list.
    #[expect(clippy::too_many_arguments, reason = "one walk's places, handed down twice")]
    fn field<'r>(
        &mut self,
        prefix: &str,
        name: &str,
        raw: &'r RawValue,
        batch: &mut Batch,
        start: usize,
        hint: &mut usize,
        lists: &mut Vec<(String, &'r RawValue)>,
    ) -> Result<(), serde_json::Error> {
        match raw.get().as_bytes().first() {
            Some(b'[') => {
                if raw.get() != "[]" {
                    lists.push((name.to_owned(), raw));
                }
            }
            Some(b'{') => {
                let members: Members<'_> = serde_json::from_str(raw.get())?;
                self.parts(name, &members, batch, start, hint);
            }
            _ => self.scalar(prefix, name, raw, batch, start, hint),
        }
        Ok(())
    }

    /// The members of a composite; what is deeper stays JSON.
    fn parts(
        &mut self,
        name: &str,
        members: &Members<'_>,
        batch: &mut Batch,
        start: usize,
        hint: &mut usize,
    ) {
        for (part, raw) in &members.0 {
            self.scalar(name, part, raw, batch, start, hint);
        }
    }

    fn scalar(
        &mut self,
        prefix: &str,
        name: &str,
        raw: &RawValue,
        batch: &mut Batch,
        start: usize,
        hint: &mut usize,
    ) {
        let raw = raw.get();
        let Some(place) = self.place(prefix, name, *hint) else { return };
        *hint = place + 1;
        if raw == "null" {
            return;
        }
        let column = &mut self.columns[place];
        let shape = match column.shape {
            Some(shape) if shape.takes(raw) => shape,
            // An empty text says nothing about a type, and is no date.
            _ if raw == "\"\"" => return,
            Some(shape) => shape.widened(Shape::of_scalar(raw)),
            None => Shape::of_scalar(raw),
        };
        column.shape = Some(shape);
        let from = batch.text.len();
        push_text(&mut batch.text, raw);
        batch.set(start, place, from);
    }

    /// Records name their fields in the same order, which need not be that of the columns: what followed the last
    /// field in the record before is mostly the one.
    fn place(&mut self, prefix: &str, name: &str, hint: usize) -> Option<usize> {
        if let Some(place) = self.follows.get(hint)
            && let Some(column) = self.columns.get(*place)
            && is_path(&column.source, prefix, name)
        {
            return Some(*place);
        }
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let known = self.places.get(&path).copied();
        if known.is_none() && self.closed {
            return None;
        }
        // A null is worth a place in the order, so that the next records find it at once.
        let place = known.unwrap_or_else(|| self.column(&path, None));
        if self.follows.len() <= hint {
            self.follows.resize(hint + 1, usize::MAX);
        }
        self.follows[hint] = place;
        Some(place)
    }

    fn add_list(
        &mut self,
        parent: &str,
        owner: usize,
        raw: &RawValue,
        batch: &mut Batch,
    ) -> Result<(), serde_json::Error> {
        let items: Vec<&RawValue> = serde_json::from_str(raw.get())?;
        for (position, item) in items.into_iter().enumerate() {
            let start = batch.begin(self.columns.len());
            let from = batch.text.len();
            batch.text.push_str(parent);
            batch.set(start, 0, from);
            let from = batch.text.len();
            batch.text.push_str(&position.to_string());
            batch.set(start, 1, from);
            let mut hint = 2;
            if item.get().starts_with('{') {
                let members: Members<'_> = serde_json::from_str(item.get())?;
                for (name, raw) in &members.0 {
                    if raw.get().starts_with('{') {
                        let inner: Members<'_> = serde_json::from_str(raw.get())?;
                        self.parts(name, &inner, batch, start, &mut hint);
                    } else {
                        self.scalar("", name, raw, batch, start, &mut hint);
                    }
                }
            } else {
                self.scalar("", VALUE, item, batch, start, &mut hint);
            }
            batch.end();
            batch.owners.push(owner);
        }
        Ok(())
    }
}

fn is_path(source: &str, prefix: &str, name: &str) -> bool {
    if prefix.is_empty() {
        return source == name;
    }
    source.len() == prefix.len() + 1 + name.len()
        && source.starts_with(prefix)
        && source.ends_with(name)
        && source.as_bytes()[prefix.len()] == b'.'
}

/// A JSON text without its quotes; anything else as it stands.
fn push_text(into: &mut String, raw: &str) {
    let Some(inner) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) else {
        into.push_str(raw);
        return;
    };
    if !inner.contains('\\') {
        into.push_str(inner);
        return;
    }
    match serde_json::from_str::<String>(raw) {
        // No database of ours stores a NUL in a text.
        Ok(text) => into.extend(text.chars().filter(|char| *char != '\0')),
        // Half of a surrogate pair is no text: it stays as it is written.
        Err(_) => into.push_str(inner),
    }
}

/// An object's members in order, their values unparsed.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(48);
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A name, borrowed where it holds no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sheet: &mut Sheet, page: &str) -> Batch {
        let mut batch = Batch::default();
        sheet.read(page.as_bytes(), &mut batch).unwrap();
        batch
    }

    fn rows(sheet: &Sheet, batch: &Batch) -> Vec<BTreeMap<String, String>> {
        let row = |row| {
            let cells = sheet.columns.iter().enumerate();
            cells
                .filter_map(|(at, column)| {
                    Some((column.name.clone(), batch.cell(row, at)?.to_owned()))
                })
                .collect()
        };
        (0..batch.len()).map(row).collect()
    }

    fn row(cells: &[(&str, &str)]) -> BTreeMap<String, String> {
        cells.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn given_records_in_other_orders_than_the_columns_when_read_then_each_field_finds_its_column() {
        let mut sheet = Sheet::new("deals", "id");
        for field in ["title", "value", "id", "stage"] {
            sheet.insert(field, field, None);
        }

        let batch = read(
            &mut sheet,
            r#"[{"id":1,"stage":2,"title":"a","value":3},
                {"id":2,"title":"b","value":4},
                {"value":5,"id":3,"new":6,"title":"c"},
                {"id":4,"stage":7,"title":"d","value":8,"new":9}]"#,
        );

        assert_eq!(
            rows(&sheet, &batch),
            [
                row(&[("id", "1"), ("stage", "2"), ("title", "a"), ("value", "3")]),
                row(&[("id", "2"), ("title", "b"), ("value", "4")]),
                row(&[("id", "3"), ("new", "6"), ("title", "c"), ("value", "5")]),
                row(&[("id", "4"), ("new", "9"), ("stage", "7"), ("title", "d"), ("value", "8")]),
            ]
        );
    }

    #[test]
    fn given_records_when_read_then_fields_parts_and_custom_fields_are_columns() {
        let mut sheet = Sheet::new("deals", "id");
        sheet.labels.insert("5e1f".into(), "Budget".into());

        let batch = read(
            &mut sheet,
            r#"[{"id":1,"title":"A\tb","value":1.50,"won":null,"address":{"locality":"Bonn"},"custom_fields":{"5e1f":{"value":7,"currency":"EUR"}}},
                {"id":2,"won":"2024-01-31T10:00:00Z","title":"","deep":{"a":{"b":1}}}]"#,
        );

        assert_eq!(
            rows(&sheet, &batch),
            [
                row(&[
                    ("id", "1"),
                    ("title", "A\tb"),
                    ("value", "1.50"),
                    ("address_locality", "Bonn"),
                    ("budget_value", "7"),
                    ("budget_currency", "EUR")
                ]),
                row(&[
                    ("id", "2"),
                    ("won", "2024-01-31T10:00:00Z"),
                    ("title", ""),
                    ("deep_a", "{\"b\":1}")
                ]),
            ]
        );
        let shape = |name: &str| sheet.columns.iter().find(|it| it.name == name).unwrap().shape;
        assert_eq!(shape("value"), Some(Shape::Number));
        assert_eq!(shape("won"), Some(Shape::Timestamp));
        assert_eq!(shape("deep_a"), Some(Shape::Json));
    }

    #[test]
    fn given_lists_when_read_then_each_is_a_table_of_its_own() {
        let mut sheet = Sheet::new("persons", "id");

        let batch = read(
            &mut sheet,
            r#"[{"id":7,"emails":[{"value":"a@x","primary":true},{"value":"b@x","label":"work"}],"label_ids":[3,4],"none":[]}]"#,
        );

        let emails = rows(&sheet.children["emails"], &batch.children["emails"]);
        assert_eq!(sheet.children["emails"].table, "persons_emails");
        assert_eq!(
            emails,
            [
                row(&[
                    ("parent_id", "7"),
                    ("position", "0"),
                    ("value", "a@x"),
                    ("primary", "true")
                ]),
                row(&[("parent_id", "7"), ("position", "1"), ("value", "b@x"), ("label", "work")]),
            ]
        );
        let labels = rows(&sheet.children["label_ids"], &batch.children["label_ids"]);
        assert_eq!(labels[1], row(&[("parent_id", "7"), ("position", "1"), ("value", "4")]));
        assert!(!sheet.children.contains_key("none"));
    }

    #[test]
    fn given_values_of_other_types_when_read_then_the_column_widens_and_no_value_is_lost() {
        let mut sheet = Sheet::new("t", "id");

        let batch = read(
            &mut sheet,
            r#"[{"id":1,"x":1,"d":"2024-01-31"},{"id":2,"x":1.5,"d":""},{"id":3,"x":"so","d":null}]"#,
        );

        let texts: Vec<_> = (0..3).map(|at| batch.cell(at, 1)).collect();
        assert_eq!(texts, [Some("1"), Some("1.5"), Some("so")]);
        assert_eq!(sheet.columns[1].shape, Some(Shape::Text));
        assert_eq!(sheet.columns[2].shape, Some(Shape::Date));
    }

    #[test]
    fn given_a_closed_sheet_when_new_fields_appear_then_they_are_left_out() {
        let mut sheet = Sheet::new("t", "id");
        read(&mut sheet, r#"[{"id":1}]"#);
        sheet.closed = true;

        let batch = read(&mut sheet, r#"[{"id":2,"new":3,"list":[1]}]"#);

        assert_eq!(rows(&sheet, &batch), [row(&[("id", "2")])]);
        assert!(batch.children.is_empty());
    }

    #[test]
    fn given_a_record_twice_when_read_then_its_last_version_and_its_last_lists_live() {
        let mut sheet = Sheet::new("t", "id");

        let batch = read(
            &mut sheet,
            r#"[{"id":1,"l":[1,2]},{"id":2,"l":[3]},{"id":1,"l":[4]},{"name":"no id"}]"#,
        );

        assert_eq!(batch.living().collect::<Vec<_>>(), [1, 2]);
        let lists = &batch.children["l"];
        let living: Vec<_> = lists.living().map(|row| lists.cell(row, 2).unwrap()).collect();
        assert_eq!(living, ["3", "4"]);
        assert_eq!(batch.keyless, 1);
    }

    #[test]
    fn given_no_array_of_records_when_read_then_it_is_an_error() {
        for page in ["{}", "[1]", "[{\"id\":1}", ""] {
            assert!(Sheet::new("t", "id").read(page.as_bytes(), &mut Batch::default()).is_err());
        }
    }
}
