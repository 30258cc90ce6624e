//! Values the server works out itself from those that were written.

use serde_json::{Map, Value, json};

use super::defaults;
use super::refusal::Refusal;
use super::state::State;

impl State {
    /// Fills what the server works out itself, and checks what depends on more than one field.
    pub(super) fn complete(
        &mut self,
        module: &str,
        fields: &mut Map<String, Value>,
        changed: &[String],
    ) -> Result<(), Refusal> {
        let sent = |name: &str| changed.iter().any(|field| field == name);
        match module {
            "Leads" | "Contacts" => {
                let part =
                    |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
                let full =
                    format!("{} {}", part("First_Name"), part("Last_Name")).trim().to_owned();
                fields.insert("Full_Name".into(), full.into());
            }
            "Deals" => {
                if sent("Stage") && !sent("Probability") && self.switches.stage_sets_probability {
                    let actual = self.actual_stage(
                        fields.get("Stage").and_then(Value::as_str).unwrap_or_default(),
                    );
                    fields.insert("Probability".into(), defaults::stage(&actual).1.into());
                }
                let number = |name: &str| fields.get(name).and_then(Value::as_f64);
                let expected = number("Amount")
                    .zip(number("Probability"))
                    .map(|(amount, chance)| amount * chance / 100.0);
                fields.remove("Expected_Revenue");
                fields
                    .extend(expected.map(|expected| ("Expected_Revenue".into(), expected.into())));
            }
            "Tasks" if sent("Status") => {
                fields.remove("Closed_Time");
                if fields.get("Status").and_then(Value::as_str) == Some("Completed") {
                    fields.insert("Closed_Time".into(), super::times::store(self.instant()).into());
                }
            }
            "Calls" => call_duration(fields)?,
            "Cases" if !fields.contains_key("Case_Number") => {
                fields.insert("Case_Number".into(), self.fresh_id().to_string().into());
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn actual_stage(&self, display: &str) -> String {
        let options = self
            .modules
            .get("Deals")
            .and_then(|deals| deals.field("Stage"))
            .map(|field| &field.options);
        let option = options.into_iter().flatten().find(|option| option.display == display);
        option.map_or_else(|| display.to_owned(), |option| option.actual.clone())
    }
}

/// Works out the seconds of `mm:ss` or `HH:mm`; a zero duration is refused.
fn call_duration(fields: &mut Map<String, Value>) -> Result<(), Refusal> {
    let text = fields.get("Call_Duration").and_then(Value::as_str).unwrap_or_default();
    let parts = text
        .split_once(':')
        .and_then(|(big, small)| Some((big.parse::<u64>().ok()?, small.parse::<u64>().ok()?)));
    let total = parts.and_then(|(big, small)| big.checked_mul(60)?.checked_add(small));
    match total {
        Some(total) if total > 0 => {
            fields.insert("Call_Duration_in_seconds".into(), total.into());
            Ok(())
        }
        Some(_) | None => Err(Refusal::invalid(
            json!({ "api_name": "Call_Duration", "json_path": "$.data[0].Call_Duration" }),
        )),
    }
}
