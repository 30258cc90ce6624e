//! Signing in and out.

use std::net::SocketAddr;
use std::sync::Arc;

use askama::Template;
use axum::extract::{ConnectInfo, Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::{Cookie, SameSite};
use chrono::TimeDelta;
use serde::Deserialize;

use super::App;
use super::auth::{COOKIE, address, is_same_origin};
use super::problem::Problem;
use crate::service::people::{digest, hash_password, is_password};

#[derive(Template)]
#[template(path = "web/sign_in.html")]
struct Page<'a> {
    next: &'a str,
    name: &'a str,
    problem: Option<&'a str>,
    /// Nobody can sign in yet.
    nobody: bool,
}

#[derive(Deserialize)]
pub(super) struct Place {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn form(
    State(app): State<Arc<App>>,
    Query(place): Query<Place>,
) -> Result<Response, Problem> {
    let nobody = app.store().people().await?.is_empty();
    let page = Page { next: own_page(&place.next), name: "", problem: None, nobody };
    Ok(Html(page.render().unwrap_or_default()).into_response())
}

pub(super) async fn sign_in(
    State(app): State<Arc<App>>,
    from: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    jar: CookieJar,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let refuse = |status: StatusCode, problem: &str| {
        let page = Page {
            next: own_page(&entry.next),
            name: &entry.name,
            problem: Some(problem),
            nobody: false,
        };
        (status, Html(page.render().unwrap_or_default())).into_response()
    };
    if !is_same_origin(&headers) {
        return Ok(refuse(StatusCode::FORBIDDEN, "Sign in on this page, not from another site."));
    }
    if !app.attempts.may_try(&entry.name, address(&from)) {
        tracing::warn!(address = %address(&from), "too many sign-ins");
        return Ok(refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many tries. Wait a minute, then try again.",
        ));
    }
    let person = app.store().person(&entry.name).await?;
    let known = person.as_ref().map(|person| person.password.clone());
    let password = entry.password.clone();
    // A name that nobody has takes as long as a wrong password.
    let right = tokio::task::spawn_blocking(move || {
        if let Some(hash) = known {
            return is_password(&password, &hash);
        }
        let _ = hash_password(&format!("{password:10}"), &[0; 32]);
        false
    });
    let right = right.await.unwrap_or(false);
    let Some(person) = person.filter(|_| right) else {
        tracing::warn!(address = %address(&from), "sign-in refused");
        return Ok(refuse(StatusCode::UNAUTHORIZED, "Name or password is wrong."));
    };
    let cookie = blake3::hash(&(app.random)()).to_hex().to_string();
    let (now, lasts) = (app.now(), app.config().serve.sign_in_for);
    let until = now + TimeDelta::from_std(lasts).unwrap_or(TimeDelta::hours(12));
    app.store().save_session(&digest(&cookie), &person.name, now, until).await?;
    app.note(&person.name, "sign-in", address(&from).to_string()).await?;
    let mut cookie = Cookie::new(COOKIE, cookie);
    cookie.set_path("/");
    cookie.set_http_only(true);
    cookie.set_secure(app.is_public());
    // A link in an e-mail leads to the page it names; forms carry a proof of their own.
    cookie.set_same_site(SameSite::Lax);
    Ok((jar.add(cookie), Redirect::to(own_page(&entry.next))).into_response())
}

pub(super) async fn sign_out(
    State(app): State<Arc<App>>,
    jar: CookieJar,
) -> Result<Response, Problem> {
    if let Some(cookie) = jar.get(COOKIE) {
        app.store().end_session(&digest(cookie.value())).await?;
    }
    let jar = jar.remove(Cookie::build(COOKIE).path("/"));
    Ok((jar, Redirect::to("/sign-in")).into_response())
}

/// A path of this server; anything else would lead a person elsewhere.
fn own_page(next: &str) -> &str {
    let is_path =
        next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\n', '\r']);
    if is_path { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_place_to_go_to_when_it_is_elsewhere_then_the_overview_is_shown() {
        let cases = [
            ("/conflicts?route=crm", "/conflicts?route=crm"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("", "/"),
        ];
        for (next, expected) in cases {
            assert_eq!(own_page(next), expected);
        }
    }
}
