//! Texts for people that several interfaces show alike.

/// A number with spaces that do not break between groups of three digits.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// A number of things in words: `1 worker`, `3 workers`. `one` and `many` are the words
/// behind the number, with the verb if it depends on the number, too.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    let words = if count == 1 { one } else { many };
    format!("{count} {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_them_is_no_plural() {
        let waiting = |count| counted(count, "operation waits", "operations wait");
        assert_eq!(waiting(0), "0 operations wait");
        assert_eq!(waiting(1), "1 operation waits");
        assert_eq!(waiting(1_200), "1200 operations wait");
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (count, shown) in [
            (0, "0"),
            (12, "12"),
            (123, "123"),
            (1_234, "1\u{a0}234"),
            (123_456, "123\u{a0}456"),
            (1_234_567, "1\u{a0}234\u{a0}567"),
        ] {
            assert_eq!(grouped(count), shown);
        }
    }
}
