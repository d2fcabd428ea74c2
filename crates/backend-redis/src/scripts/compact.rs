//! Makes a script cheaper to call, and leaves what it does.
//!
//! Redis runs the whole text of a script with every call: each function is made again, and
//! each local name that another function uses. That was two fifths of what Redis did for a
//! commit of one operation. So constants are written where they are used, and functions that
//! a script does not use are left out, as are lines of comments. `placing.rs` moves functions to
//! where they are called.
//!
//! Lines stay lines, so that the numbers in error messages of Redis stay true.

use std::collections::{HashMap, HashSet};

use super::placing::{SELDOM, placed};

/// The script, with constants in place of their names, without unused functions, and with the
/// others where they cost least.
pub(super) fn compact(code: &str) -> String {
    placed(&without_unused(&with_values(&without_comments(code))))
}

fn without_comments(code: &str) -> String {
    let is_comment =
        |line: &str| line.trim_start().starts_with("--") && line.trim_start() != SELDOM;
    let lines = code.lines();
    let lines = lines.map(|line| if is_comment(line) { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// Puts one part of a script in front of another, which reaches the names of the first
/// through its function. To capture a name of the function that runs, Lua looks through all
/// captured ones; to capture one from around it, it copies a pointer.
pub(super) fn around(first: &str, second: &str) -> String {
    format!("{first}\nreturn (function()\n{second}\nend)()")
}

/// The words, strings, comments and other signs of a line. `table.field` is one word.
pub(super) fn tokens(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let length = length_of_first(rest)?;
        let (token, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = behind;
        Some(token)
    })
}

fn length_of_first(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let first = *bytes.first()?;
    if text.starts_with("--") {
        return Some(bytes.len());
    }
    let mut end = 1;
    if first == b'\'' {
        while let Some(byte) = bytes.get(end) {
            end += if *byte == b'\\' { 2 } else { 1 };
            if *byte == b'\'' {
                break;
            }
        }
    } else if is_in_word(first) {
        while let Some(byte) = bytes.get(end) {
            let is_field = *byte == b'.' && bytes.get(end + 1).copied().is_some_and(is_in_word);
            if !is_in_word(*byte) && !is_field {
                break;
            }
            end += 1;
        }
    } else if first == b' ' {
        while bytes.get(end) == Some(&b' ') {
            end += 1;
        }
    }
    Some(end.min(bytes.len()))
}

const fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(super) fn is_word(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
}

fn is_constant_name(word: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit();
    word.starts_with(|letter: char| letter.is_ascii_uppercase())
        && word.chars().all(|letter| fits(letter) || letter == '_')
}

/// Writes the values of constants where they are used. A constant is a name in capital
/// letters that is set in one place of the script, to a number or a string.
fn with_values(code: &str) -> String {
    let mut is_set_again = HashSet::new();
    let mut is_set = HashSet::new();
    for name in code.lines().flat_map(names_set_in) {
        if !is_set.insert(name) {
            is_set_again.insert(name);
        }
    }
    let mut values: HashMap<&str, String> = HashMap::new();
    let mut lines = Vec::new();
    for line in code.lines() {
        let replaced = replaced(line, &values);
        let names: Vec<&str> = names_set_in(line).collect();
        let is_final = |name: &&str| is_constant_name(name) && !is_set_again.contains(*name);
        let found = values_of(&replaced)
            .filter(|found| found.len() == names.len() && names.iter().all(is_final));
        if let Some(found) = found {
            values.extend(names.into_iter().zip(found));
            lines.push(String::new());
        } else {
            lines.push(replaced);
        }
    }
    lines.join("\n")
}

/// The names that a line sets, or declares.
fn names_set_in(line: &str) -> impl Iterator<Item = &str> {
    let line = line.trim_start();
    let (names, is_declared) = match line.strip_prefix("local ") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let list = match names.split_once(" = ") {
        Some((list, _)) => list,
        None if is_declared => names,
        None => "",
    };
    list.split(", ")
        .filter(|name| tokens(name).count() == 1 && is_word(name))
}

/// The values in a line that declares constants and nothing else; none for another line.
fn values_of(line: &str) -> Option<Vec<String>> {
    let (_, right) = line
        .trim_start()
        .strip_prefix("local ")?
        .split_once(" = ")?;
    if let Some(values) = computed(right) {
        return Some(values);
    }
    let mut values = vec![String::new()];
    for token in tokens(right) {
        match (token, values.last_mut()) {
            (",", _) => values.push(String::new()),
            (_, Some(value)) => value.push_str(token),
            (_, None) => return None,
        }
    }
    values.iter().map(|value| literal(value.trim())).collect()
}

/// A string, a number, or numbers that Lua calculates with when it reads the script.
fn literal(text: &str) -> Option<String> {
    let is_one = tokens(text).count() == 1;
    if is_one && text.starts_with('\'') || !text.is_empty() && text.bytes().all(is_digit) {
        return Some(text.to_owned());
    }
    let is_sum = |letter: u8| is_digit(letter) || b" ()*/+-".contains(&letter);
    (text.bytes().any(is_digit) && text.bytes().all(is_sum)).then(|| format!("({text})"))
}

const fn is_digit(letter: u8) -> bool {
    letter.is_ascii_digit()
}

/// The values of `('ab'):byte(1, 2)`, `('a'):byte()` and `('a'):rep(2)`.
fn computed(right: &str) -> Option<Vec<String>> {
    let (text, call) = right.strip_prefix("('")?.split_once("'):")?;
    if let Some(count) = call.strip_prefix("rep(") {
        let count = count.strip_suffix(')')?.parse().ok()?;
        return Some(vec![format!("'{}'", text.repeat(count))]);
    }
    let count = match call {
        "byte()" => 1,
        _ => {
            let last = call.strip_prefix("byte(1, ")?.strip_suffix(')')?;
            last.parse().ok()?
        }
    };
    let is_plain = text.bytes().all(|letter| letter.is_ascii_graphic()) && !text.contains('\\');
    (is_plain && text.len() >= count).then(|| {
        text.bytes()
            .take(count)
            .map(|byte| byte.to_string())
            .collect()
    })
}

fn replaced(line: &str, values: &HashMap<&str, String>) -> String {
    let mut text = String::with_capacity(line.len());
    let mut tokens = tokens(line).peekable();
    while let Some(token) = tokens.next() {
        match values.get(token) {
            Some(value) if tokens.peek() == Some(&":") => {
                text.extend(["(", value, ")"]);
            }
            Some(value) => text.push_str(value),
            None => text.push_str(token),
        }
    }
    text
}

/// Leaves out the functions whose names stand nowhere but in themselves.
fn without_unused(code: &str) -> String {
    let mut lines: Vec<&str> = code.lines().collect();
    let mut uses: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        for word in tokens(line).filter(|token| is_word(token)) {
            uses.entry(word).or_default().push(at);
        }
    }
    let mut functions: Vec<(&str, usize, usize)> = (0..lines.len())
        .filter_map(|first| function_at(&lines, first))
        .collect();
    loop {
        let is_used = |(name, first, last): &(&str, usize, usize)| {
            let places = uses.get(name).into_iter().flatten();
            let stays = |at: &usize| lines.get(*at).is_some_and(|line| !line.is_empty());
            places
                .filter(|at| stays(at))
                .any(|at| at < first || at > last)
        };
        let (used, unused): (Vec<_>, Vec<_>) = functions.into_iter().partition(is_used);
        if unused.is_empty() {
            return lines.join("\n");
        }
        for (_, first, last) in unused {
            for line in lines.iter_mut().take(last + 1).skip(first) {
                *line = "";
            }
        }
        functions = used;
    }
}

/// The name, the first and the last line of the function that begins in a line.
pub(super) fn function_at<'a>(lines: &[&'a str], first: usize) -> Option<(&'a str, usize, usize)> {
    let line = lines.get(first)?.trim_start();
    let line = line.strip_prefix("local ").unwrap_or(line);
    let (name, _) = line.strip_prefix("function ")?.split_once('(')?;
    let mut open = 0_usize;
    for (at, line) in lines.iter().enumerate().skip(first) {
        for token in tokens(line) {
            match token {
                "function" | "if" | "do" => open += 1,
                "end" => open = open.checked_sub(1)?,
                _ => {}
            }
        }
        if open == 0 {
            return line.ends_with("end").then_some((name, first, at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_stand_where_they_are_used() {
        let code = "\
local A, B = 'a, b', 2
local C, D = ('xy'):byte(1, 2)
local E = ('\\0'):rep(3)
local F = 2 * B -- a comment
local G = 2 * B
local HALF = G / 2
return f(A, 'A', B, C, D, E, F, HALF, A:byte(), t.A) -- A";
        let expected = [
            "",
            "",
            "",
            "local F = 2 * 2 -- a comment",
            "",
            "",
            r"return f('a, b', 'A', 2, 120, 121, '\0\0\0', F, ((2 * 2) / 2), ('a, b'):byte(), t.A) -- A",
        ]
        .join("\n");
        assert_eq!(compact(code), expected);
    }

    #[test]
    fn names_that_are_set_again_stay() {
        for code in [
            "local A = 1\nA = 2\nreturn A",
            "local A = 1\nlocal A = 2\nreturn A",
            "local A, B = 1\nreturn A",
            "local A = f()\nreturn A",
            "local A = B and 1\nreturn A",
            "local A\nA = 1\nreturn A",
            "local a = 1\nreturn a",
            "local A = {}\nreturn A",
        ] {
            assert_eq!(compact(code), code);
        }
    }

    #[test]
    fn functions_that_are_not_used_go() {
        let code = "\
local function one() return 1 end
local function two(a)
  if a then return one() end
  for at = 1, 2 do two(at) end
end
-- three uses two
local function three() return 'two' end
function t.four() return 4 end
function t.five() return 5 end
return three() + t.four()";
        let expected = [
            "",
            "",
            "",
            "",
            "",
            "",
            "local function three() return 'two' end",
            "function t.four() return 4 end",
            "",
            "return three() + t.four()",
        ]
        .join("\n");
        assert_eq!(compact(code), expected);
    }

    #[test]
    fn words_end_where_lua_ends_them() {
        let found: Vec<&str> = tokens(r"a.b..c .. 'it\'s -- \\'..1 -- d").collect();
        assert_eq!(
            found,
            [
                "a.b",
                ".",
                ".",
                "c",
                " ",
                ".",
                ".",
                " ",
                r"'it\'s -- \\'",
                ".",
                ".",
                "1",
                " ",
                "-- d"
            ]
        );
    }
}
