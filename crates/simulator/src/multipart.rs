//! Bodies of `multipart/form-data`, as uploads send them.

use bytes::Bytes;

use crate::host::Call;

/// One part of a form.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Given for files only.
    pub(crate) file_name: Option<String>,
    pub(crate) content: Bytes,
}

impl Part {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// The parts of a call's body in order; `None` when it is no such form.
pub(crate) fn parts(call: &Call) -> Option<Vec<Part>> {
    let (kind, parameters) = call.header("content-type")?.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    let line = format!("--{}", boundary.trim_matches('"'));
    let (body, line) = (&call.body, line.as_bytes());
    let mut parts = Vec::new();
    let mut at = find(body, line, 0)? + line.len();
    while !body[at..].starts_with(b"--") {
        let end = find(body, line, at)?;
        parts.push(part(&body.slice(at..end))?);
        at = end + line.len();
    }
    Some(parts)
}

/// Headers, an empty line, the content and a line end.
fn part(bytes: &Bytes) -> Option<Part> {
    let split = find(bytes, b"\r\n\r\n", 0)?;
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let from = split + 4;
    let content = bytes.slice(from..bytes.len().saturating_sub(2).max(from));
    Some(Part { name: quoted(&head, " name=")?, file_name: quoted(&head, " filename="), content })
}

fn quoted(head: &str, key: &str) -> Option<String> {
    let (_, rest) = head.split_once(key)?;
    let text = match rest.strip_prefix('"') {
        Some(rest) => rest.split('"').next()?,
        None => rest.split([';', '\r']).next()?,
    };
    Some(text.to_owned())
}

fn find(bytes: &[u8], sought: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(sought.len()).position(|window| window == sought)?;
    Some(from + found)
}
