//! Owns the test that the modules of a crate stand on floors too: on each level of folders none uses itself by way of
//! others, and none uses what is above it.
//!
//! What a module uses is read off the paths in its source that begin with `crate`, `super` or `self`, wherever they stand.
//! `mod.rs` and `lib.rs` may use what is below them. Tests may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::workspace;

/// The crates of the product that have modules.
const CRATES: [&str; 15] = [
    "service",
    "bus",
    "signals",
    "policy",
    "core",
    "evidence",
    "trials",
    "smt",
    "vm",
    "foresight",
    "foresight-model",
    "profiler",
    "profiler-abi",
    "scx",
    "dispatcher",
];

/// The names that lead from the crate to a module; none to the crate itself.
type Module = Vec<String>;

/// What each of some modules, or of whatever else has a name, uses of the others.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The paths of one file.
struct Paths {
    found: BTreeSet<Module>,
}

impl Paths {
    /// Those in the source of `module`, tests left out.
    fn of(module: &[String], source: TokenStream) -> BTreeSet<Module> {
        let mut paths = Self {
            found: BTreeSet::new(),
        };
        paths.read(module, source);
        paths.found
    }

    fn read(&mut self, module: &[String], source: TokenStream) {
        let tokens: Vec<TokenTree> = source.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Punct(_) if is_for_tests(&tokens[at - 1..]) => {
                    at += end_of_item(&tokens[at..]);
                }
                TokenTree::Group(group) => {
                    let name = inline_module(&tokens[..at - 1]);
                    let inner: Module = module.iter().cloned().chain(name).collect();
                    self.read(&inner, group.stream());
                }
                TokenTree::Ident(word) if follows_colons(&tokens[at..]) => {
                    let begin = match word.to_string().as_str() {
                        "crate" => Vec::new(),
                        "self" => module.to_vec(),
                        "super" => parent(module),
                        _ => {
                            // A path goes on with it that begins with another crate, or is known by its name.
                            at += end_of_path(&tokens[at..]);
                            continue;
                        }
                    };
                    at += self.go_on(begin, &tokens[at..]);
                }
                _ => {}
            }
        }
    }

    /// Follows a path from where `::` stands. Returns how many tokens it took.
    fn go_on(&mut self, mut path: Module, tokens: &[TokenTree]) -> usize {
        let mut at = 0;
        while follows_colons(&tokens[at..]) {
            match tokens.get(at + 2) {
                Some(TokenTree::Ident(word)) if word == "super" => path = parent(&path),
                Some(TokenTree::Ident(word)) => path.push(word.to_string()),
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
                    for branch in inner.split(is_comma) {
                        self.branch(path.clone(), branch);
                    }
                    return at + 3;
                }
                // `*`, or what generics begin with.
                _ => {
                    at += 2;
                    break;
                }
            }
            at += 3;
        }
        self.found.insert(path);
        at
    }

    /// What stands between the commas of `path::{...}`.
    fn branch(&mut self, mut path: Module, tokens: &[TokenTree]) {
        match tokens.first() {
            Some(TokenTree::Ident(word)) => {
                if word != "self" {
                    path.push(word.to_string());
                }
                self.go_on(path, &tokens[1..]);
            }
            Some(_) => drop(self.found.insert(path)),
            None => {}
        }
    }
}

fn parent(module: &[String]) -> Module {
    module[..module.len().saturating_sub(1)].to_vec()
}

fn follows_colons(tokens: &[TokenTree]) -> bool {
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ':');
    tokens.len() >= 2 && tokens[..2].iter().all(is_colon)
}

/// Behind `name`: how many tokens of `::more::of::it` there are.
fn end_of_path(tokens: &[TokenTree]) -> usize {
    let mut at = 0;
    while follows_colons(&tokens[at..]) {
        at += 2;
        match tokens.get(at) {
            Some(TokenTree::Ident(_)) => at += 1,
            _ => break,
        }
    }
    at
}

/// The attribute `#[cfg(test)]` begins here.
fn is_for_tests(tokens: &[TokenTree]) -> bool {
    match tokens {
        [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] => {
            let words = attribute.stream().to_string().replace(' ', "");
            hash.as_char() == '#' && words == "cfg(test)"
        }
        _ => false,
    }
}

/// How many tokens of an item are here, up to its body or its semicolon.
fn end_of_item(tokens: &[TokenTree]) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(mark) => mark.as_char() == ';',
        _ => false,
    };
    tokens
        .iter()
        .position(ends)
        .map_or(tokens.len(), |at| at + 1)
}

/// The name of the module whose body comes after these tokens.
fn inline_module(tokens: &[TokenTree]) -> Option<String> {
    match tokens {
        [.., TokenTree::Ident(keyword), TokenTree::Ident(name)] if keyword == "mod" => {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// Each module of a crate that has a file, with the paths in it.
fn modules_of(crate_name: &str) -> BTreeMap<Module, BTreeSet<Module>> {
    fn walk(directory: &Path, of: &[String], found: &mut BTreeMap<Module, BTreeSet<Module>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let is_root = of.is_empty() && (name == "lib" || name == "main");
            if name == "tests" {
                continue;
            }
            let mut module = of.to_vec();
            if !is_root && name != "mod" {
                module.push(name);
            }
            if path.is_dir() {
                // A program of its own has no modules of this crate.
                if !path.join("main.rs").exists() {
                    walk(&path, &module, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                let paths = Paths::of(&module, source.parse().unwrap());
                found.entry(module).or_default().extend(paths);
            }
        }
    }
    let mut found = BTreeMap::new();
    let source = workspace::root().join(crate_name).join("src");
    walk(&source, &[], &mut found);
    found
}

/// What is wrong with such modules, in words.
fn faults(modules: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut levels: BTreeMap<&[String], Graph> = BTreeMap::new();
    for (user, paths) in modules {
        for path in paths {
            // What a path ends with is in a module, if it is none.
            let is_module = |length: &usize| modules.contains_key(&path[..*length]);
            let used = &path[..(0..=path.len()).rev().find(is_module).unwrap_or(0)];
            let both = user.iter().zip(used);
            let common = both.take_while(|(user, used)| user == used).count();
            match (user.get(common), used.get(common)) {
                (Some(user), Some(used)) => {
                    let level = levels.entry(&path[..common]).or_default();
                    level.entry(user.clone()).or_default().insert(used.clone());
                }
                (Some(_), None) => faults.push(format!(
                    "{} uses {}, of what is above it",
                    user.join("::"),
                    path.join("::")
                )),
                // What is below it, or it itself.
                (None, _) => {}
            }
        }
    }
    for (level, graph) in levels {
        if let Some(circle) = circle(&graph) {
            faults.push(format!("in {level:?}: {}", circle.join(" uses ")));
        }
    }
    faults
}

/// One way from something back to it, if there is any.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn follow<'g>(
        graph: &'g Graph,
        name: &'g str,
        way: &mut Vec<&'g str>,
        done: &mut BTreeSet<&'g str>,
    ) -> bool {
        let is_circle = way.contains(&name);
        way.push(name);
        if is_circle {
            return true;
        }
        if !done.contains(name) {
            let mut used = graph.get(name).into_iter().flatten();
            if used.any(|used| follow(graph, used, way, done)) {
                return true;
            }
        }
        way.pop();
        done.insert(name);
        false
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|name| {
        let mut way = Vec::new();
        follow(graph, name, &mut way, &mut done).then(|| {
            let last = way.last().copied();
            let circle = way.into_iter().skip_while(|name| Some(*name) != last);
            circle.map(str::to_owned).collect()
        })
    })
}

#[test]
fn no_module_uses_itself_by_way_of_others() {
    for name in CRATES {
        let modules = modules_of(name);
        let faults = faults(&modules);
        assert!(faults.is_empty(), "{name}: {faults:#?}");
    }
    // The crate with the most modules has paths to judge.
    let paths: usize = modules_of("dispatcher").values().map(BTreeSet::len).sum();
    assert!(paths > 100, "{paths}");
}

#[test]
fn a_circle_is_found_and_what_is_used_twice_is_none() {
    let graph = |uses: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (user, used) in uses {
            let all = graph.entry((*user).to_owned()).or_default();
            all.insert((*used).to_owned());
        }
        graph
    };
    let diamond = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")];
    assert_eq!(circle(&graph(&diamond)), None);
    let back = [&diamond[..], &[("d", "b")]].concat();
    assert_eq!(circle(&graph(&back)).unwrap(), ["b", "d", "b"]);
    assert_eq!(circle(&graph(&[("a", "a")])).unwrap(), ["a", "a"]);
}

#[test]
fn paths_are_found_wherever_they_stand_and_none_of_tests() {
    let module = ["api", "bus"].map(str::to_owned);
    let source = r#"
        //! Not crate::documented.
        use std::crate_::fs;
        use super::{status::{Current, self}, request};
        use crate::metrics::*;
        #[cfg(test)]
        mod tests { use crate::tested::Thing; }
        mod inner { use super::super::address; }
        fn function(text: &str) -> crate::mode::Mode<crate::kinds::Kind> {
            println!("crate::quoted {}", crate::printed::text(self::own(text), other::crate::x));
        }
    "#;
    let paths = Paths::of(&module, source.parse().unwrap());
    let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    let expected = [
        "api::address",
        "api::bus::own",
        "api::request",
        "api::status",
        "api::status::Current",
        "kinds::Kind",
        "metrics",
        "mode::Mode",
        "printed::text",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn siblings_may_not_use_each_other_at_any_level_nor_what_is_above_them() {
    let modules = |uses: &[(&str, &str)]| {
        let module = |path: &str| -> Module {
            let names = path.split("::").filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        let mut modules = BTreeMap::from([(Module::new(), BTreeSet::new())]);
        for (user, used) in uses {
            modules
                .entry(module(user))
                .or_insert_with(BTreeSet::new)
                .insert(module(used));
        }
        faults(&modules)
    };
    let fine = [
        ("", "a::Thing"),
        ("a", "a::b::Thing"),
        ("a::b", "a::c::Thing"),
        ("a::c", "d"),
        ("d", "d"),
    ];
    assert_eq!(modules(&fine), Vec::<String>::new());
    let beside = [&fine[..], &[("a::c", "a::b::Other")]].concat();
    assert_eq!(modules(&beside), [r#"in ["a"]: b uses c uses b"#]);
    let further_up = [&fine[..], &[("d", "a::b::Other")]].concat();
    assert_eq!(modules(&further_up), ["in []: a uses d uses a"]);
    let above = [&fine[..], &[("a::c", "a::Thing")]].concat();
    assert_eq!(modules(&above), ["a::c uses a::Thing, of what is above it"]);
}
