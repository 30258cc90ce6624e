//! COQL.

/// Rows a query asks for: 200 without a `limit`.
pub(super) fn limit_of(query: &str) -> u64 {
    let words: Vec<String> =
        query.to_lowercase().replace(',', " , ").split_whitespace().map(str::to_owned).collect();
    let Some(at) = words.iter().rposition(|word| word == "limit") else { return 200 };
    let number = |offset: usize| words.get(at + offset).and_then(|word| word.parse().ok());
    let pair = words.get(at + 2).is_some_and(|word| word == ",");
    (if pair { number(3) } else { number(1) }).unwrap_or(200)
}
