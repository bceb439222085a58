//! No file uses, by whatever way round, a file that uses it: a room can be read from its leaves to its root.

use std::collections::{BTreeMap, BTreeSet};

use crate::assert_none;
use crate::lexer;
use crate::tree::{SourceFile, crate_files};

/// Which file names which, in the code that is built in; tests may look at anything.
fn uses(files: &[SourceFile]) -> BTreeMap<&str, BTreeSet<&str>> {
    let by_module: BTreeMap<(&str, bool, &[String]), &str> = files
        .iter()
        .map(|file| ((file.package.as_str(), file.program, file.module.as_slice()), file.path.as_str()))
        .collect();
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        let used = uses.entry(&file.path).or_default();
        for path in lexer::paths(&file.tokens).into_iter().filter(|path| !path.test) {
            let Some(module) = absolute(&path, file) else { continue };
            // The longest beginning that is a file: what follows is an item in it.
            let found = (0..=module.len())
                .rev()
                .find_map(|length| by_module.get(&(file.package.as_str(), file.program, &module[..length])));
            // A name that is re-exported by the parent is the parent's to give.
            used.extend(found.copied().filter(|found| *found != file.path));
        }
    }
    uses
}

/// A path from the root of its crate; `None` when it leads out of it.
fn absolute(path: &lexer::Path, file: &SourceFile) -> Option<Vec<String>> {
    let own = || file.module.clone();
    let (mut base, mut rest) = match path.segments.first()?.as_str() {
        "crate" => (Vec::new(), &path.segments[1..]),
        "self" => (own(), &path.segments[1..]),
        "super" => (own(), &path.segments[..]),
        _ => return None,
    };
    // In an inline module the first ones lead out of it.
    let ups = rest.iter().take_while(|segment| *segment == "super").count();
    rest = &rest[ups..];
    base.truncate(base.len().saturating_sub(ups.saturating_sub(path.depth)));
    base.extend(rest.iter().cloned());
    Some(base)
}

/// A way from a file back to itself, if there is one.
fn circle<'a>(from: &'a str, uses: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![from]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in uses.get(way[way.len() - 1]).into_iter().flatten() {
            if *next == from {
                return Some(way);
            }
            if seen.insert(*next) {
                ways.push(way.iter().copied().chain([*next]).collect());
            }
        }
    }
    None
}

#[test]
fn no_file_uses_itself_by_way_of_others() {
    let (files, _) = crate_files();
    let uses = uses(&files);
    let mut told = BTreeSet::new();
    let problems: Vec<String> = uses
        .keys()
        .filter_map(|file| circle(file, &uses))
        .filter(|way| told.insert(way.iter().copied().collect::<BTreeSet<_>>()))
        .map(|way| format!("{}: move what both need to a file of its own", way.join(" -> ")))
        .collect();
    assert_none(&problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &[&str], &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, module, text)| {
                let module: Vec<String> = module.iter().map(|&name| name.to_owned()).collect();
                SourceFile::new(path, &module, text)
            })
            .collect();
        let uses = uses(&files);
        uses.keys().filter_map(|file| circle(file, &uses)).map(|way| way.join(" ")).collect()
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        let files: &[(&str, &[&str], &str)] = &[
            ("src/a.rs", &["a"], "use crate::b::B; pub struct A;"),
            ("src/b.rs", &["b"], "mod c; fn f() { self::c::g() }"),
            ("src/b/c.rs", &["b", "c"], "mod inline { use super::super::super::a::A; }"),
        ];
        assert_eq!(found(files)[0], "src/a.rs src/b.rs src/b/c.rs");
    }

    #[test]
    fn tests_and_visibility_make_no_circle() {
        let files: &[(&str, &[&str], &str)] = &[
            ("src/a.rs", &["a"], "use crate::b::B; #[cfg(test)] mod tests { use super::*; }"),
            ("src/b.rs", &["b"], "pub(super) struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
        ];
        assert_eq!(found(files), [""; 0]);
    }
}
