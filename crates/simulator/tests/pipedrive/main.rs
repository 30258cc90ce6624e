//! Pipedrive, asked in process: calls and answers, a file a subject.

#![expect(clippy::unwrap_used, reason = "what is missing fails the test")]

mod access;
mod beside;
mod events;
mod feeds;
mod reading;
mod retired;
mod switches;
mod tied;
mod writing;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use crmsync_simulator::clock::Clock;
use crmsync_simulator::host::{Call, Reply, Service, pairs};
use crmsync_simulator::pipedrive::{Pipedrive, Settings};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// A company at a standing clock.
pub(crate) struct Desk {
    pub(crate) pipedrive: Pipedrive,
    pub(crate) clock: Clock,
    headers: HeaderMap,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut Settings)) -> Self {
        let start: DateTime<Utc> = "2026-05-15T10:00:00.250Z".parse().unwrap();
        let clock = Clock::standing(start);
        let mut settings = Settings::new(clock.clone(), 7);
        adjust(&mut settings);
        let pipedrive = Pipedrive::new(settings);
        let mut desk = Self { pipedrive, clock, headers: HeaderMap::new() };
        let token = desk.pipedrive.api_token();
        desk.set("x-api-token", &token);
        desk
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let name: HeaderName = name.parse().unwrap();
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.headers.remove(name);
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    pub(crate) fn call(&self, line: &str, body: impl Into<Bytes>) -> Call {
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Call {
            method: method.into(),
            path: path.into(),
            query: pairs(query),
            headers: self.headers.clone(),
            body: body.into(),
            origin: "http://127.0.0.1:1".into(),
            fault: None,
        }
    }

    pub(crate) fn ask(&self, line: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.pipedrive.answer(&self.call(line, body))
    }

    /// Sends a form of parts: a file and what it hangs on.
    pub(crate) fn upload(
        &self,
        line: &str,
        name: &str,
        content: &str,
        links: &[(&str, i64)],
    ) -> Value {
        let mut body = format!(
            "--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: text/plain\r\n\r\n{content}\r\n"
        );
        for (key, id) in links {
            let head = format!("Content-Disposition: form-data; name=\"{key}\"");
            body = format!("{body}--line\r\n{head}\r\n\r\n{id}\r\n");
        }
        body.push_str("--line--\r\n");
        let mut call = self.call(line, body);
        let form = HeaderValue::from_static("multipart/form-data; boundary=line");
        call.headers.insert("content-type", form);
        let reply = self.pipedrive.answer(&call);
        serde_json::from_slice(&reply.body).unwrap_or_default()
    }

    /// The answer's status and JSON.
    pub(crate) fn json(&self, line: &str, body: &Value) -> (u16, Value) {
        let reply = self.ask(line, body);
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    /// The JSON of a call that must succeed.
    pub(crate) fn ok(&self, line: &str, body: &Value) -> Value {
        let (status, json) = self.json(line, body);
        assert!(status < 300 && json["success"] == true, "{line} {body}: {status} {json}");
        json
    }

    pub(crate) fn get(&self, line: &str) -> Value {
        self.ok(&format!("GET {line}"), &Value::Null)
    }

    pub(crate) fn ids(&self, line: &str) -> Vec<i64> {
        self.get(line)["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_i64().unwrap())
            .collect()
    }
}
