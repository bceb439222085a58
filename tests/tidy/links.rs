//! Links between documents, and the paths that they name.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::assert_none;
use crate::documents::{heading_level, prose};
use crate::tree::{files, read};

/// Directories of the repository's root that hold what is made and not what is kept.
const MADE: [&str; 3] = [".git", "gen", "target"];

/// Directories anywhere that tools fill.
const FILLED: [&str; 2] = ["/node_modules/", "/venv/"];

/// What a path between backticks begins with when it is meant to be one of this repository.
const OURS: [&str; 10] =
    [".ci/", "benches/", "crates/", "docs/", "examples/", "fuzz/", "helm/", "proto/", "src/", "tests/"];

/// What stands between backticks and has one of these is a pattern or a command.
const NO_PATH: [char; 3] = ['*', '{', '<'];

/// What a path leads to.
enum Target {
    Nothing,
    /// A directory, or a file that has no headings.
    Other,
    /// The text of a document.
    Document(String),
}

/// All documents, by their paths from the root, in order.
fn documents() -> Vec<String> {
    let root = fs::read_dir(env!("CARGO_MANIFEST_DIR")).expect("the repository can be listed");
    let mut found = Vec::new();
    for entry in root.flatten() {
        let name = entry.file_name().display().to_string();
        if entry.path().is_dir() && !MADE.contains(&name.as_str()) {
            found.extend(files(&name, ".md"));
        } else if name.ends_with(".md") {
            found.push(name);
        }
    }
    found.retain(|path| !FILLED.iter().any(|directory| path.contains(directory)));
    found.sort();
    found
}

/// What a path from the root leads to in the repository.
fn look_up(path: &str) -> Target {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if whole.is_file() && path.ends_with(".md") {
        Target::Document(read(path))
    } else if whole.exists() {
        Target::Other
    } else {
        Target::Nothing
    }
}

/// A path that is told from a directory, from the root. `None` when it leads out of the repository.
fn from_root(directory: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The text with empty lines for its fenced blocks.
fn without_blocks(text: &str) -> String {
    let mut lines = vec![""; text.lines().count()];
    for (number, line) in prose(text) {
        lines[number - 1] = line;
    }
    lines.join("\n")
}

/// Takes what stands between backticks out of a text: what is left, and each piece with its line.
fn code_spans(text: &str) -> (String, Vec<(usize, &str)>) {
    let mut left = String::new();
    let mut spans = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let (before, from) = rest.split_at(at);
        let ticks = from.bytes().take_while(|&byte| byte == b'`').count();
        let (opening, inside) = from.split_at(ticks);
        left.push_str(before);
        match closing(inside, ticks) {
            Some(end) => {
                spans.push((last_line(&left), inside[..end].trim()));
                left.extend(inside[..end].chars().filter(|&c| c == '\n'));
                rest = &inside[end + ticks..];
            }
            None => {
                left.push_str(opening);
                rest = inside;
            }
        }
    }
    left.push_str(rest);
    (left, spans)
}

/// Where exactly so many backticks stand.
fn closing(text: &str, ticks: usize) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].find('`').map(|at| from + at) {
        let run = text[at..].bytes().take_while(|&byte| byte == b'`').count();
        if run == ticks {
            return Some(at);
        }
        from = at + run;
    }
    None
}

/// The number of the line in which a text ends.
fn last_line(text: &str) -> usize {
    1 + text.matches('\n').count()
}

/// The targets of links, images and definitions of links, each with its line.
fn links(text: &str) -> Vec<(usize, &str)> {
    let inline = text.match_indices("](").filter_map(|(at, opening)| {
        let from = &text[at + opening.len()..];
        Some((last_line(&text[..at]), &from[..from.find(')')?]))
    });
    let defined = (1..).zip(text.lines()).filter_map(|(number, line)| {
        let (_, target) = line.trim_start().strip_prefix('[')?.split_once("]: ")?;
        Some((number, target))
    });
    let all = inline.chain(defined);
    // A title may follow.
    all.filter_map(|(line, target)| Some((line, target.split_whitespace().next()?))).collect()
}

/// The anchor that GitHub makes of a heading: small letters, hyphens for spaces, no punctuation.
fn slug(heading: &str) -> String {
    let mut text = String::new();
    for (number, part) in heading.split("](").enumerate() {
        // Behind the text of a link stands its target.
        let shown = if number == 0 { part } else { part.split_once(')').map_or("", |(_, behind)| behind) };
        text.push_str(shown);
    }
    let kept = text.trim().chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The anchors of all headings; one that was there before gets a number.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = HashMap::<String, usize>::new();
    let headings = prose(text).filter_map(|(_, line)| {
        let level = heading_level(line);
        (level > 0).then(|| slug(line[level..].trim().trim_end_matches('#')))
    });
    let numbered = headings.map(|slug| {
        let count = seen.entry(slug.clone()).or_default();
        *count += 1;
        if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
    });
    numbered.collect()
}

/// What is wrong with a link, in words.
fn fault(document: &str, text: &str, link: &str, look_up: &impl Fn(&str) -> Target) -> Option<&'static str> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let directory = document.rsplit_once('/').map_or("", |(directory, _)| directory);
    let target = match path {
        "" => Target::Document(text.to_owned()),
        path => match from_root(directory, path) {
            Some(path) if !link.starts_with('/') => look_up(&path),
            _ => return Some("leads out of the repository"),
        },
    };
    match (target, anchor) {
        (Target::Nothing, _) => Some("there is no such file"),
        (Target::Document(text), Some(anchor)) if !anchors(&text).iter().any(|known| known == anchor) => {
            Some("there is no such heading")
        }
        (Target::Other, Some(_)) => Some("only documents have headings"),
        (Target::Other | Target::Document(_), _) => None,
    }
}

/// Whether what stands between backticks is meant to be a path of this repository.
fn is_path(span: &str) -> bool {
    OURS.iter().any(|start| span.starts_with(start)) && !span.contains(char::is_whitespace) && !span.contains(NO_PATH)
}

/// What a document names and is not there.
fn problems(document: &str, text: &str, look_up: &impl Fn(&str) -> Target) -> Vec<String> {
    let text_only = without_blocks(text);
    let (left, spans) = code_spans(&text_only);
    let mut found = Vec::new();
    for (line, link) in links(&left) {
        let elsewhere = link.contains("://") || link.starts_with("mailto:");
        if let Some(fault) = fault(document, text, link, look_up).filter(|_| !elsewhere) {
            found.push(format!("{document}:{line}: ({link}): {fault}"));
        }
    }
    let directory = document.rsplit_once('/').map_or("", |(directory, _)| directory);
    for (line, path) in spans.into_iter().filter(|(_, span)| is_path(span)) {
        // From the root, or from the document: the README of a crate speaks of its own files.
        let places = [from_root("", path), from_root(directory, path)];
        if places.into_iter().flatten().all(|path| matches!(look_up(&path), Target::Nothing)) {
            found.push(format!("{document}:{line}: `{path}`: there is no such file"));
        }
    }
    found
}

#[test]
fn every_link_and_path_of_documents_exists() {
    let documents = documents();
    assert!(documents.len() > 10 && documents.contains(&"docs/api.md".to_owned()), "{documents:?}");
    let of_all = documents.iter().flat_map(|document| problems(document, &read(document), &look_up));
    assert_none(&of_all.collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_those_of_github() {
        for (heading, expected) in [
            ("What is promised, and what is not", "what-is-promised-and-what-is-not"),
            ("`starling-bench fanout`", "starling-bench-fanout"),
            ("C#, PHP, Ruby", "c-php-ruby"),
            ("13. Where the code falls short", "13-where-the-code-falls-short"),
            ("Where do I add ...", "where-do-i-add-"),
            ("Origins (CORS)", "origins-cors"),
            ("The [glossary](docs/glossary.md) of max_lag", "the-glossary-of-max_lag"),
            ("Größe – **Ä**", "größe--ä"),
        ] {
            assert_eq!(slug(heading), expected, "{heading}");
        }
        assert_eq!(anchors("# A\n```\n# no heading\n```\n## B #\n### a\n## A\n"), ["a", "b", "a-1", "a-2"]);
    }

    /// A repository with two documents and a file of code.
    fn small(path: &str) -> Target {
        match path {
            "README.md" | "docs/a.md" => Target::Document("# Head\n## Part one\n".to_owned()),
            "" | "docs" | "src/lib.rs" | "crates/x/src/lib.rs" => Target::Other,
            _ => Target::Nothing,
        }
    }

    #[test]
    fn dead_links_and_paths_are_found() {
        let text = "# Top\nGood: [a](../README.md#part-one), [b\nb](a.md), [c](#top), [d](https://x.example/#y), [e](..)\n\
                    `src/lib.rs` `src/*.rs` `src/{a,b}` `src/x y` `src/<x>` `other/x` ``docs/a.md``\n\
                    ```\n[f](gone.md) `src/gone.rs`\n```\n`[g](gone.md)`\n\
                    Bad: [h](gone.md), ![i\n](../gone.svg \"title\") [j](a.md#gone) [k](#gone)\n\
                    [l](../../x.md) [m](../src/lib.rs#l1) `src/gone.rs`\n[n]: /gone.md\n";
        assert_eq!(
            problems("docs/b.md", text, &small),
            [
                "docs/b.md:9: (gone.md): there is no such file",
                "docs/b.md:10: (../gone.svg): there is no such file",
                "docs/b.md:10: (a.md#gone): there is no such heading",
                "docs/b.md:10: (#gone): there is no such heading",
                "docs/b.md:11: (../../x.md): leads out of the repository",
                "docs/b.md:11: (../src/lib.rs#l1): only documents have headings",
                "docs/b.md:12: (/gone.md): leads out of the repository",
                "docs/b.md:11: `src/gone.rs`: there is no such file",
            ]
        );
        assert_eq!(problems("crates/x/README.md", "`src/lib.rs` [x](src/lib.rs)", &small), [""; 0]);
    }
}
