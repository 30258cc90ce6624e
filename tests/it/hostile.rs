//! Input that nobody meant well: broken files, broken decisions, broken answers. A bounded run of the fuzz targets.

use std::sync::Arc;

use crmsync_simulator::clock::Clock;
use crmsync_simulator::host::{Call, Service};
use proptest::prelude::*;

#[path = "../../fuzz/targets.rs"]
mod targets;

const MAPPINGS: [&str; 3] = [
    include_str!("../../mappings/zoho-pipedrive/contact.toml"),
    include_str!("../../mappings/zoho-pipedrive/account.toml"),
    include_str!("../../mappings/zoho-pipedrive/deal.toml"),
];
const CONFIG: &str = include_str!("../../templates/init/crmsync.toml");
const EXPRESSIONS: [&str; 3] = [
    "'Dear ' ~ first_name",
    "[first_name, phone ~ ' ' ~ amount]|map('trim')|select|join(', ')",
    "'won' if amount > 3 else ('lost' if 'a' in tags else 'open')",
];
const DECISIONS: &str = "row_id,fingerprint,choice,value\nr1,f1,left,\nr2,f2,value,\"a, b\"\n";

/// A text as it was written, then damaged: pieces cut out, doubled, swapped for others.
fn damaged(texts: Vec<String>) -> impl Strategy<Value = String> {
    let pieces =
        vec!["[", "]", "\"", "'", "=", "\u{0}", "é", "\r\n", "{{", "}}", "-1", "1e999", "|"];
    let one = (any::<prop::sample::Index>(), 0..20usize, prop::sample::select(pieces));
    (prop::sample::select(texts), prop::collection::vec(one, 0..6)).prop_map(|(text, damages)| {
        let mut all: Vec<char> = text.chars().collect();
        for (at, length, piece) in damages {
            let from = at.index(all.len().max(1)).min(all.len());
            let to = (from + length).min(all.len());
            all.splice(from..to, piece.chars());
        }
        all.into_iter().collect()
    })
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Real answers of both CRMs, then damaged.
fn real_answers() -> Vec<String> {
    let clock = Clock::standing("2026-03-02T09:00:00Z".parse().unwrap());
    let (zoho, pipedrive) = crmsync::sandbox::two_companies(&clock, &clock, 7);
    crmsync::sandbox::companies::seed_demo(&zoho, &pipedrive);
    let call = |path: &str, headers: &[(&'static str, String)]| Call {
        method: "GET".into(),
        path: path.into(),
        query: vec![
            ("fields".into(), "Last_Name,Email,Modified_Time".into()),
            ("per_page".into(), "2".into()),
            ("limit".into(), "2".into()),
        ],
        headers: headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect(),
        body: bytes::Bytes::new(),
        origin: "http://side.example".into(),
        fault: None,
    };
    let token = format!("Zoho-oauthtoken {}", zoho.access_token("ZohoCRM.modules.ALL"));
    let calls = [
        (
            Arc::clone(&zoho) as Arc<dyn Service>,
            call("/crm/v8/Contacts", &[("authorization", token)]),
        ),
        (
            Arc::clone(&pipedrive) as _,
            call("/api/v2/persons", &[("x-api-token", pipedrive.api_token())]),
        ),
    ];
    let written = [
        r#"{"data":[{"code":"SUCCESS","details":{"id":"1","Modified_Time":"2026-03-02T10:00:00+01:00"},"message":"record added","status":"success"},{"code":"DUPLICATE_DATA","details":{"api_name":"Email","id":"22"},"message":"duplicate data","status":"error"}]}"#,
        r#"{"success":true,"data":{"id":1,"update_time":"2026-03-02T10:00:00Z","is_deleted":false}}"#,
        r#"{"success":false,"error":"Validation failed","error_info":"name is required"}"#,
    ];
    let read = calls
        .iter()
        .map(|(side, call)| String::from_utf8(side.answer(call).body.to_vec()).unwrap());
    read.chain(owned(&written)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn given_a_damaged_mapping_when_read_then_it_is_refused_or_understood(text in damaged(owned(&MAPPINGS))) {
        targets::mapping(&text);
    }

    #[test]
    fn given_a_damaged_configuration_when_read_then_it_is_refused_or_understood(text in damaged(owned(&[CONFIG]))) {
        targets::config(&text);
    }

    #[test]
    fn given_a_damaged_expression_when_evaluated_then_it_ends(text in damaged(owned(&EXPRESSIONS))) {
        targets::expression(&text);
    }

    #[test]
    fn given_damaged_decisions_when_read_then_none_is_made_up(text in damaged(owned(&[DECISIONS]))) {
        targets::decisions(&text);
    }

    #[test]
    fn given_any_text_when_read_then_nothing_breaks(text in any::<String>()) {
        targets::mapping(&text);
        targets::config(&text);
        targets::expression(&text);
        targets::decisions(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn given_damaged_answers_when_decoded_then_each_row_has_a_result_and_nothing_breaks(
        (status, body) in (any::<u8>(), damaged(real_answers()))
    ) {
        let _ = rustls::crypto::ring::default_provider().install_default();

        targets::answers(&[&[status], body.as_bytes()].concat());
    }
}
