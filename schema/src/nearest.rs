//! What was most probably meant by a word that nobody knows.

/// The known word at the fewest edits from `wrote`, and how many those are; ties go to the alphabet.
#[must_use]
pub fn nearest<'a>(wrote: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(usize, &'a str)> {
    known.into_iter().map(|word| (strsim::osa_distance(wrote, word), word)).min()
}

/// The known word that was most probably meant, whatever its case: at most a third of it is edited.
#[must_use]
pub fn meant<'a>(wrote: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrote = wrote.to_lowercase();
    let edits = |word: &'a str| (strsim::osa_distance(&wrote, &word.to_lowercase()), word);
    let nearest = known.into_iter().map(edits).min();
    nearest.filter(|(edits, word)| edits * 3 <= word.len()).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["fixed_size", "time_window"];
        assert_eq!(nearest("fixed_sise", known), Some((1, "fixed_size")));
        assert_eq!((meant("Fixd_Size", known), meant("kafka", known)), (Some("fixed_size"), None));
        assert_eq!(nearest("anything", []), None);
    }
}
