//! Owns the tests of what README.md, ARCHITECTURE.md and docs/ say, as far as the repository itself can tell
//! whether it is so: files, subcommands and tests that are named, figures, versions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use super::SOAK_SECONDS;
use crate::{Arguments, needed, schedulers, workspace};

fn read(path: &str) -> String {
    fs::read_to_string(workspace::root().join(path)).unwrap()
}

/// What stands between backquotes, in a line or over two, but for blocks.
fn code(text: &str) -> Vec<String> {
    let mut paragraphs = Vec::new();
    for paragraph in text.split("\n\n") {
        let words: Vec<&str> = paragraph.split('`').skip(1).step_by(2).collect();
        paragraphs.extend(words.iter().map(|word| word.replace('\n', " ")));
    }
    paragraphs
}

/// The lines of code blocks that are indented.
fn block_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("    "))
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .is_some_and(|name| name == "target" || name == ".git")
        {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        }
        found.push(path);
    }
}

/// A row names files and directories, those after the first where that one is, and then files below.
#[test]
fn every_file_of_the_code_map_exists() {
    let text = read("ARCHITECTURE.md");
    let map = text.split("## Code map").nth(1).unwrap();
    let map = map.split("\n## ").next().unwrap();
    let mut all = Vec::new();
    walk(workspace::root(), &mut all);
    let mut rows = 0;
    for row in map.lines().filter(|line| line.starts_with("| `")) {
        rows += 1;
        let (place, about) = row[2..].split_once(" | ").unwrap();
        let mut first: Option<PathBuf> = None;
        for name in code(place) {
            let beside = first.as_deref().and_then(Path::parent);
            let place = [Some(workspace::root()), beside].into_iter().flatten();
            let path = place
                .map(|place| place.join(&name))
                .find(|path| path.exists());
            let path = path.unwrap_or_else(|| panic!("`{name}`: {row}"));
            first.get_or_insert(path);
        }
        let owner = first.unwrap();
        let owner = if owner.is_dir() {
            owner.as_path()
        } else {
            owner.parent().unwrap()
        };
        for name in code(about) {
            let is_path = name.ends_with(".rs") || name.ends_with('/');
            let wanted = Path::new(&name);
            let exists = all
                .iter()
                .any(|path| path.starts_with(owner) && path.ends_with(wanted));
            assert!(
                !is_path || exists,
                "`{name}` is not in {}: {row}",
                owner.display()
            );
        }
    }
    assert!(rows > 20);
}

#[test]
fn every_file_with_unsafe_code_is_in_the_list_of_them() {
    let text = read("ARCHITECTURE.md");
    let list = text.split("- **`unsafe` is only at").nth(1).unwrap();
    let list = list.split("\n- **").next().unwrap();
    let mut all = Vec::new();
    for part in [
        "profiler/src",
        "scx/src",
        "service/src",
        "dispatcher/src",
        "foresight/src",
        "system-tests/src",
        "xtask/src",
    ] {
        walk(&workspace::root().join(part), &mut all);
    }
    for path in all
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
    {
        let text = fs::read_to_string(path).unwrap();
        let has = text.lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//") && (line.contains("unsafe {") || line.contains("unsafe impl"))
        });
        let name = path.file_name().unwrap().to_string_lossy();
        let is_test = path.ends_with("tests.rs") || path.ends_with("words.rs");
        assert!(
            !has || is_test || list.contains(&*name),
            "{}",
            path.display()
        );
    }
}

#[test]
fn every_subcommand_and_option_of_cargo_xtask_that_is_named_exists() {
    let command = Arguments::command();
    let mut named = 0;
    for file in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/manual.md",
        "docs/faults.md",
        "docs/benchmarks.md",
    ] {
        let text = read(file);
        let lines = block_lines(&text).map(str::to_owned);
        for line in code(&text).into_iter().chain(lines) {
            let Some(line) = line.trim().strip_prefix("cargo xtask ") else {
                continue;
            };
            named += 1;
            let mut now = &command;
            let mut chain = vec![now];
            for word in line.split_whitespace().take_while(|word| *word != "--") {
                if let Some(option) = word.strip_prefix("--") {
                    let option = option.split('=').next();
                    let known = chain
                        .iter()
                        .any(|c| c.get_arguments().any(|a| a.get_long() == option));
                    assert!(known, "{file}: `{word}` of `cargo xtask {line}`");
                } else if let Some(next) = now.find_subcommand(word) {
                    now = next;
                    chain.push(now);
                } else {
                    // An argument, if the subcommand takes one; else it is none.
                    let takes = now
                        .get_arguments()
                        .any(|a| a.is_positional() || a.get_action().takes_values());
                    assert!(takes, "{file}: `{word}` of `cargo xtask {line}`");
                }
            }
            assert!(chain.len() > 1, "{file}: `cargo xtask {line}`");
        }
    }
    assert!(named > 20);
}

/// With `...` at its end a name may go on.
#[test]
fn every_test_that_the_list_of_faults_names_exists() {
    let mut all = Vec::new();
    for part in [
        "system-tests/src/tests",
        "xtask/src/test",
        "smt/examples",
        "core/src",
        "scx/src",
        "policy",
        "dispatcher/src",
    ] {
        walk(&workspace::root().join(part), &mut all);
    }
    let mut tests = BTreeSet::new();
    for path in all.iter().filter(|path| path.is_file()) {
        let text = fs::read_to_string(path).unwrap();
        let functions = text.split("fn ").skip(1);
        tests.extend(functions.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
    }
    let mut named = 0;
    for row in read("docs/faults.md")
        .lines()
        .filter(|line| line.starts_with("| "))
    {
        let column = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in code(column) {
            named += 1;
            let exists = match name.strip_suffix("...") {
                Some(begin) => tests.iter().any(|test| test.starts_with(begin)),
                None => tests.contains(&name),
            };
            assert!(exists, "`{name}`: {row}");
        }
    }
    assert!(named > 50);
}

/// Who reads "99.0 %" must find it, and what it is of, in the report.
#[test]
fn every_figure_of_what_it_costs_is_in_the_report() {
    let readme = read("README.md");
    let costs = readme.split("## What it costs").nth(1).unwrap();
    let costs = costs.split("\n## ").next().unwrap();
    let report = read("docs/benchmarks.md");
    let words = |text: &str| {
        let part = |c: char| !(c.is_ascii_alphanumeric() || "._+-".contains(c));
        let words = text
            .split(part)
            .map(|word| word.trim_matches('.').to_owned());
        words.collect::<BTreeSet<String>>()
    };
    let known = words(&report);
    let is_figure =
        |word: &str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    let figures: Vec<_> = words(costs)
        .into_iter()
        .filter(|word| is_figure(word))
        .collect();
    assert!(figures.len() > 30, "{figures:?}");
    for figure in figures {
        assert!(
            known.contains(&figure),
            "{figure} is not in docs/benchmarks.md"
        );
    }
    let (loader, version) = schedulers::SCX_LOADER[0];
    assert!(costs.contains(&format!("{loader} {version}")));
}

#[test]
fn every_row_of_what_it_costs_names_the_command_that_measures_it() {
    let readme = read("README.md");
    let costs = readme.split("## What it costs").nth(1).unwrap();
    let rows: Vec<_> = costs
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    assert!(rows.len() > 5);
    // The first is the heading.
    for row in &rows[1..] {
        assert!(
            row.ends_with("` |") && row.contains("| `cargo xtask bench "),
            "{row}"
        );
    }
}

#[test]
fn the_soak_lasts_as_long_as_is_said() {
    assert_eq!(SOAK_SECONDS, 120);
    assert!(read("docs/faults.md").contains("Two minutes of it, with"));
    assert!(read("ARCHITECTURE.md").contains("two minutes of soak"));
}

/// The other places that have to say it: cargo and CI read no list.
#[test]
fn versions_and_packages_are_said_as_they_are_listed() {
    let version = read("Cargo.toml");
    let rust = version
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let rust = rust.unwrap().trim_matches('"');
    assert!(read("README.md").contains(&format!("({rust} or later)")));
    let first: Vec<_> = needed::packages("auto-ext", "apt-get").collect();
    assert!(read(".ci/run").contains(&format!("--no-install-recommends {}", first.join(" "))));
    for package in ["auto-ext_", "auto-ext-"] {
        let name = format!("{package}{}", env!("CARGO_PKG_VERSION"));
        assert!(read("README.md").contains(&name), "{name}");
    }
}

#[test]
fn the_demonstration_has_the_schedulers_of_the_shipped_policy() {
    let policy = read("policies.yaml");
    let used = policy
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("use: [")?.strip_suffix(']'))
        .flat_map(|names| names.split(", "))
        .filter(|name| *name != "kernel")
        .filter_map(|name| Some(format!("scx_{}", name.split('-').next()?)));
    let used: BTreeSet<String> = used.collect();
    let shown = schedulers::OF_SHIPPED_POLICY.iter();
    assert_eq!(used, shown.map(ToString::to_string).collect());
}
