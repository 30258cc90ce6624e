//! A simulated organisation at a standing clock, and short ways to call it.

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_simulator::clock::Clock;
use crmsync_simulator::fault::Fault;
use crmsync_simulator::host::{Call, Reply, Service};
use crmsync_simulator::zoho::{Settings, Zoho};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

pub(crate) const ALL: &str = "ZohoCRM.modules.ALL,ZohoCRM.settings.ALL,ZohoCRM.users.READ,ZohoCRM.org.READ,ZohoCRM.coql.READ,\
    ZohoSearch.securesearch.READ,ZohoCRM.notifications.ALL,ZohoCRM.bulk.ALL,ZohoCRM.files.ALL";

pub(crate) struct Desk {
    pub(crate) zoho: Zoho,
    pub(crate) clock: Clock,
    token: String,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) reply: Reply,
}

impl Desk {
    pub(crate) fn open() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let clock = Clock::standing(at("2026-03-10T09:00:00Z"));
        let mut settings = Settings::new(clock.clone(), 7);
        change(&mut settings);
        let zoho = Zoho::new(settings);
        let token = zoho.access_token(ALL);
        Self { zoho, clock, token }
    }

    pub(crate) fn wait(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// Takes a new access token: an hour has gone by.
    pub(crate) fn renew(&mut self) {
        self.token = self.zoho.access_token(ALL);
    }

    pub(crate) fn get(&self, path: &str) -> Answered {
        self.call("GET", path, &[], &Value::Null)
    }

    pub(crate) fn get_since(&self, path: &str, since: &str) -> Answered {
        self.call("GET", path, &[("if-modified-since", since)], &Value::Null)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answered {
        self.call("POST", path, &[], body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Answered {
        self.call("PUT", path, &[], body)
    }

    pub(crate) fn delete(&self, path: &str) -> Answered {
        self.call("DELETE", path, &[], &Value::Null)
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answered {
        let authorization = format!("Zoho-oauthtoken {}", self.token);
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        self.raw(method, path, &all, body, None)
    }

    pub(crate) fn faulty(&self, method: &str, path: &str, body: &Value, fault: Fault) -> Answered {
        let authorization = format!("Zoho-oauthtoken {}", self.token);
        self.raw(method, path, &[("authorization", &authorization)], body, Some(fault))
    }

    /// Asks for tokens with a form of parts.
    pub(crate) fn token_in_parts(&self, fields: &[(&str, &str)]) -> Answered {
        let parts = fields.iter().fold(String::new(), |text, (name, value)| {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"");
            format!("{text}--line\r\n{head}\r\n\r\n{value}\r\n")
        });
        let kind = [("content-type", "multipart/form-data; boundary=line")];
        self.send("POST", "/oauth/v2/token", &kind, format!("{parts}--line--\r\n").into(), None)
    }

    /// Sends one part of a form: a file.
    pub(crate) fn upload(&self, path: &str, name: &str, content: &str) -> Answered {
        let body = format!(
            "--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: text/plain\r\n\r\n{content}\r\n--line--\r\n"
        );
        let authorization = format!("Zoho-oauthtoken {}", self.token);
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "multipart/form-data; boundary=line"),
        ];
        self.send("POST", path, &headers, body.into(), None)
    }

    pub(crate) fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
        fault: Option<Fault>,
    ) -> Answered {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, headers, body.into(), fault)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: bytes::Bytes,
        fault: Option<Fault>,
    ) -> Answered {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(
                HeaderName::from_bytes(name.as_bytes()).expect("tests name headers well"),
                HeaderValue::from_str(value).expect("tests send plain headers"),
            );
        }
        let path = match path.strip_prefix("/bulk") {
            Some(rest) => format!("/crm/bulk/v8{rest}"),
            None if path.starts_with("/oauth") => path.to_owned(),
            None => format!("/crm/v8{path}"),
        };
        let call = Call {
            method: method.into(),
            path,
            query: crmsync_simulator::host::pairs(query),
            headers: map,
            body,
            origin: "http://zoho.test".into(),
            fault,
        };
        let reply = self.zoho.answer(&call);
        let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        Answered { status: reply.status, body, reply }
    }
}

impl Answered {
    /// Code of the first row, or of the call.
    pub(crate) fn code(&self) -> &str {
        self.body
            .pointer("/data/0/code")
            .or(self.body.get("code"))
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or("")
    }

    pub(crate) fn id(&self) -> String {
        self.text("/data/0/details/id").to_owned()
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        let rows = self.body["data"].as_array().cloned().unwrap_or_default();
        let id = |row: &Value| row["id"].as_str().and_then(|id| id.parse().ok());
        rows.iter().map(|row| id(row).expect("each row has an id")).collect()
    }
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("tests write instants well")
}
