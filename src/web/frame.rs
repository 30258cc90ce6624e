//! What all pages share: the frame around them, the style, and a word on what was just done.

use std::fmt;

use askama::Template;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use chrono::{DateTime, Utc};

use super::auth::Visitor;
use super::problem::Problem;
use crate::store::Role;

/// The cookie that carries a word from a form to the page that follows.
const SAID: &str = "crmsync_said";
const STYLE: &str = include_str!("style.css");
/// Two halves that meet.
const ICON: &str = concat!(
    r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#0b57d0" d="M8 1a7 7 0 0 0 0 14z"/>"##,
    r##"<path fill="#1f7a44" d="M8 1a7 7 0 0 1 0 14z"/></svg>"##
);
const SCRIPT: &str = include_str!("script.js");

/// The frame of a page.
pub(super) struct Frame {
    pub(super) title: &'static str,
    /// The address of this page's entry in the menu.
    pub(super) here: &'static str,
    pub(super) who: String,
    pub(super) role: Role,
    pub(super) proof: String,
    /// What was just done.
    pub(super) said: Option<String>,
    /// Seconds after which a browser without scripts loads the page again.
    pub(super) refresh: Option<u32>,
}

impl Frame {
    pub(super) fn new(
        title: &'static str,
        here: &'static str,
        visitor: &Visitor,
        jar: &CookieJar,
    ) -> Self {
        let said = jar.get(SAID).map(|cookie| {
            let plain = url::form_urlencoded::parse(cookie.value().as_bytes()).next();
            plain.map(|(text, _)| text.into_owned()).unwrap_or_default()
        });
        Self {
            title,
            here,
            who: visitor.name.clone(),
            role: visitor.role,
            proof: visitor.proof.clone(),
            said,
            refresh: None,
        }
    }

    /// The menu: address, text, and whether the page is this one.
    pub(super) fn menu(&self) -> Vec<(&'static str, &'static str, bool)> {
        let all = [
            ("/", "Overview", Role::Viewer),
            ("/conflicts", "Conflicts", Role::Viewer),
            ("/failures", "Failures", Role::Viewer),
            ("/runs", "Runs", Role::Viewer),
            ("/records", "Records", Role::Viewer),
            ("/connections", "Connections", Role::Viewer),
            ("/trail", "Trail", Role::Operator),
        ];
        all.into_iter()
            .filter(|(_, _, role)| *role <= self.role)
            .map(|(path, text, _)| (path, text, path == self.here))
            .collect()
    }

    pub(super) fn reviews(&self) -> bool {
        self.role >= Role::Reviewer
    }

    pub(super) fn operates(&self) -> bool {
        self.role >= Role::Operator
    }
}

/// A rendered page. What was said is said once.
pub(super) fn show(page: &impl Template, jar: CookieJar) -> Result<Response, Problem> {
    let html = page.render().map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the page does not render: {error}"),
        )
    })?;
    let jar = if jar.get(SAID).is_some() { jar.remove(Cookie::build(SAID).path("/")) } else { jar };
    Ok((jar, Html(html)).into_response())
}

/// Goes to a page that says what was done.
pub(super) fn say(jar: CookieJar, text: &str, to: &str) -> Response {
    let mut cookie = Cookie::new(SAID, escaped(text));
    cookie.set_path("/");
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Strict);
    (jar.add(cookie), Redirect::to(to)).into_response()
}

/// A text as a part of an address.
pub(super) fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The style and the script, which pages do without.
pub(super) async fn asset(Path(file): Path<String>) -> Response {
    let (kind, body) = match file.as_str() {
        "style.css" => ("text/css; charset=utf-8", STYLE),
        "icon.svg" => ("image/svg+xml", ICON),
        "script.js" => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return Problem::not_found("such file").into_response(),
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("max-age=300")),
    ];
    (headers, body).into_response()
}

pub(super) async fn not_found(uri: Uri) -> Response {
    Problem::not_found(&format!("page {}", uri.path())).answer(uri.path().starts_with("/api/"))
}

/// An instant that the script shows on the viewer's clock.
pub(super) struct Instant(pub(super) DateTime<Utc>);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (machine, person) =
            (self.0.format("%Y-%m-%dT%H:%M:%SZ"), self.0.format("%Y-%m-%d %H:%M:%S UTC"));
        write!(f, "<time datetime=\"{machine}\">{person}</time>")
    }
}
