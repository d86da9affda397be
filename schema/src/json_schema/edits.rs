//! Regular expressions of words that are a few edits from a given one: what lint calls a near miss.
//!
//! An edit is a letter that was left out, added, changed, or swapped with its neighbour (the distance
//! of `strsim::osa_distance`). A word is halved, and the edits are shared out between the halves, so
//! that the expression grows with n·log(n) instead of n² for one edit and n³ for two.

/// Words at most one edit from `word`; `any` is what an added or changed letter may be.
pub(super) fn one(word: &str, any: &str) -> String {
    match word.len() {
        0 => format!("{any}?"),
        1 => format!("(?:{any}?|{any}{word}|{word}{any})"),
        _ => {
            let (a, b) = halves(word);
            format!("(?:{}{b}|{a}{}|{})", one(a, any), one(b, any), swapped(a, b).join(""))
        }
    }
}

/// Words at most two edits from `word`.
pub(super) fn two(word: &str, any: &str) -> String {
    match word.len() {
        0 => format!("{any}{{0,2}}"),
        1 => format!("(?:{any}{{0,2}}|{word}{any}{{2}}|{any}{word}{any}|{any}{{2}}{word})"),
        _ => {
            let (a, b) = halves(word);
            let [before, pair, after] = swapped(a, b);
            let both = format!("{}{}", one(a, any), one(b, any));
            let first = format!("{}{pair}{after}", one(&before, any));
            let last = format!("{before}{pair}{}", one(&after, any));
            format!("(?:{}{b}|{both}|{a}{}|{first}|{last})", two(a, any), two(b, any))
        }
    }
}

fn halves(word: &str) -> (&str, &str) {
    word.split_at(word.len() / 2)
}

/// The halves with the letters at their border swapped: what is before them, they, what is after them.
fn swapped(a: &str, b: &str) -> [String; 3] {
    let (before, left) = a.split_at(a.len() - 1);
    let (right, after) = b.split_at(1);
    [before.to_owned(), format!("{right}{left}"), after.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: [&str; 5] = ["a", "dlq", "batch", "max_retries", "low_latency_max_size"];

    #[test]
    fn an_expression_takes_exactly_what_is_that_many_edits_away() {
        let validators = WORDS.map(|word| {
            [one(word, "[^.]"), two(word, "[^.]")].map(|pattern| {
                let schema = serde_json::json!({"pattern": format!("^(?:{pattern})$")});
                jsonschema::validator_for(&schema).expect("a schema")
            })
        });
        let edited = (0..WORDS.len(), prop::collection::vec((0_usize..4, 0_usize..30, 0_usize..4), 0..4));
        proptest!(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() },
        |((word, edits) in edited)| {
            let mut letters: Vec<char> = WORDS[word].chars().collect();
            for (kind, at, letter) in edits {
                let (at, letter) = (at % (letters.len() + 1), ['a', 'e', '_', 'x'][letter]);
                match kind {
                    0 => letters.insert(at, letter),
                    1 if at < letters.len() => letters[at] = letter,
                    2 if at < letters.len() => drop(letters.remove(at)),
                    _ if at + 1 < letters.len() => letters.swap(at, at + 1),
                    _ => {}
                }
            }
            let text: String = letters.into_iter().collect();
            let distance = strsim::osa_distance(&text, WORDS[word]);
            for (most, validator) in [1, 2].into_iter().zip(&validators[word]) {
                prop_assert_eq!(validator.is_valid(&text.clone().into()), distance <= most,
                    "{} is {} from {}", text, distance, WORDS[word]);
            }
        });
    }
}
