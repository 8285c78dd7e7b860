//! Checks the imports of src against the table of modules in CLAUDE.md: a row uses only the rows above it,
//! never a sibling and nothing from its third column; and no files of src use each other in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A module's path within the crate: `clients::auth::wire`.
type Module = String;

/// One row of the table.
struct Row {
    modules: Vec<Module>,
    /// Modules of rows above that the row must not use.
    knows_not: Vec<Module>,
    /// Pairs of siblings of which the first may use the second.
    exceptions: Vec<(Module, Module)>,
}

fn words_in_ticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn rows(document: &str) -> Vec<Row> {
    let lines = document.lines().filter(|line| line.starts_with("| `"));
    let cells: Vec<Vec<&str>> = lines.map(|line| line.split(" | ").collect()).collect();
    let modules: Vec<Vec<Module>> = cells.iter().map(|cells| modules_in(cells[0])).collect();
    let all: BTreeSet<&str> = modules.iter().flatten().map(String::as_str).collect();
    let named = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
        let is = |module: &&&str| **module == word || module.ends_with(&format!("::{word}"));
        let parent = || all.iter().any(|module| is_within(module, word)).then(|| word.to_owned());
        all.iter().find(is).map(|module| (*module).to_owned()).or_else(parent)
    };
    let row = |(modules, cells): (&Vec<Module>, &Vec<&str>)| {
        let (unknown, reads) = cells[2].split_once('(').unwrap_or((cells[2], ""));
        let exception = |clause: &str| {
            let (reader, read) = clause.split_once(" reads ")?;
            Some((named(reader)?, named(read.split([' ', '\'']).next()?)?))
        };
        Row {
            modules: modules.clone(),
            // Of an entry such as "clients' requests", the clients themselves may be used.
            knows_not: unknown
                .split(' ')
                .filter(|word| !word.contains('\''))
                .filter_map(named)
                .collect(),
            exceptions: reads.split(';').filter_map(exception).collect(),
        }
    };
    modules.iter().zip(&cells).map(row).collect()
}

/// The modules of a cell: `a`, `b`, `c::{d, e}`.
fn modules_in(cell: &str) -> Vec<Module> {
    let expand = |name: &str| match name.split_once("{") {
        Some((parent, children)) => {
            let children = children.trim_end_matches('}').split(',');
            children.map(|child| format!("{parent}{}", child.trim())).collect()
        }
        None => vec![name.to_owned()],
    };
    words_in_ticks(cell).flat_map(expand).collect()
}

/// The text of each module of src except test modules, without comments, strings and tests.
fn sources() -> BTreeMap<Module, String> {
    fn visit(folder: &Path, sources: &mut BTreeMap<Module, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, sources);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let within = path.strip_prefix(Path::new(ROOT).join("src")).unwrap();
                let module = within.with_extension("").to_str().unwrap().replace('/', "::");
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                sources.insert(module, plain(text));
            }
        }
    }
    let mut sources = BTreeMap::new();
    visit(&Path::new(ROOT).join("src"), &mut sources);
    sources.retain(|module, _| !module.split("::").any(|part| part == "tests") && module != "lib");
    sources
}

/// Code without comments and strings.
fn plain(code: &str) -> String {
    let mut plain = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(['/', '"', '\'']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with('"') {
            let is_raw = plain.ends_with('r') || plain.ends_with('#');
            let hashes = "#".repeat(plain.len() - plain.trim_end_matches('#').len());
            let end = format!("\"{hashes}");
            let mut length = 1;
            while !rest[length..].starts_with(&end) {
                length += if !is_raw && rest[length..].starts_with('\\') { 2 } else { 1 };
                while !rest.is_char_boundary(length) {
                    length += 1;
                }
            }
            length + end.len()
        } else if rest.starts_with("'\\") {
            // A character literal with an escape.
            3 + rest[3..].find('\'').unwrap()
        } else {
            // A character literal or a lifetime.
            let mut chars = rest.char_indices().skip(2);
            chars.next().filter(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1)
        };
        rest = &rest[skipped..];
        if skipped == 1 {
            plain.push(' ');
        }
    }
    plain + rest
}

/// The paths that a `use` tree names: `a::{b, c::d}` is `a::b` and `a::c::d`. Also accepts a single path.
fn paths_of(tree: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = tree.find(|c| !is_part(c)).unwrap_or(tree.len());
    let stem = &tree[..end];
    if !tree[end..].starts_with('{') {
        return vec![stem.to_owned()];
    }
    let (mut depth, mut begin, mut paths) = (0, end + 1, Vec::new());
    for (at, c) in tree.char_indices().skip_while(|(at, _)| *at < end) {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 || depth == 1 && c == ',' {
            let part = tree[begin..at].trim();
            if !part.is_empty() {
                paths.extend(paths_of(part).into_iter().map(|path| format!("{stem}{path}")));
            }
            begin = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    paths
}

struct Crate {
    sources: BTreeMap<Module, String>,
}

impl Crate {
    /// The paths, relative to the crate root, that a module uses.
    fn used_by(&self, module: &str) -> BTreeSet<String> {
        let text = &self.sources[module];
        let mut used = BTreeSet::new();
        for start in ["crate::", "super::", "mana_persona_runner::"] {
            for (at, _) in text.match_indices(start) {
                let before = &text[..at];
                let is_whole = !before
                    .ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
                if is_whole {
                    let paths = paths_of(&text[at..]).into_iter();
                    used.extend(paths.filter_map(|path| from_root(module, &path)));
                }
            }
        }
        // Imports from the module's own children.
        for line in text.split("use ").skip(1) {
            let tree = line.split(';').next().unwrap_or_default();
            for path in paths_of(tree) {
                let own = format!("{module}::{path}");
                let child = path.split("::").next().unwrap_or_default();
                if self.sources.contains_key(&format!("{module}::{child}")) {
                    used.insert(own);
                }
            }
        }
        used
    }

    /// The module that defines what a path names, following the re-exports of its parents.
    fn holder(&self, path: &str) -> Option<Module> {
        let parts: Vec<&str> = path.split("::").collect();
        let is_module = |length: &usize| self.sources.contains_key(&parts[..*length].join("::"));
        let length = (1..=parts.len()).rev().find(is_module)?;
        let module = parts[..length].join("::");
        let Some(name) = parts.get(length) else { return Some(module) };
        let exports = self.sources[&module].split("pub use ").skip(1);
        let exported = exports
            .chain(self.sources[&module].split("pub(crate) use ").skip(1))
            .chain(self.sources[&module].split("pub(super) use ").skip(1))
            .flat_map(|tree| paths_of(tree.split(';').next().unwrap_or_default()))
            .find(|path| path.contains("::") && path.rsplit("::").next() == Some(name));
        let exported = exported.and_then(|path| match path.strip_prefix("crate::") {
            Some(path) => self.holder(path),
            None => self.holder(&format!("{module}::{path}")).filter(|holder| *holder != module),
        });
        Some(exported.unwrap_or(module))
    }
}

/// `crate::a::b` is `a::b`; in `a::b::c`, `super::d` is `a::b::d`.
fn from_root(module: &str, path: &str) -> Option<String> {
    let whole = path.strip_prefix("crate::").or_else(|| path.strip_prefix("mana_persona_runner::"));
    if let Some(path) = whole {
        return Some(path.to_owned());
    }
    let mut parts: Vec<&str> = module.split("::").collect();
    let mut rest = path;
    while let Some(shorter) = rest.strip_prefix("super::") {
        parts.pop()?;
        rest = shorter;
    }
    parts.push(rest);
    Some(parts.join("::"))
}

fn is_within(module: &str, parent: &str) -> bool {
    module.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn each_row_of_the_table_of_modules_uses_only_rows_above_it() {
    let rows = rows(&fs::read_to_string(Path::new(ROOT).join("CLAUDE.md")).unwrap());
    assert!(rows.len() > 9, "the table is read");
    let modules = Crate { sources: sources() };
    // The row of a module, and the entry of the row that it belongs to.
    let place = |module: &str| {
        let entries =
            rows.iter().enumerate().flat_map(|(n, row)| row.modules.iter().map(move |m| (n, m)));
        entries.filter(|(_, entry)| is_within(module, entry)).max_by_key(|(_, entry)| entry.len())
    };
    let mut wrong = Vec::new();
    for module in modules.sources.keys() {
        let Some((row, entry)) = place(module) else {
            let is_parent =
                rows.iter().flat_map(|row| &row.modules).any(|entry| is_within(entry, module));
            if !is_parent {
                wrong.push(format!("{module} is in no row"));
            }
            continue;
        };
        for path in modules.used_by(module) {
            let Some(used) = modules.holder(&path) else { continue };
            let Some((its_row, its_entry)) = place(&used) else { continue };
            let is_exception = rows[row].exceptions.contains(&(entry.clone(), its_entry.clone()));
            let is_unknown =
                rows[row].knows_not.iter().any(|unknown| is_within(its_entry, unknown));
            let is_fine = entry == its_entry || is_exception || its_row < row && !is_unknown;
            if !is_fine {
                wrong.push(format!("{module} uses {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "against the table of modules in CLAUDE.md:\n{}", wrong.join("\n"));
}

/// All modules that a module uses directly or indirectly.
fn reached<'u>(used: &'u BTreeMap<&str, BTreeSet<Module>>, from: &'u str) -> BTreeSet<&'u str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        let further = used.get(module).into_iter().flatten().map(String::as_str);
        next.extend(further.filter(|used| reached.insert(*used)));
    }
    reached
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let modules = Crate { sources: sources() };
    // A module and its children may use each other; only uses of other modules count.
    let used: BTreeMap<&str, BTreeSet<Module>> = modules
        .sources
        .keys()
        .map(|module| {
            let used = modules.used_by(module).into_iter().filter_map(|path| modules.holder(&path));
            let others = used.filter(|used| !is_within(used, module) && !is_within(module, used));
            (module.as_str(), others.collect())
        })
        .collect();
    let reached: BTreeMap<&str, _> =
        used.keys().map(|module| (*module, reached(&used, module))).collect();
    let mut circles = Vec::new();
    for (module, used) in &used {
        let back = used.iter().filter(|used| reached[used.as_str()].contains(module));
        circles.extend(back.map(|used| format!("{module} uses {used}, which comes back to it")));
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}
