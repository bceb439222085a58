//! As much of Rust's grammar as it takes to find words, paths and test code: no comment and no
//! literal may pass for code.

use std::iter::repeat_n;

/// A word, a number, `::`, or any other single character of the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Whether it stands in an item under `#[cfg(test)]`.
    pub(crate) test: bool,
}

/// A path, with groups taken apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    pub(crate) test: bool,
    /// How many inline modules it stands in: `super` means less in there.
    pub(crate) depth: usize,
}

/// A `mod name;` that is to be found in a file of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Declaration {
    /// The inline modules around it, and its name.
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    pub(crate) test: bool,
}

/// The source with blanks for comments and for what is inside literals. Lines stay where they are.
pub(crate) fn strip(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let behind_word = at > 0 && is_word(chars[at - 1]);
        let end = match &chars[at..] {
            ['/', '/', ..] => line_end(&chars, at),
            ['/', '*', ..] => block_comment_end(&chars, at),
            ['"', ..] => quoted_end(&chars, at + 1, '"'),
            ['r', '"' | '#', ..] if !behind_word => raw_end(&chars, at + 1).unwrap_or(at),
            ['b' | 'c', 'r', '"' | '#', ..] if !behind_word => raw_end(&chars, at + 2).unwrap_or(at),
            // Anything else behind a quotation mark is a lifetime.
            ['\'', '\\', ..] => quoted_end(&chars, at + 1, '\''),
            ['\'', _, '\'', ..] => at + 3,
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend((chars[at..end].iter()).map(|&c| if c == '\n' { c } else { ' ' }));
            at = end;
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_end(chars: &[char], from: usize) -> usize {
    (chars[from..].iter().position(|&c| c == '\n')).map_or(chars.len(), |length| from + length)
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < chars.len() {
        match &chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], from: usize, quote: char) -> usize {
    let mut at = from;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// Where a raw string ends whose hashes begin at `from`; `None` if it is a raw identifier.
fn raw_end(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from..].iter().take_while(|&&c| c == '#').count();
    let body = from + hashes + 1;
    if chars.get(body - 1) != Some(&'"') {
        return None;
    }
    let mut close = vec!['"'];
    close.extend(repeat_n('#', hashes));
    let length = (chars[body..].windows(close.len())).position(|window| window == close)?;
    Some(body + length + close.len())
}

/// The tokens of a stripped source.
pub(crate) fn tokens(stripped: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, line) in stripped.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, behind) = rest.split_at(length);
            tokens.push(Token { text: text.to_owned(), line: index + 1, test: false });
            rest = behind.trim_start();
        }
    }
    mark_tests(&mut tokens);
    tokens
}

/// Whether the tokens at `at` are these words, which are written with blanks in between.
pub(crate) fn matches(tokens: &[Token], at: usize, words: &str) -> bool {
    let mut rest = tokens[at..].iter();
    words.split(' ').all(|word| rest.next().is_some_and(|token| token.text == word))
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| &token.text)
}

fn mark_tests(tokens: &mut [Token]) {
    for at in 0..tokens.len() {
        let end = if matches(tokens, at, "# [ cfg ( test ) ]") {
            item_end(tokens, at)
        } else if matches(tokens, at, "# ! [ cfg ( test ) ]") {
            tokens.len()
        } else {
            continue;
        };
        tokens[at..end].iter_mut().for_each(|token| token.test = true);
    }
}

/// Behind the item whose attributes begin at `from`: its block, or the semicolon of one without.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The inline modules around each token.
fn inline_modules(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut around: Vec<(usize, String)> = Vec::new();
    let mut depth = 0_usize;
    let mut modules = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    around.push((depth, tokens[at - 1].text.clone()));
                }
            }
            "}" => {
                around.pop_if(|(opened_at, _)| *opened_at == depth);
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        modules.push(around.iter().map(|(_, name)| name.clone()).collect());
    }
    modules
}

/// Every `mod name;`.
pub(crate) fn declarations(tokens: &[Token]) -> Vec<Declaration> {
    let inline = inline_modules(tokens);
    (0..tokens.len())
        .filter(|&at| tokens[at].text == "mod" && text(tokens, at + 2) == ";")
        .map(|at| {
            let mut path = inline[at].clone();
            path.push(tokens[at + 1].text.clone());
            Declaration { path, line: tokens[at].line, test: tokens[at].test }
        })
        .collect()
}

/// Every path of two segments or more, and every name imported.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let inline = inline_modules(tokens);
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !begins_path(tokens, at) {
            at += 1;
            continue;
        }
        let mut found = Vec::new();
        let end = expand(tokens, at, &[], &mut found);
        paths.extend(found.into_iter().map(|(segments, line)| Path {
            segments,
            line,
            test: tokens[at].test,
            depth: inline[at].len(),
        }));
        at = end;
    }
    paths
}

fn begins_path(tokens: &[Token], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map_or("", |at| tokens[at].text.as_str());
    // `use ::name` and `(::name` are heads; `parent::name` and `<Type>::name` are not.
    let continues =
        before(1) == "::" && before(2) != "use" && before(2).ends_with(|c| is_word(c) || c == '>' || c == ']');
    tokens[at].text.starts_with(is_word) && !continues && (text(tokens, at + 1) == "::" || before(1) == "use")
}

/// Adds the paths that go on at `at`, where a segment or a group begins; behind them.
fn expand(tokens: &[Token], at: usize, prefix: &[String], found: &mut Vec<(Vec<String>, usize)>) -> usize {
    if text(tokens, at) == "{" {
        let mut at = at + 1;
        while !matches!(text(tokens, at), "}" | "") {
            at = expand(tokens, at, prefix, found);
        }
        return at + 1;
    }
    let goes_on = |c: char| is_word(c) || c == '{' || c == '*';
    if !text(tokens, at).starts_with(goes_on) {
        return at + 1;
    }
    let mut segments = prefix.to_vec();
    segments.push(tokens[at].text.clone());
    if text(tokens, at + 1) == "::" && text(tokens, at + 2).starts_with(goes_on) {
        return expand(tokens, at + 2, &segments, found);
    }
    found.push((segments, tokens[at].line));
    if text(tokens, at + 1) == "as" { at + 3 } else { at + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> String {
        let tokens = tokens(&strip(source));
        tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn all_paths(source: &str) -> Vec<String> {
        paths(&tokens(&strip(source))).iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn comments_are_not_code() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g //! h"), "a c g");
        assert_eq!(words("a / b /* never closed"), "a / b");
    }

    #[test]
    fn literals_are_not_code() {
        assert_eq!(words(r#"a("b\"c // d", 'e', '\'', '"', b'"', "f")g"#), "a ( , , , , b , ) g");
        assert_eq!(words(r###"a(r"\", r#"b"c"#, br##"d"#e"##, c"f")"###), "a ( , , , c )");
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_not_literals() {
        assert_eq!(words("fn a<'b>(c: &'b str) -> &'b str"), "fn a < ' b > ( c : & ' b str ) - > & ' b str");
        assert_eq!(words("r#type 'label: loop"), "r # type ' label : loop");
    }

    #[test]
    fn lines_stay_where_they_are() {
        let stripped = strip("/*\n\n*/ \"x\ny\" 'a'\n// z\nend");
        assert_eq!(tokens(&stripped), [Token { text: "end".into(), line: 6, test: false }]);
    }

    #[test]
    fn paths_are_taken_out_of_groups() {
        assert_eq!(
            all_paths("use crate::{a::B, c::{self, d as e, *},\n};\nlet x: ::f::G<h::I> = <J>::k(l::<m::N>());"),
            ["crate::a::B", "crate::c::self", "crate::c::d", "crate::c::*", "f::G", "h::I", "l", "m::N"]
        );
        assert_eq!(all_paths("pub use serde; a.b::<c>(); #[d::e] x"), ["serde", "b", "d::e"]);
    }

    #[test]
    fn code_for_tests_is_told_from_the_rest() {
        let tokens =
            tokens("a; #[cfg(test)] use b::{c}; #[cfg(test)] #[x] mod d { fn e() {} } f #[cfg(test)] mod g; h");
        let tested: Vec<_> = tokens.iter().filter(|token| !token.test).map(|token| token.text.as_str()).collect();
        assert_eq!(tested, ["a", ";", ";", "f", "h"]);
    }

    #[test]
    fn modules_are_found_with_those_around_them() {
        let found = declarations(&tokens("pub mod a;\nmod b { mod c { fn d() {} } mod e; }\n#[cfg(test)] mod f;"));
        let found: Vec<_> = (found.iter()).map(|found| (found.path.join("::"), found.line, found.test)).collect();
        assert_eq!(found, [("a".into(), 1, false), ("b::e".into(), 2, false), ("f".into(), 3, true)]);
    }
}
