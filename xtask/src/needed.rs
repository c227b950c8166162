//! Owns the way to packaging/needed, which says what of others auto-ext and the schedulers are built
//! with. install.sh reads the same file.

/// The list.
const NEEDED: &str = include_str!("../../packaging/needed");

/// Name and version of each scheduler.
pub(crate) fn schedulers() -> impl Iterator<Item = (&'static str, &'static str)> {
    lines("scheduler").filter_map(|line| line.split_once(' '))
}

/// The packages that `what` is built with where `manager` installs them, as the list has them: with
/// alternatives, and without a version of LLVM.
pub(crate) fn packages(what: &str, manager: &str) -> impl Iterator<Item = &'static str> {
    let head = format!("{what} {manager} ");
    lines("packages")
        .filter_map(move |line| line.strip_prefix(head.as_str()))
        .flat_map(str::split_whitespace)
}

/// `package` as Debian names it: the first of the alternatives, for this major version of LLVM.
pub(crate) fn of_debian(package: &str, llvm: &str) -> String {
    let first = package.split_once('|').map_or(package, |(first, _)| first);
    first.replace("LLVM", llvm)
}

/// The C compiler for the schedulers' BPF programs.
pub(crate) fn bpf_clang() -> &'static str {
    packages("schedulers", "apt-get")
        .flat_map(|package| package.split('|'))
        .find(|name| name.starts_with("clang"))
        .unwrap_or("clang")
}

fn lines(of: &'static str) -> impl Iterator<Item = &'static str> {
    NEEDED
        .lines()
        .filter_map(move |line| line.strip_prefix(of)?.strip_prefix(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that nobody reads is one that somebody mistyped.
    #[test]
    fn every_line_of_the_list_is_read() {
        let managers = ["apt-get", "dnf", "zypper", "pacman"];
        for line in NEEDED.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                [] | [""] | ["#", ..] | ["scheduler", _, _] => {}
                [
                    "packages",
                    "auto-ext" | "bpf-linker" | "schedulers",
                    manager,
                    _,
                    ..,
                ]
                | ["scx", manager, _] => {
                    assert!(managers.contains(&manager), "{line}");
                }
                _ => panic!("{line}"),
            }
        }
        for manager in managers {
            for what in ["auto-ext", "bpf-linker", "schedulers"] {
                assert!(packages(what, manager).count() > 0, "{what} {manager}");
            }
        }
        assert_eq!(schedulers().count(), 7);
        assert_eq!(bpf_clang(), "clang-19");
    }

    #[test]
    fn debian_has_the_first_alternative_and_numbers_llvm() {
        assert_eq!(of_debian("clang-19|clang", "22"), "clang-19");
        assert_eq!(of_debian("llvm-LLVM-dev", "22"), "llvm-22-dev");
        assert_eq!(of_debian("make", "22"), "make");
    }
}
