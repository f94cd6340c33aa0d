//! Reads sources as far as the house rules need it: the files, a file without its tests and comments, its imports.

use std::{collections::BTreeSet, fs, path::Path};

/// Folders that are installed or built, not written.
const NOT_OURS: &[&str] = &["target", "node_modules", "__pycache__", "seeds", "found", "artifacts"];
/// Hidden folders that are ours all the same.
const HIDDEN: &[&str] = &[".ci", ".cargo"];

pub(crate) struct Source {
    /// Its path below the repository, with `/`.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Every file that is text, wherever it is.
pub(crate) fn text_files() -> Vec<Source> {
    below(Path::new(env!("CARGO_MANIFEST_DIR")))
}

/// Every Rust file at or below a path. In src without those that only tests compile.
pub(crate) fn code_files(path: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = below(&root.join(path));
    files.retain(|file| Path::new(&file.name).extension().is_some_and(|end| end == "rs"));
    let tests: BTreeSet<String> = files.iter().flat_map(Source::test_modules).collect();
    files.retain(|file| {
        let stem = file.name.trim_end_matches(".rs");
        !tests.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/")))
    });
    assert!(!files.is_empty(), "no Rust file in {path}");
    files
}

fn below(path: &Path) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| is_ours(path)),
            );
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            found.push(Source { name, text });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let hidden = name.starts_with('.') && path.is_dir() && !HIDDEN.contains(&name);
    !hidden && !NOT_OURS.contains(&name) && name != ".git"
}

impl Source {
    /// The room it is in: `broker` for src/broker.rs and all below src/broker/.
    pub(crate) fn room(&self) -> String {
        let place = self.name.strip_prefix("src/").unwrap();
        place.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
    }

    /// How far below the crate its module is: 1 for src/broker.rs.
    pub(crate) fn depth(&self) -> usize {
        self.name.matches('/').count()
    }

    /// Its code up to the unit tests, without comments. Strings stay: nothing in them looks like an import.
    pub(crate) fn code(&self) -> String {
        let tests = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..tests].lines().map(|line| {
            let code = line.split(" // ").next().unwrap_or_default();
            if code.trim_start().starts_with("//") { "" } else { code }
        });
        lines.fold(String::new(), |code, line| code + line + "\n")
    }

    /// What it imports of its own crate, or names in full: `store::claim::Claim`.
    pub(crate) fn imports(&self) -> BTreeSet<String> {
        let code = self.code();
        let mut found = BTreeSet::new();
        for root in if self.room() == "main" { &["bursar::"][..] } else { &["crate::"] } {
            for (at, _) in code.match_indices(root) {
                if !code[..at].ends_with(is_word) {
                    expand("", &mut &code[at + root.len()..], &mut found);
                }
            }
        }
        found
    }

    /// Whether code names a library: in an import or in a path, and not as a module of another path.
    pub(crate) fn names(code: &str, library: &str) -> bool {
        code.match_indices(&format!("{library}::")).any(|(at, _)| {
            let before = &code[..at];
            !before.ends_with(is_word) && !before.ends_with("::") && !inside_crate_import(before)
        })
    }

    /// The files, without `.rs`, of modules that are compiled for tests only.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.name.as_str() {
            "src/lib.rs" | "src/main.rs" => "src",
            name => name.trim_end_matches(".rs"),
        };
        let attributed = self.text.match_indices("#[cfg(test)]\n").filter_map(|(at, attribute)| {
            let mut lines = self.text[at + attribute.len()..].lines();
            let first = lines.next()?.trim();
            let path = first.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix(".rs\"]"));
            let item = if path.is_some() { lines.next()?.trim() } else { first };
            let module = item.rsplit_once("mod ")?.1.strip_suffix(';')?;
            // A path of an attribute starts at the file's own folder.
            Some(match path {
                Some(path) => format!("{}/{path}", self.name.rsplit_once('/')?.0),
                None => format!("{folder}/{module}"),
            })
        });
        attributed.collect()
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether what comes next is still within the braces of a `use crate::{`, where a name is one of ours.
fn inside_crate_import(before: &str) -> bool {
    let statement = before.rsplit(';').next().unwrap_or_default();
    ["crate::{", "super::{", "self::{"].iter().any(|open| statement.contains(open))
}

/// Reads one import tree, as in `a::{b, c::D}`, from the front of `rest`, and notes each path in it.
fn expand(prefix: &str, rest: &mut &str, found: &mut BTreeSet<String>) {
    if rest.starts_with('{') {
        return expand_braces(prefix, rest, found);
    }
    let (word, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
    let path = match (prefix, word) {
        ("", word) => word.to_owned(),
        (prefix, "self") => prefix.to_owned(),
        (prefix, word) => format!("{prefix}::{word}"),
    };
    *rest = after;
    match after.strip_prefix("::") {
        Some(inner) if inner.starts_with(|c| is_word(c) || c == '{') => {
            *rest = inner;
            expand(&path, rest, found);
        }
        Some(_) | None => drop(found.insert(path)),
    }
}

fn expand_braces(prefix: &str, rest: &mut &str, found: &mut BTreeSet<String>) {
    *rest = rest[1..].trim_start();
    while !rest.is_empty() && !rest.starts_with('}') {
        expand(prefix, rest, found);
        // A new name, a star, the comma.
        *rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
        *rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    *rest = rest.strip_prefix('}').unwrap_or(rest);
}

/// Whether a line names a folder at the root of the file system, and not the end of some longer name.
pub(crate) fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        let starts = before.is_none_or(|c| !is_word(c) && !matches!(c, '/' | '.' | '-' | '}' | '~' | ')'));
        starts && after == Some('/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(text: &str) -> Vec<String> {
        let file = Source { name: "src/broker.rs".to_owned(), text: text.to_owned() };
        file.imports().into_iter().collect()
    }

    #[test]
    fn nested_imports_are_read_to_the_leaves() {
        let text =
            "use crate::{\n    a::{self, B, c::{D, E as F}},\n    g::*,\n};\nfn f() -> crate::h::I<u8> {}\n";
        assert_eq!(imports(text), ["a", "a::B", "a::c::D", "a::c::E", "g", "h::I"]);
    }

    #[test]
    fn comments_and_tests_import_nothing() {
        let text = "/// As crate::a::B.\nuse x; // not crate::c\n#[cfg(test)]\nmod tests {\n    use crate::d::E;\n}\n";
        assert!(imports(text).is_empty(), "{:?}", imports(text));
    }

    #[test]
    fn modules_for_tests_are_found_by_name_and_by_path() {
        let text = "#[cfg(test)]\nmod rig;\n#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\nmod real;\n";
        let file = Source { name: "src/room/a.rs".to_owned(), text: text.to_owned() };
        assert_eq!(file.test_modules(), ["src/room/a/rig", "src/room/a_tests"]);
    }

    #[test]
    fn a_library_is_told_from_a_module_of_the_same_name() {
        assert!(Source::names("use redis::Client;", "redis"));
        assert!(Source::names("let x = redis::cmd();", "redis"));
        assert!(!Source::names("use crate::store::redis::X;", "redis"));
        assert!(!Source::names("use crate::{\n    store::{redis::X},\n};", "redis"));
        assert!(!Source::names("use not_redis::X;", "redis"));
    }

    #[test]
    fn folders_of_machines_are_told_from_names_that_end_like_them() {
        assert!(names_folder("see /opt/x", "/opt"));
        assert!(!names_folder("keyChains/opt/x", "/opt"));
        assert!(!names_folder("an /optional/ one", "/opt"));
    }
}
