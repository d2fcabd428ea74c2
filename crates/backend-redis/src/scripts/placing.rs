//! Puts functions where they are called, so that a call of a script does not make them.
//!
//! A function that is one expression is written out at its callers. One that is seldom called
//! says so in the line before it, [`SELDOM`], and is made by its callers, in the branch that
//! calls it. Both need that names mean the same in both places: a function stays where it is
//! if a caller has a local of its own with the name of something that the function uses.

use std::collections::{HashMap, HashSet};

use super::compact::{function_at, is_word, tokens};

/// The mark of a function that most calls of its script do not need. Each of its calls must
/// be in a line that begins a statement.
pub(super) const SELDOM: &str = "-- Seldom: made where it is called.";

/// The script, with each function where it costs least.
pub(super) fn placed(code: &str) -> String {
    let mut script = Script::new(code);
    script.write_out_expressions();
    script.move_seldom();
    let lines = script.lines.iter();
    let lines = lines.map(|line| if is_mark(line) { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_mark(line: &str) -> bool {
    line.trim_start() == SELDOM
}

struct Script {
    lines: Vec<String>,
    /// The lines of each word. A function is placed after those that it calls, so that the
    /// lines of a function that is still to be placed stay the same.
    places: HashMap<String, Vec<usize>>,
    /// The first and the last line of every function of more than one line.
    functions: Vec<(usize, usize)>,
}

/// A function that is one expression.
struct Expression {
    name: String,
    parameters: Vec<String>,
    value: String,
}

impl Script {
    fn new(code: &str) -> Self {
        let borrowed: Vec<&str> = code.lines().collect();
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, line) in borrowed.iter().enumerate() {
            for word in tokens(line).filter(|token| is_word(token)) {
                let places = places.entry(word.to_owned()).or_default();
                if places.last() != Some(&at) {
                    places.push(at);
                }
            }
        }
        let functions = (0..borrowed.len())
            .filter_map(|first| function_at(&borrowed, first))
            .map(|(_, first, last)| (first, last))
            .filter(|(first, last)| first < last)
            .collect();
        Self {
            lines: borrowed.iter().map(|line| (*line).to_owned()).collect(),
            places,
            functions,
        }
    }

    fn line(&self, at: usize) -> &str {
        self.lines.get(at).map_or("", String::as_str)
    }

    fn set(&mut self, at: usize, text: String) {
        if let Some(line) = self.lines.get_mut(at) {
            *line = text;
        }
    }

    /// The lines that call a function which is defined in the lines `first` to `last`.
    fn calls(&self, name: &str, first: usize, last: usize) -> Vec<usize> {
        let places = self.places.get(name).into_iter().flatten();
        places
            .copied()
            .filter(|at| *at < first || *at > last)
            .filter(|at| tokens(self.line(*at)).any(|token| token == name))
            .collect()
    }

    /// Returns true if none of these names is declared between the end of a function, in the
    /// line `last`, and a call, where the call sees it.
    fn keeps_meaning(
        &self,
        names: &HashSet<String>,
        last: usize,
        margin: usize,
        call: usize,
    ) -> bool {
        let around =
            |(first, end): &&(usize, usize)| *first > last && (*first..=*end).contains(&call);
        let around: Vec<_> = self.functions.iter().filter(around).collect();
        (last + 1..=call).all(|at| {
            let line = self.line(at);
            let is_around = at == call
                || around
                    .iter()
                    .any(|(first, end)| (*first..=*end).contains(&at));
            // The parameters of another function are not seen.
            let seen = match (is_around, margin_of(line) <= margin) {
                (true, _) => line,
                (false, true) => line.split('(').next().unwrap_or_default(),
                (false, false) => "",
            };
            declared_in(seen).all(|name| !names.contains(name))
        })
    }

    fn write_out_expressions(&mut self) {
        for at in 0..self.lines.len() {
            let Some(expression) = expression_in(self.line(at)) else {
                continue;
            };
            let calls = self.calls(&expression.name, at, at);
            let mut names = free_words(&expression.value);
            for parameter in &expression.parameters {
                names.remove(parameter);
            }
            let written: Option<Vec<_>> = calls
                .iter()
                .map(|call| {
                    let fits = *call > at && self.keeps_meaning(&names, at, 0, *call);
                    let line = self.line(*call);
                    fits.then(|| expression.written_out(line)).flatten()
                })
                .collect();
            let Some(written) = written else { continue };
            for (call, line) in calls.into_iter().zip(written) {
                self.set(call, line);
            }
            self.set(at, String::new());
        }
    }

    fn move_seldom(&mut self) {
        for mark in 0..self.lines.len() {
            if !is_mark(self.line(mark)) {
                continue;
            }
            let borrowed: Vec<&str> = self.lines.iter().map(String::as_str).collect();
            let Some((name, first, last)) = function_at(&borrowed, mark + 1) else {
                continue;
            };
            let name = name.to_owned();
            let body: Vec<&str> = borrowed.get(first..=last).unwrap_or_default().to_vec();
            let one_line = body.iter().map(|line| without_comment(line.trim()));
            let one_line = one_line.collect::<Vec<_>>().join(" ");
            let declared: HashSet<String> = body
                .iter()
                .flat_map(|line| declared_in(line))
                .map(str::to_owned)
                .collect();
            let names = &free_words(&one_line) - &declared;
            let calls = self.calls(&name, first, last);
            let margin = margin_of(self.line(first));
            let is_local = self.line(first).trim_start().starts_with("local function ");
            let fits = |call: &usize| {
                *call > last
                    && begins_statement(self.line(*call))
                    && self.keeps_meaning(&names, last, margin, *call)
            };
            if !is_local || !calls.iter().all(fits) {
                continue;
            }
            for call in calls {
                let line = self.line(call);
                let (margin, rest) = line.split_at(margin_of(line));
                self.set(call, format!("{margin}{one_line} {rest}"));
            }
            for at in first..=last {
                self.set(at, String::new());
            }
        }
    }
}

impl Expression {
    /// The line with the value in place of each call; nothing if that cannot be.
    fn written_out(&self, line: &str) -> Option<String> {
        let all: Vec<&str> = tokens(line).collect();
        let mut text = String::new();
        let mut at = 0;
        while let Some(token) = all.get(at) {
            if *token != self.name {
                text.push_str(token);
                at += 1;
                continue;
            }
            // A value by itself is no statement.
            if text.trim().is_empty() || ends_statement(text.trim_end()) {
                return None;
            }
            let (arguments, length) = arguments_of(all.get(at + 1..)?)?;
            // A call in a call of the same function.
            let arguments = arguments
                .iter()
                .map(|argument| self.written_out(&format!("={argument}")))
                .map(|argument| Some(argument?.split_off(1)))
                .collect::<Option<Vec<_>>>()?;
            text.push_str(&self.value_with(&arguments)?);
            at += 1 + length;
        }
        Some(text)
    }

    fn value_with(&self, arguments: &[String]) -> Option<String> {
        if arguments.len() != self.parameters.len() {
            return None;
        }
        let mut text = String::from("(");
        let mut uses = vec![0; arguments.len()];
        for token in tokens(&self.value) {
            let parameter = self.parameters.iter().position(|name| name == token);
            let Some(parameter) = parameter else {
                text.push_str(token);
                continue;
            };
            let argument = arguments.get(parameter)?;
            *uses.get_mut(parameter)? += 1;
            if tokens(argument).count() == 1 && is_word(argument) {
                text.push_str(argument);
            } else {
                text.extend(["(", argument, ")"]);
            }
        }
        text.push(')');
        // An argument is computed once, and a name is no computation.
        let mut counted = uses.iter().zip(arguments);
        counted
            .all(|(uses, argument)| *uses == 1 || tokens(argument).count() == 1)
            .then_some(text)
    }
}

/// The function of one expression that a line declares.
fn expression_in(line: &str) -> Option<Expression> {
    let rest = line.strip_prefix("local function ")?;
    let (name, rest) = rest.split_once('(')?;
    let (parameters, rest) = rest.split_once(") return ")?;
    let value = rest.strip_suffix(" end")?;
    let parameters: Vec<&str> = parameters.split(", ").collect();
    let is_field = |word: &str| {
        let table = word.split_once('.');
        table.is_some_and(|(table, _)| parameters.contains(&table))
    };
    let is_plain =
        |token: &str| token != "function" && !token.starts_with("--") && !is_field(token);
    tokens(value).all(is_plain).then(|| Expression {
        name: name.to_owned(),
        parameters: parameters.iter().map(|name| (*name).to_owned()).collect(),
        value: value.to_owned(),
    })
}

/// The arguments of a call that starts with these tokens, and how many tokens they are, with
/// both parentheses.
fn arguments_of(all: &[&str]) -> Option<(Vec<String>, usize)> {
    if all.first() != Some(&"(") {
        return None;
    }
    let (mut arguments, mut depth) = (vec![String::new()], 0_usize);
    for (at, token) in all.iter().enumerate() {
        match *token {
            "(" | "{" | "[" => depth += 1,
            ")" | "}" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let trimmed = arguments.iter().map(|argument| argument.trim().to_owned());
            return Some((trimmed.collect(), at + 1));
        }
        if depth == 1 && *token == "," {
            arguments.push(String::new());
        } else if at > 0 {
            arguments.last_mut()?.push_str(token);
        }
    }
    None
}

/// Returns true if a statement may begin behind this text.
fn ends_statement(text: &str) -> bool {
    ["then", "do", "else", "end", ";"]
        .iter()
        .any(|word| tokens(text).last() == Some(*word))
}

/// Returns true if a line begins a statement that runs whenever the line is reached.
fn begins_statement(line: &str) -> bool {
    let mut words = tokens(line.trim_start());
    let first = words.next().unwrap_or_default();
    if ["return", "local"].contains(&first) {
        return true;
    }
    let is_name = is_word(first) && !KEYWORDS.contains(&first);
    is_name && matches!(words.next(), Some("(" | "[" | " " | ","))
}

/// The names that a line declares.
fn declared_in(line: &str) -> impl Iterator<Item = &str> {
    let all: Vec<&str> = tokens(line).filter(|token| *token != " ").collect();
    let mut found = Vec::new();
    for (at, token) in all.iter().enumerate() {
        let rest = all.get(at + 1..).unwrap_or_default();
        let list = match *token {
            "local" if rest.first() == Some(&"function") => rest.get(1..2),
            "local" | "for" => Some(rest),
            "function" => rest
                .iter()
                .position(|token| *token == "(")
                .and_then(|open| rest.get(open + 1..)),
            _ => None,
        };
        let ends = |token: &&&str| !is_word(token) && **token != "," || **token == "in";
        let list = list.unwrap_or_default();
        let length = list
            .iter()
            .position(|token| ends(&token))
            .unwrap_or(list.len());
        found.extend(
            list.iter()
                .take(length)
                .filter(|token| **token != ",")
                .copied(),
        );
    }
    found.into_iter()
}

/// The words of a text that may be names of something around it: of `table.field` the table.
fn free_words(text: &str) -> HashSet<String> {
    let words = tokens(text).filter(|token| is_word(token));
    let names = words.filter_map(|word| word.split('.').next());
    let names = names.filter(|name| !KEYWORDS.contains(name));
    names.map(str::to_owned).collect()
}

fn margin_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn without_comment(line: &str) -> &str {
    let comment = tokens(line).last().filter(|token| token.starts_with("--"));
    line.strip_suffix(comment.unwrap_or_default())
        .unwrap_or(line)
        .trim_end()
}

const KEYWORDS: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::SCRIPTS;

    #[test]
    fn no_call_of_an_operation_makes_a_seldom_function_first() {
        let sources = [
            include_str!("lib_buckets.lua"),
            include_str!("lib_bucket_changes.lua"),
            include_str!("prelude.lua"),
            include_str!("lib_usage.lua"),
            include_str!("lib_record.lua"),
            include_str!("lib_indexes.lua"),
            include_str!("lib_pauses.lua"),
            include_str!("lib_create.lua"),
            include_str!("lib_commit.lua"),
        ];
        let mut marked = 0;
        for source in sources {
            let lines: Vec<&str> = source.lines().collect();
            for pair in lines.windows(2) {
                let [mark, head] = pair else { continue };
                if !is_mark(mark) {
                    continue;
                }
                marked += 1;
                for script in [&SCRIPTS.create, &SCRIPTS.commit, &SCRIPTS.transact] {
                    let stays = script.code.lines().any(|line| line == *head);
                    assert!(!stays, "{head}");
                }
            }
        }
        assert!(marked > 20, "{marked}");
    }

    #[test]
    fn an_expression_stands_at_its_callers() {
        let code = "\
local function pack(number) return struct.pack('>I8', number) end
local function both(a, b) return pack(a) .. b end
local function other(struct)
  f(struct)
end
local x = both(f(1, 2), both(y, z)) .. pack(at)
if x then return pack(x) end";
        let expected = "

local function other(struct)
  f(struct)
end
local x = ((struct.pack('>I8', (f(1, 2)))) .. (((struct.pack('>I8', y)) .. z))) .. (struct.pack('>I8', at))
if x then return (struct.pack('>I8', x)) end";
        assert_eq!(placed(code), expected);
    }

    #[test]
    fn an_expression_stays_where_its_callers_need_it() {
        for code in [
            // A value by itself is no statement.
            "local function f(a) return call(a) end\nf(1)",
            "local function f(a) return call(a) end\nif b then f(1) end",
            // A function as a value.
            "local function f(a) return call(a) end\nreturn g(f)",
            // An argument would be computed twice, or not at all.
            "local function f(a) return a + a end\nreturn f(g(1))",
            "local function f(a) return 1 end\nreturn f(g(1))",
            // A name has another meaning.
            "local function f(a) return b(a) end\nlocal b = 1\nreturn f(1)",
            "local function f(a) return b(a) end\nlocal function g(b) return c, f(b) end\nh(g)",
            "local function f(a) return b(a) end\nlocal function g(b)\n  return f(b)\nend",
            "local function f(a) return b(a) end\nlocal function g()\n  for b = 1, 2 do h(f(b)) end\nend",
        ] {
            assert_eq!(placed(code), code);
        }
    }

    #[test]
    fn a_seldom_function_is_made_where_it_is_called() {
        let code = format!(
            "\
{SELDOM}
local function one(a)
  local b = a + c -- a sum
  return b
end
{SELDOM}
local function two(a)
  return one(a)
end
local function three(x)
  if x then
    local b = two(x)
    return b
  end
end"
        );
        let expected = "








local function three(x)
  if x then
    local function two(a) local function one(a) local b = a + c return b end return one(a) end local b = two(x)
    return b
  end
end";
        assert_eq!(placed(&code), expected);
    }

    #[test]
    fn a_seldom_function_stays_where_its_callers_need_it() {
        for rest in [
            "if one(1) then return end",
            "for at = 1, one(2) do f() end",
            "local c = 1\nreturn one(1)",
            "local function two(c)\n  return one(1)\nend",
        ] {
            let function = "local function one(a)\n  return a + c\nend";
            let placed = placed(&format!("{SELDOM}\n{function}\n{rest}"));
            assert_eq!(placed, format!("\n{function}\n{rest}"));
        }
    }
}
