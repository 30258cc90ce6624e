//! Phone numbers in E.164 with an extension.

use rlibphonenumber::{NumberLengthType, PhoneNumber, PhoneNumberFormat, Region};
use unicode_normalization::UnicodeNormalization;

/// Returns `+4930123456`, or `+4930123456x12` with an extension; a number that no country plan allows comes back
/// stripped of its punctuation.
///
/// `region` (ISO 3166) reads numbers written without a country code. The form is idempotent.
pub fn normalize(raw: &str, region: Option<&str>) -> String {
    let stripped = strip(raw);
    let region = region.and_then(|code| Region::from_code(&code.to_ascii_uppercase()).ok());
    match format(&stripped, region) {
        // A form that does not read back as itself would look like an edit in the next run.
        Some(form) if format(&form, region).as_ref() == Some(&form) => form,
        Some(_) | None => stripped,
    }
}

/// Whether `code` names a country whose numbering plan is known.
pub fn is_region(code: &str) -> bool {
    Region::from_code(code).is_ok()
}

fn strip(raw: &str) -> String {
    raw.nfc().filter(|char| char.is_alphanumeric() || "+#*;=,".contains(*char)).collect()
}

fn format(text: &str, region: Option<Region>) -> Option<String> {
    let number = PhoneNumber::parse(text, region).ok()?;
    let dialable = matches!(number.is_possible_with_reason(), Ok(NumberLengthType::IsPossible));
    // Digits without a country code may be anything; only a number that really exists there is read as one.
    if !dialable || !(text.starts_with('+') || number.is_valid()) {
        return None;
    }
    let main = number.format_as(PhoneNumberFormat::E164).into_owned();
    match number.extension() {
        "" => Some(main),
        extension => Some(format!("{main}x{extension}")),
    }
}
