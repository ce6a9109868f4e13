//! The tree is the data flow: what holds for all of the source.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The modules in the order lib.rs declares them.
fn stations() -> Vec<String> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let name =
        |line: &str| Some(line.strip_prefix("pub mod ").or(line.strip_prefix("mod "))?.split(';').next()?.to_owned());
    lib.lines().filter_map(name).collect()
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

fn station_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    Path::new(inside.components().next().unwrap().as_os_str()).file_stem().unwrap().to_string_lossy().into_owned()
}

/// Names after `crate::` in the code of a file, tests and comments left out.
fn named(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut names = Vec::new();
    for line in lines {
        for rest in line.split("crate::").skip(1) {
            let list = rest.strip_prefix('{').map_or(rest, |inner| inner.split('}').next().unwrap());
            let many = if rest.starts_with('{') { list.split(',').collect() } else { vec![list] };
            names.extend(
                many.into_iter()
                    .map(|name| name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
            );
        }
    }
    names
}

#[test]
fn a_module_names_only_those_above_it() {
    let stations = stations();
    let place = |name: &str| stations.iter().position(|station| station == name);
    let mut wrong = Vec::new();
    for (path, text) in sources(&root().join("src")) {
        let own = station_of(&path);
        let Some(own_place) = place(&own) else { continue };
        for name in named(&text) {
            if place(&name).is_some_and(|other| other > own_place) {
                wrong.push(format!("{}: {own} names {name}, which stands below it", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_is_declared_with_its_reason_to_change() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let bare: Vec<_> = lib.lines().filter(|line| line.starts_with("pub mod ") && !line.contains("; // ")).collect();
    assert!(bare.is_empty(), "{bare:?}");
}

/// A word stands in one station only: git2 in git, SQL in queue, outgoing HTTP in send.
#[test]
fn each_tool_has_one_home() {
    let homes =
        [("git2::", "git"), ("rusqlite", "queue"), ("reqwest", "send"), ("toml_edit", "cli"), ("maud", "sandbox")];
    let mut wrong = Vec::new();
    for (path, text) in sources(&root().join("src")) {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for (word, home) in homes {
            if code.contains(word) && station_of(&path) != home {
                wrong.push(format!("{} names {word}, whose home is {home}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = sources(&root().join("src"))
        .into_iter()
        .filter(|(path, text)| !text.starts_with("//!") && !path.ends_with("main.rs") && !path.ends_with("tests.rs"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}
