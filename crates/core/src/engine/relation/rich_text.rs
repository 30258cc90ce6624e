//! HTML and plain text: `text(l) = r`. HTML is compared after sanitizing, text by its lines.

use std::collections::BTreeMap;

use html2text::config;
use html2text::render::TrivialDecorator;

use super::{Translation, number, text};
use crate::model::{Code, Pair, Side, Value};

/// Wide enough that no line of a CRM's note is wrapped.
const WIDTH: usize = 1_000_000;

pub(super) fn normalize(html: bool, value: &Value) -> Value {
    let value = text::normalize(value);
    match &value {
        Value::Text(raw) if html => sanitize(raw),
        Value::Text(_)
        | Value::Empty
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Set(_)
        | Value::List(_)
        | Value::Reference(_)
        | Value::Link(_) => value,
    }
}

/// Sanitizes HTML until sanitizing changes nothing more; HTML that never settles is kept as its text.
fn sanitize(raw: &str) -> Value {
    if is_too_deep(raw) {
        return Value::text(&to_html(&strip_tags(raw)));
    }
    let mut value = Value::text(&ammonia::clean(raw));
    for _ in 0..3 {
        let Value::Text(html) = &value else { return value };
        let again = Value::text(&ammonia::clean(html));
        if again == value {
            return blank_to_empty(value);
        }
        value = again;
    }
    Value::text(&to_html(&lines(&to_text(raw)).join("\n")))
}

/// Markup around nothing, such as the `<p></p>` of an emptied editor, is no content.
fn blank_to_empty(value: Value) -> Value {
    let blank = value
        .as_text()
        .is_some_and(|html| !html.contains("<img") && to_text(html).trim().is_empty());
    if blank { Value::Empty } else { value }
}

/// Returns the text of HTML, a paragraph a block of lines.
pub fn to_text(html: &str) -> String {
    if is_too_deep(html) {
        return strip_tags(html);
    }
    // A rule would be drawn over the whole width.
    let html = html.replace("<hr>", "<br>");
    let plain = config::with_decorator(TrivialDecorator::new())
        .allow_width_overflow()
        .raw_mode(true)
        .string_from_read(html.as_bytes(), WIDTH);
    match plain {
        Ok(plain) => Value::text(&plain).as_text().unwrap_or_default().to_owned(),
        // Only a width too small for the markup fails; the markup itself is then the text.
        Err(_) => html,
    }
}

/// Whether HTML nests deeper than any person's note: parsing it would take time without bound.
///
/// Elements that end by themselves do not count.
fn is_too_deep(html: &str) -> bool {
    const MAX_DEPTH: usize = 400;
    const SHALLOW: [&str; 14] = [
        "br", "hr", "img", "p", "li", "td", "th", "tr", "dt", "dd", "option", "input", "meta",
        "wbr",
    ];
    let mut depth = 0_usize;
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for (at, _) in html.match_indices('<') {
        let rest = &html[at + 1..];
        let (is_end, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = rest[..end].to_ascii_lowercase();
        if name.is_empty() || SHALLOW.contains(&name.as_str()) {
            continue;
        }
        // An end tag closes only an element of its name.
        let count = open.entry(name).or_default();
        if !is_end {
            *count += 1;
            depth += 1;
        } else if *count > 0 {
            *count -= 1;
            depth -= 1;
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

fn strip_tags(html: &str) -> String {
    let mut inside = false;
    let outside = |char: &char| {
        let was_inside = inside;
        inside = *char == '<' || (inside && *char != '>');
        !inside && !was_inside
    };
    html.chars().filter(outside).collect()
}

/// Returns HTML that reads as `text`: escaped, lines kept by `<br>`.
pub fn to_html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    escaped.replace('\n', "<br>")
}

/// Returns the lines that count for agreement: without outer or repeated white space, without blank lines.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect()
}

pub(super) fn agree(
    html: &Pair<bool>,
    limits: &Pair<Option<usize>>,
    left: &Value,
    right: &Value,
) -> bool {
    let (Value::Text(left), Value::Text(right)) = (left, right) else { return left == right };
    match (html.left, html.right) {
        (true, true) => left == right,
        (true, false) => reads_as(left, limits.right, right),
        (false, true) => reads_as(right, limits.left, left),
        (false, false) => {
            text::agree(limits, &Value::Text(left.clone()), &Value::Text(right.clone()))
        }
    }
}

fn reads_as(html: &str, limit: Option<usize>, plain: &str) -> bool {
    let full = to_text(html);
    lines(text::cut(&full, limit)) == lines(plain)
}

pub(super) fn translate(
    html: &Pair<bool>,
    limits: &Pair<Option<usize>>,
    target: Side,
    source: &Value,
    old: &Value,
) -> Translation {
    let Value::Text(source_text) = source else { return number::clear_or_hold(source) };
    let source_limit = limits[target.other()];
    match (html[target.other()], html[target]) {
        (false, false) => text::translate(limits, target, source, old),
        (true, true) => bounded(source.clone(), limits[target]),
        (true, false) => {
            Translation::Write(Value::text(text::cut(&to_text(source_text), limits[target])))
        }
        (false, true) if old.as_text().is_some_and(|old| loses(old, source_limit)) => {
            Translation::Hold(Code::LossyBackWrite)
        }
        (false, true) => bounded(sanitize(&to_html(source_text)), limits[target]),
    }
}

/// Refuses to cut HTML: half a tag is no text.
fn bounded(value: Value, limit: Option<usize>) -> Translation {
    let fits = value.as_text().is_none_or(|html| text::cut(html, limit) == html);
    if fits { Translation::Write(value) } else { Translation::Hold(Code::TooLong) }
}

/// Whether overwriting `html` with plain text would lose formatting, or text beyond the plain side's limit.
fn loses(html: &str, limit: Option<usize>) -> bool {
    let full = to_text(html);
    is_formatted(html) || text::cut(&full, limit) != full
}

/// Whether sanitized HTML says more than lines of text do.
fn is_formatted(html: &str) -> bool {
    const PLAIN: [&str; 6] = ["<p>", "</p>", "<br>", "<br/>", "<div>", "</div>"];
    html.match_indices('<').any(|(at, _)| !PLAIN.iter().any(|tag| html[at..].starts_with(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_markup_when_read_as_text_then_it_is_short_and_plain() {
        let cases = [
            ("rule", "a<hr>b", "a\nb"),
            ("list", "<ul><li>one</li><li>two</li></ul>", "one\ntwo"),
            ("link", "<a href=\"https://example.com\">here</a>", "here"),
            ("table", "<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>", "1\n2\n3"),
            ("entities", "a &amp; b&nbsp;c", "a & b c"),
            ("bold", "<b>a</b> <i>b</i>", "a b"),
            ("image", "<img src=\"https://example.com/x.png\" alt=\"logo\">", "logo"),
        ];

        for (case, html, expected) in cases {
            let text = to_text(html);
            assert_eq!(lines(&text).join("\n"), expected, "{case}");
            assert!(text.len() < 100, "{case}: {} bytes", text.len());
        }
    }

    #[test]
    fn given_deep_markup_when_normalized_then_it_ends() {
        let cases = [
            format!("{}deep{}", "<div><b>".repeat(20_000), "</b></div>".repeat(20_000)),
            format!("{}deep", "<div></p></span>".repeat(20_000)),
            "<ul><li>a<li>b</ul><p>c".repeat(200),
        ];

        for html in cases {
            let value = normalize(true, &Value::text(&html));
            assert_eq!(normalize(true, &value), value);
        }
    }
}
