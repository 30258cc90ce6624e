//! Line-wise three-way merge of texts: semantics §8.1.

/// Joins both edits of `base`; `None` where they touch the same lines.
pub(super) fn merge_lines(base: &str, left: &str, right: &str) -> Option<String> {
    // Ended alike, a line that follows the last one does not count as an edit of it.
    let [base, left, right] = [base, left, right].map(|text| format!("{text}\n"));
    let merged = diffy::merge(&base, &left, &right).ok()?;
    Some(merged.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn given_texts_edited_on_both_sides_when_merged_then_only_the_same_lines_conflict() {
        let cases = [
            ("different lines", "a\nb\nc", "A\nb\nc", "a\nb\nC", Some("A\nb\nC")),
            ("left adds at the end", "a\nb\nc", "a\nb\nc\nd", "A\nb\nc", Some("A\nb\nc\nd")),
            ("one removes, one adds", "a\nb\nc", "b\nc", "a\nb\nc\nd", Some("b\nc\nd")),
            ("both alike", "a", "b", "b", Some("b")),
            ("the same line", "a\nb", "A\nb", "1\nb", None),
            ("both add at the end", "a", "a\nb", "a\nc", None),
            ("one clears, one edits", "a\nb", "", "a\nB", None),
        ];
        for (name, base, left, right, merged) in cases {
            assert_eq!(merge_lines(base, left, right).as_deref(), merged, "{name}");
            assert_eq!(merge_lines(base, right, left).as_deref(), merged, "{name}, turned round");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec("[abc]", 0..6).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn given_one_edit_when_merged_then_it_is_taken(base in text(), edit in text()) {
            prop_assert_eq!(merge_lines(&base, &edit, &base), Some(edit.clone().trim_end_matches('\n').to_owned()));
        }

        #[test]
        fn given_two_edits_when_merged_then_no_line_is_invented(base in text(), left in text(), right in text()) {
            let merged = merge_lines(&base, &left, &right).unwrap_or_default();
            let known: Vec<_> = [&base, &left, &right].into_iter().flat_map(|text| text.lines()).collect();
            prop_assert!(merged.lines().all(|line| known.contains(&line)));
        }
    }
}
