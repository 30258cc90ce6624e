//! Which records a list shows, in which order, page by page.

use std::collections::BTreeSet;
use std::ops::Bound;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::table::{Row, Table, seconds};

/// Order of a list. Source: Zoho CRM API v8, "Get records", `sort_by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Id,
    Created,
    Modified,
}

impl Sort {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "id" => Some(Self::Id),
            "Created_Time" => Some(Self::Created),
            "Modified_Time" => Some(Self::Modified),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Created => "Created_Time",
            Self::Modified => "Modified_Time",
        }
    }

    fn key(self, row: &Row) -> i64 {
        match self {
            Self::Id => 0,
            Self::Created => seconds(row.created),
            Self::Modified => seconds(row.modified),
        }
    }
}

/// Place of a row in a list: its sort key and its id.
pub(super) type Place = (i64, u64);

/// Which rows of a table, in which order.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) sort: Sort,
    pub(super) ascending: bool,
    /// Modified in this second or later.
    pub(super) since: Option<i64>,
    /// Leads only: converted ones, others, or (`None`) both.
    pub(super) converted: Option<bool>,
    pub(super) ids: Option<BTreeSet<u64>>,
}

/// Beyond this many changed rows a list by id walks the table instead of sorting them.
const SORTED_AT_ONCE: usize = 4_000;

type Places<'a> = Box<dyn Iterator<Item = &'a Row> + 'a>;

impl Selection {
    /// Rows after `after`, lazily: a page costs its own length.
    pub(super) fn rows<'a>(&'a self, table: &'a Table, after: Option<Place>) -> Places<'a> {
        let rows = self.ordered(table, after);
        Box::new(rows.filter(|row| self.admits(row)))
    }

    pub(super) fn place(&self, row: &Row) -> Place {
        (self.sort.key(row), row.id)
    }

    fn admits(&self, row: &Row) -> bool {
        let converted = row.fields.get("Converted__s") == Some(&Value::Bool(true));
        self.since.is_none_or(|since| seconds(row.modified) >= since)
            && self.converted.is_none_or(|wanted| wanted == converted)
    }

    fn ordered<'a>(&'a self, table: &'a Table, after: Option<Place>) -> Places<'a> {
        if let Some(ids) = &self.ids {
            return self.sorted(ids.iter().filter_map(|id| table.get(*id)).collect(), after);
        }
        match self.sort {
            Sort::Id => self.by_id(table, after),
            Sort::Created => self.by_index(table, table.by_created(), i64::MIN, after),
            Sort::Modified => {
                self.by_index(table, table.by_modified(), self.since.unwrap_or(i64::MIN), after)
            }
        }
    }

    fn by_id<'a>(&'a self, table: &'a Table, after: Option<Place>) -> Places<'a> {
        if let Some(since) = self.since {
            let changed = || table.by_modified().range((since, 0)..);
            if changed().nth(SORTED_AT_ONCE).is_none() {
                return self
                    .sorted(changed().filter_map(|(_, id)| table.get(*id)).collect(), after);
            }
        }
        let after = after.map(|(_, id)| id);
        if self.ascending {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            Box::new(table.rows().range((start, Bound::Unbounded)).map(|(_, row)| row))
        } else {
            let end = after.map_or(Bound::Unbounded, Bound::Excluded);
            Box::new(table.rows().range((Bound::Unbounded, end)).rev().map(|(_, row)| row))
        }
    }

    fn by_index<'a>(
        &self,
        table: &'a Table,
        index: &'a BTreeSet<Place>,
        floor: i64,
        after: Option<Place>,
    ) -> Places<'a> {
        let row = |place: &Place| table.get(place.1);
        if self.ascending {
            let start = after
                .filter(|after| *after >= (floor, 0))
                .map_or(Bound::Included((floor, 0)), Bound::Excluded);
            Box::new(index.range((start, Bound::Unbounded)).filter_map(row))
        } else {
            let end = after.map_or(Bound::Unbounded, Bound::Excluded);
            if after.is_some_and(|after| after <= (floor, 0)) {
                return Box::new(std::iter::empty());
            }
            Box::new(index.range((Bound::Included((floor, 0)), end)).rev().filter_map(row))
        }
    }

    fn sorted<'a>(&self, mut rows: Vec<&'a Row>, after: Option<Place>) -> Places<'a> {
        rows.sort_by_key(|row| self.place(row));
        if !self.ascending {
            rows.reverse();
        }
        let (sort, ascending) = (self.sort, self.ascending);
        Box::new(rows.into_iter().skip_while(move |row| {
            let place = (sort.key(row), row.id);
            after.is_some_and(|after| if ascending { place <= after } else { place >= after })
        }))
    }
}

/// Where a page token points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bookmark {
    /// Last place of the page before; none at the very start.
    pub(super) after: Option<Place>,
    /// The same for the page before that one.
    pub(super) before: Option<Place>,
    /// Rows shown so far.
    pub(super) served: u64,
    /// Number of the page the token leads to.
    pub(super) page: u64,
    /// Millisecond after which it is refused.
    pub(super) expires: i64,
}

/// What a token holds good for: its user and the call's parameters.
pub(super) struct Binding<'a> {
    pub(super) seed: u64,
    pub(super) user: u64,
    pub(super) parameters: &'a str,
}

/// Rows that tokens lead to, in all.
pub(super) const TOKEN_ROWS: u64 = 100_000;

impl Binding<'_> {
    pub(super) fn seal(&self, bookmark: &Bookmark) -> String {
        let place =
            |place: Option<Place>| place.map_or("-".into(), |(key, id)| format!("{key}:{id}"));
        let Bookmark { after, before, served, page, expires } = *bookmark;
        let parameters = &blake3::hash(self.parameters.as_bytes()).to_hex()[..16];
        let text = format!(
            "{} {parameters} {} {} {served} {page} {expires}",
            self.user,
            place(after),
            place(before)
        );
        URL_SAFE_NO_PAD.encode(format!("{text} {}", self.mark(&text)))
    }

    /// Opens a token of this user for these parameters.
    pub(super) fn open(&self, token: &str, now: i64) -> Result<Bookmark, Refusal> {
        let unknown = || Refusal::invalid_param("page_token");
        let text =
            URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(unknown)?;
        let (text, mark) = text.rsplit_once(' ').ok_or_else(unknown)?;
        let parts: Vec<&str> = text.split(' ').collect();
        let [user, parameters, after, before, served, page, expires] = parts[..] else {
            return Err(unknown());
        };
        if mark != self.mark(text) || user != self.user.to_string() {
            return Err(unknown());
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| unknown());
        let expires = expires.parse::<i64>().map_err(|_| unknown())?;
        if now > expires {
            return Err(Refusal::new(
                400,
                "EXPIRED_VALUE",
                "the page token is expired",
                json!({ "param_name": "page_token" }),
            ));
        }
        if parameters != &blake3::hash(self.parameters.as_bytes()).to_hex()[..16] {
            let message = "the parameters do not match those of the page token";
            return Err(Refusal::new(
                400,
                "TOKEN_BOUND_DATA_MISMATCH",
                message,
                json!({ "param_name": "page_token" }),
            ));
        }
        let place = |text: &str| {
            let (key, id) = text.split_once(':')?;
            Some((key.parse().ok()?, id.parse().ok()?))
        };
        Ok(Bookmark {
            after: place(after),
            before: place(before),
            served: number(served)?,
            page: number(page)?,
            expires,
        })
    }

    fn mark(&self, text: &str) -> String {
        blake3::hash(format!("page token {} {text}", self.seed).as_bytes()).to_hex()[..16]
            .to_owned()
    }
}
