//! What an answer means: the status, then the words, then the token headers.

use std::time::Duration;

use serde::de::IgnoredAny;

use super::super::ErrorKind;
use super::super::http::{Answer, Verdict};
use super::wire::Envelope;

/// Longest reason passed on to people.
const MAX_REASON: usize = 200;

/// Judges an answer before anybody reads it; after a burst the wait is at least `window`, over which it counts.
pub(super) fn judge(answer: &Answer, window: Duration) -> Verdict {
    let status = answer.status.as_u16();
    let page = !answer.body.is_empty() && !answer.is_json();
    match status {
        204 => Verdict::Accept,
        200..=299 if page => Verdict::Broken(format!("a page instead of JSON, status {status}")),
        200..=299 if !is_whole(answer) => {
            Verdict::Broken(format!("no JSON object, or half of one, status {status}"))
        }
        200..=299 => Verdict::Accept,
        429 if tokens_left(answer) == Some(0) => {
            // Nobody tells in which time zone the day ends.
            Verdict::Refused(ErrorKind::BudgetExhausted { resets_at: None })
        }
        429 => Verdict::Throttled(Some(pause(answer).max(window))),
        501 => Verdict::Refused(ErrorKind::Misconfigured(format!(
            "the API has no such call, status {status}"
        ))),
        408 | 500..=599 => Verdict::Broken(format!("status {status}")),
        _ if page => Verdict::Refused(page_refusal(status)),
        _ => {
            let envelope = serde_json::from_slice(&answer.body).unwrap_or_default();
            Verdict::Refused(refuse(status, &envelope))
        }
    }
}

/// Whether the body is a JSON object to its end. A body that is cut short within its announced length shows only
/// here; `null` instead of an object was seen too.
fn is_whole(answer: &Answer) -> bool {
    let object = answer.body.trim_ascii_start().first() == Some(&b'{');
    object && serde_json::from_slice::<IgnoredAny>(&answer.body).is_ok()
}

/// Daily tokens that the company has left, where the answer tells.
pub(super) fn tokens_left(answer: &Answer) -> Option<u64> {
    answer.header("x-daily-ratelimit-token-remaining")?.trim().parse().ok()
}

/// Daily tokens of the company.
pub(super) fn tokens_a_day(answer: &Answer) -> Option<u64> {
    answer.header("x-daily-ratelimit-token-limit")?.trim().parse().ok()
}

fn pause(answer: &Answer) -> Duration {
    let reset = answer.header("x-ratelimit-reset").and_then(|seconds| seconds.trim().parse().ok());
    let reset = reset.map(Duration::from_secs);
    [reset, answer.retry_after()].into_iter().flatten().max().unwrap_or_default()
}

/// A page where JSON should be: the gateway or the firewall before the API.
fn page_refusal(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthorized("the token is not accepted".into()),
        402 => ErrorKind::Misconfigured(NOT_OPEN.into()),
        403 => ErrorKind::Misconfigured(
            "Pipedrive's firewall refuses this network address, as it does after too many calls; wait an hour, \
             lower the connection's burst limit and try again"
                .into(),
        ),
        404 | 410 => ErrorKind::Gone,
        _ => ErrorKind::Refused(format!("status {status} with a page instead of JSON")),
    }
}

const NOT_OPEN: &str = "the Pipedrive account is not open: its trial has ended, it is unpaid, or the feature is not bought";

/// What a refusal in JSON means. Source: "HTTP status codes", "OAuth status codes", "Responses".
pub(super) fn refuse(status: u16, envelope: &Envelope) -> ErrorKind {
    let reason = shortened(envelope.reason().unwrap_or("no reason given"));
    let code = envelope.code.as_ref().and_then(|code| code.as_str()).unwrap_or_default();
    match status {
        401 => ErrorKind::Unauthorized(
            "the token is not accepted; it may have been regenerated, or the app uninstalled"
                .into(),
        ),
        402 => ErrorKind::Misconfigured(format!("{NOT_OPEN} (Pipedrive says: {reason})")),
        403 if reason.contains("Scope and URL mismatch") => {
            ErrorKind::ScopeMissing("of this call; Pipedrive does not name it".into())
        }
        403 if code.starts_with("feature_capping") => {
            ErrorKind::Refused(format!("a limit of the Pipedrive plan is reached: {reason}"))
        }
        403 => ErrorKind::Forbidden(reason),
        404 | 410 => ErrorKind::Gone,
        405 | 415 => {
            ErrorKind::Misconfigured(format!("the API does not offer this call: {reason}"))
        }
        _ => {
            validation(&reason).or_else(|| by_field(envelope)).unwrap_or(ErrorKind::Refused(reason))
        }
    }
}

/// Reads `"errors": {"<field>": ["<reason>"]}`. Source: API v1 reference, "Create a new Webhook", 400.
fn by_field(envelope: &Envelope) -> Option<ErrorKind> {
    let (field, reason) = envelope.field()?;
    Some(ErrorKind::Invalid { field: field.to_owned(), reason: shortened(reason) })
}

/// Reads `Validation failed: <field>: <reason>`; of custom fields, the reason names the field.
fn validation(text: &str) -> Option<ErrorKind> {
    let (field, reason) = text.strip_prefix("Validation failed: ")?.split_once(": ")?;
    let named = reason.split(|mark: char| !mark.is_ascii_alphanumeric()).find(|word| is_code(word));
    let field = match (field, named) {
        ("custom_fields", Some(code)) => code,
        (field, _) => field.strip_prefix("custom_fields.").unwrap_or(field),
    };
    if reason.starts_with("Unknown key") {
        return Some(ErrorKind::UnknownName(format!("field `{field}`")));
    }
    Some(ErrorKind::Invalid { field: field.to_owned(), reason: reason.to_owned() })
}

/// Whether a word is a custom field's code: 40 hexadecimal digits.
fn is_code(word: &str) -> bool {
    word.len() == 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CODE: &str = "5e1fa0b37c9d4e2286d0a4f19b8a7c3d2e1f0a9b";

    fn envelope(error: &str) -> Envelope {
        serde_json::from_value(json!({ "success": false, "error": error, "data": null })).unwrap()
    }

    fn invalid(field: &str, reason: &str) -> ErrorKind {
        ErrorKind::Invalid { field: field.into(), reason: reason.into() }
    }

    #[test]
    fn given_refusals_when_read_then_each_says_what_may_be_done() {
        let expected_number =
            format!("Expected 'number' as value for organization custom field '{CODE}'");
        let cases = [
            (
                "a built-in field",
                400,
                "Validation failed: title: Required field is missing".to_owned(),
                invalid("title", "Required field is missing"),
            ),
            (
                "a custom field by its code",
                400,
                format!("Validation failed: custom_fields: {expected_number}"),
                invalid(CODE, &expected_number),
            ),
            (
                "a custom field that was deleted",
                400,
                format!("Validation failed: custom_fields: Unknown key '{CODE}'"),
                ErrorKind::UnknownName(format!("field `{CODE}`")),
            ),
            (
                "v1 words",
                400,
                "Name must be given.".into(),
                ErrorKind::Refused("Name must be given.".into()),
            ),
            ("visibility", 403, "Forbidden".into(), ErrorKind::Forbidden("Forbidden".into())),
            ("not there", 404, "Person not found".into(), ErrorKind::Gone),
            ("deleted", 410, String::new(), ErrorKind::Gone),
        ];

        for (name, status, error, expected) in cases {
            assert_eq!(refuse(status, &envelope(&error)), expected, "{name}");
        }
    }

    #[test]
    fn given_a_refused_webhook_when_read_then_its_field_is_named() {
        let unreachable = "invalid or non-reachable URL";
        let body = json!({
            "status": "error", "success": false, "errors": { "subscription_url": [unreachable] },
        });

        let kind = refuse(400, &serde_json::from_value(body).unwrap());

        assert_eq!(kind, invalid("subscription_url", unreachable));
    }

    #[test]
    fn given_a_wrong_account_when_refused_then_a_person_is_told() {
        let scope = refuse(403, &envelope("Scope and URL mismatch"));
        let unpaid = refuse(402, &envelope("Payment required"));
        let firewall = page_refusal(403);

        assert!(matches!(scope, ErrorKind::ScopeMissing(_)));
        assert!(matches!(unpaid, ErrorKind::Misconfigured(reason) if reason.contains("unpaid")));
        assert!(
            matches!(firewall, ErrorKind::Misconfigured(reason) if reason.contains("firewall"))
        );
    }
}
