//! Formats a mapping file: even spacing, equals signs of neighbors aligned, comments kept.

use toml_edit::{Array, DocumentMut, InlineTable, Item, KeyMut, Table, TomlError, Value};

/// Formats `text`. Formatting twice changes nothing more.
///
/// # Errors
/// When the text is no TOML.
pub(super) fn format(text: &str) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.replace("\r\n", "\n").parse()?;
    format_table(document.as_table_mut());
    let printed = document.to_string();
    Ok(tidy_lines(&printed))
}

fn format_table(table: &mut Table) {
    let widths = block_widths(table);
    for ((mut key, item), width) in table.iter_mut().zip(widths) {
        match item {
            Item::Value(value) => {
                let padding = width.saturating_sub(printed_width(&key.display_repr()));
                space_key(&mut key, padding);
                format_value(value);
                value.decor_mut().set_prefix(" ");
            }
            Item::Table(inner) => format_table(inner),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(format_table),
            Item::None => {}
        }
    }
}

/// For each entry the width of the widest key in its block: neighbors without a blank line between them, whose
/// values stand on one line.
fn block_widths(table: &Table) -> Vec<usize> {
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    let mut is_open = false;
    for (name, item) in table {
        let key = table.key(name);
        let width = key.map_or(0, |key| printed_width(&key.display_repr()));
        let prefix = key.and_then(|key| key.leaf_decor().prefix()).and_then(|raw| raw.as_str());
        let starts = prefix.is_some_and(|raw| raw.starts_with('\n') || raw.contains("\n\n"));
        let one_line = item.as_value().is_some_and(|value| is_one_line(&value.to_string()));
        match blocks.last_mut() {
            Some(block) if is_open && one_line && !starts => block.push(width),
            Some(_) | None => blocks.push(vec![width]),
        }
        is_open = one_line;
    }
    let widest = |block: Vec<usize>| {
        let width = block.iter().copied().max().unwrap_or_default();
        vec![width; block.len()]
    };
    blocks.into_iter().flat_map(widest).collect()
}

/// Columns of a key as written, quotes included.
fn printed_width(key: &str) -> usize {
    key.chars().count()
}

fn space_key(key: &mut KeyMut<'_>, padding: usize) {
    let decor = key.leaf_decor_mut();
    decor.set_suffix(" ".repeat(padding + 1));
    // The prefix holds blank lines and comments; only the indentation goes.
    if let Some(prefix) = decor.prefix().and_then(|raw| raw.as_str()).map(str::to_owned) {
        decor.set_prefix(unindent(&prefix));
    }
}

fn unindent(prefix: &str) -> String {
    let mut lines: Vec<_> = prefix.split('\n').map(str::trim).collect();
    if let Some(last) = lines.last_mut() {
        *last = "";
    }
    lines.join("\n")
}

fn format_value(value: &mut Value) {
    match value {
        Value::InlineTable(table) if is_one_line(&table.to_string()) => format_inline(table),
        Value::Array(array) if is_one_line(&array.to_string()) => format_array(array),
        // Several lines are the author's own layout.
        Value::InlineTable(_)
        | Value::Array(_)
        | Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => {}
    }
}

fn is_one_line(text: &str) -> bool {
    !text.trim().contains('\n')
}

fn format_inline(table: &mut InlineTable) {
    let last = table.len().saturating_sub(1);
    for (at, (mut key, value)) in table.iter_mut().enumerate() {
        format_value(value);
        let decor = key.leaf_decor_mut();
        decor.set_prefix(" ");
        decor.set_suffix(" ");
        value.decor_mut().set_prefix(" ");
        value.decor_mut().set_suffix(if at == last { " " } else { "" });
    }
    table.set_trailing("");
    table.set_trailing_comma(false);
}

fn format_array(array: &mut Array) {
    for (at, value) in array.iter_mut().enumerate() {
        format_value(value);
        value.decor_mut().set_prefix(if at == 0 { "" } else { " " });
        value.decor_mut().set_suffix("");
    }
    array.set_trailing("");
    array.set_trailing_comma(false);
}

/// No space at line ends, one blank line at most, one line end at the end. Texts over several lines are left alone.
fn tidy_lines(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut in_text = false;
    for line in text.lines() {
        let quotes = line.matches("\"\"\"").count() + line.matches("'''").count();
        let tidy = if in_text { line } else { line.trim_end() };
        let doubled = tidy.is_empty() && lines.last().is_none_or(|last| last.is_empty());
        if in_text || !doubled {
            lines.push(tidy);
        }
        in_text ^= quotes % 2 == 1;
    }
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIDY: &str = r#"

# Contacts on both sides.
entity="contact"
left={module="Contacts",filter = "Email is not null"}   # the left one


[match]
keys = [
  { fields = ["email"], strength = "strong" },  # sure
]

[fields]
  # who
  first_name = { left="First_Name" ,right = "first_name" }
  email={left = "Email", right="emails", options={ "a"="b" }}
"odd key" = { constant = "x" }

[groups]
money = [ "amount","currency", ]
"#;

    #[test]
    fn given_an_untidy_file_when_formatted_then_spacing_is_even_and_comments_stay() {
        insta::assert_snapshot!(format(UNTIDY).expect("valid TOML"));
    }

    #[test]
    fn given_a_formatted_file_when_formatted_again_then_nothing_changes() {
        let once = format(UNTIDY).expect("valid TOML");

        let twice = format(&once).expect("valid TOML");

        assert_eq!(twice, once);
    }

    #[test]
    fn given_any_file_when_formatted_then_it_means_the_same() {
        let parse = |text: &str| toml::from_str::<toml::Table>(text).expect("valid TOML");

        let formatted = format(UNTIDY).expect("valid TOML");

        assert_eq!(parse(&formatted), parse(UNTIDY));
    }

    #[test]
    fn given_a_text_over_several_lines_when_formatted_then_its_content_stays() {
        let text = "a = \"\"\"\nx   \n\n\n  y\n\"\"\"\n";

        assert_eq!(format(text).expect("valid TOML"), text);
    }
}
