//! Owns which kernels the test machine boots: the three roles, and the choice of a version from
//! what the archive has. Fetching one is the business of `kernel`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

/// Debian's kernel for virtual machines: the smallest, with what QEMU's devices need built in.
const FLAVOUR: &str = "-cloud-amd64";

/// What a kernel is used to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// The newest kernel on which schedulers load.
    Newest,
    /// The oldest kernel on which schedulers load.
    Oldest,
    /// A kernel with sched_ext whose BTF every scheduler refuses: none can load.
    Refusing,
}

impl Role {
    /// All roles, in the order in which they are tested.
    pub(crate) const ALL: [Self; 3] = [Self::Newest, Self::Oldest, Self::Refusing];

    /// The name, as it is given on the command line and to the system tests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Refusing => "refusing",
        }
    }

    /// Whether schedulers load on it.
    pub(crate) fn loads(self) -> bool {
        self != Self::Refusing
    }

    /// The version that this role is known to hold for.
    pub(crate) fn known(self) -> &'static str {
        match self {
            Self::Newest => "7.2.13+deb14-cloud-amd64",
            Self::Oldest => "6.18.15+deb13-cloud-amd64",
            Self::Refusing => "7.2.12+deb13-cloud-amd64",
        }
    }

    /// Whether `version` can stand in for the known one.
    fn admits(self, version: &Version) -> bool {
        match self {
            // Built in the development release, whose pahole writes BTF as the kernel is new.
            Self::Newest => version.release > 13 && version.upstream >= [7, 2, 0],
            // Before that, Debian's kernels have sched_ext off.
            Self::Oldest => version.upstream >= [6, 18, 0] && version.upstream < [7, 2, 0],
            // Built in Debian 13, whose pahole is too old for these kernels.
            Self::Refusing => version.release == 13 && version.upstream >= [7, 2, 0],
        }
    }
}

/// Which kernel to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The one that fits a role.
    Role(Role),
    /// One version, in full or without its flavour.
    Version(String),
}

impl FromStr for Kernel {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(role) = Role::ALL.into_iter().find(|role| role.name() == text) {
            return Ok(Self::Role(role));
        }
        let full = if text.ends_with(FLAVOUR) {
            text.into()
        } else {
            format!("{text}{FLAVOUR}")
        };
        match Version::parse(&full) {
            Some(_) => Ok(Self::Version(full)),
            None => bail!(
                "no kernel `{text}`: say newest, oldest, refusing or a version of Debian's cloud \
                 kernels such as {}",
                Role::Newest.known()
            ),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => f.write_str(role.name()),
            Self::Version(version) => f.write_str(version),
        }
    }
}

/// A version of Debian's cloud kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    full: String,
    /// The numbers of the upstream version.
    upstream: [u32; 3],
    /// The Debian release it was built for.
    release: u32,
}

impl Version {
    /// Reads what `uname -r` says, such as `6.18.15+deb13-cloud-amd64`.
    fn parse(full: &str) -> Option<Self> {
        let (upstream, build) = full.strip_suffix(FLAVOUR)?.split_once("+deb")?;
        // `+deb12.1` is a second build for Debian 12.
        let release = build.split('.').next()?.parse().ok()?;
        let mut numbers = [0; 3];
        for (i, number) in upstream.split('.').enumerate() {
            *numbers.get_mut(i)? = number.parse().ok()?;
        }
        Some(Self {
            full: full.to_owned(),
            upstream: numbers,
            release,
        })
    }

    /// How far this is from `other`: by the first number that differs, then the next.
    fn distance(&self, other: &Self) -> [u32; 3] {
        std::array::from_fn(|i| self.upstream[i].abs_diff(other.upstream[i]))
    }
}

/// The packages of one kernel version that are in `packages`, or none if they do not make a whole
/// kernel: the archive can hold half of one while it is being built.
pub(crate) fn packages_of(version: &str, packages: &BTreeSet<String>) -> Vec<String> {
    let named = |part| format!("linux-{part}-{version}");
    let has = |part| packages.contains(&named(part));
    // linux-modules split from linux-binary in 7.2, and linux-binary from linux-image in 6.19.
    if !has("image") || (has("modules") && !(has("binary") && has("base"))) {
        return Vec::new();
    }
    ["image", "base", "binary", "modules"]
        .into_iter()
        .filter(|p| has(p))
        .map(named)
        .collect()
}

/// The version for `role` among the archive's `packages`: the known one, or the nearest that can
/// stand in for it.
pub(crate) fn choose(role: Role, packages: &BTreeSet<String>) -> Option<String> {
    let known = Version::parse(role.known())?;
    packages
        .iter()
        .filter_map(|package| Version::parse(package.strip_prefix("linux-image-")?))
        .filter(|version| role.admits(version) && !packages_of(&version.full, packages).is_empty())
        .min_by_key(|version| (version.distance(&known), Reverse(version.upstream)))
        .map(|version| version.full)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package list with whole kernels of `versions`, split as their time had them.
    fn archive(versions: &[&str]) -> BTreeSet<String> {
        let mut packages = BTreeSet::new();
        for version in versions {
            let parts: &[&str] = if version.starts_with("7.2") || version.starts_with("7.3") {
                &["image", "base", "binary", "modules"]
            } else {
                &["image"]
            };
            packages.extend(
                parts
                    .iter()
                    .map(|part| format!("linux-{part}-{version}-cloud-amd64")),
            );
            packages.extend(
                parts
                    .iter()
                    .map(|part| format!("linux-{part}-{version}-rt-amd64")),
            );
        }
        packages
    }

    fn chosen(role: Role, versions: &[&str]) -> Option<String> {
        let chosen = choose(role, &archive(versions))?;
        Some(chosen.trim_end_matches(FLAVOUR).to_owned())
    }

    #[test]
    fn every_known_version_fits_its_own_role() {
        for role in Role::ALL {
            let known = Version::parse(role.known()).unwrap();
            assert!(role.admits(&known), "{role:?}");
            assert_eq!(
                "newest oldest refusing"
                    .split(' ')
                    .filter(|n| *n == role.name())
                    .count(),
                1
            );
        }
    }

    #[test]
    fn the_known_version_is_chosen_where_the_archive_has_it() {
        let all = [
            "6.12.107+deb13",
            "6.18.5+deb13",
            "6.18.15+deb13",
            "6.19.6+deb13",
        ];
        let all = [&all[..], &["7.2.11+deb13", "7.2.12+deb13", "7.2.13+deb14"]].concat();
        assert_eq!(chosen(Role::Oldest, &all).unwrap(), "6.18.15+deb13");
        assert_eq!(chosen(Role::Refusing, &all).unwrap(), "7.2.12+deb13");
        assert_eq!(chosen(Role::Newest, &all).unwrap(), "7.2.13+deb14");
    }

    #[test]
    fn the_nearest_stands_in_for_a_version_that_left_the_archive() {
        let later = [
            "6.18.12+deb13",
            "6.18.5+deb13",
            "7.1.3+deb13",
            "7.2.9+deb13",
        ];
        let later = [&later[..], &["7.3.4+deb13", "7.3.5+deb14", "7.4.1+deb14"]].concat();
        assert_eq!(chosen(Role::Oldest, &later).unwrap(), "6.18.12+deb13");
        assert_eq!(chosen(Role::Refusing, &later).unwrap(), "7.2.9+deb13");
        assert_eq!(chosen(Role::Newest, &later).unwrap(), "7.3.5+deb14");
    }

    #[test]
    fn newest_is_never_a_build_whose_btf_is_refused() {
        assert_eq!(chosen(Role::Newest, &["7.2.12+deb13", "7.3.4+deb13"]), None);
    }

    #[test]
    fn a_kernel_without_sched_ext_never_stands_in() {
        assert_eq!(
            chosen(Role::Oldest, &["6.12.107+deb13", "6.16.12+deb13"]),
            None
        );
    }

    #[test]
    fn half_a_kernel_is_none() {
        let mut packages = archive(&["7.3.4+deb14"]);
        packages.remove("linux-binary-7.3.4+deb14-cloud-amd64");
        assert_eq!(choose(Role::Newest, &packages), None);
        packages.remove("linux-image-7.3.4+deb14-cloud-amd64");
        assert_eq!(choose(Role::Newest, &packages), None);
    }

    #[test]
    fn a_kernel_is_named_by_role_or_version() {
        assert_eq!(
            "oldest".parse::<Kernel>().unwrap(),
            Kernel::Role(Role::Oldest)
        );
        let version = Kernel::Version("6.19.14+deb13-cloud-amd64".into());
        assert_eq!("6.19.14+deb13".parse::<Kernel>().unwrap(), version);
        assert_eq!(
            "6.19.14+deb13-cloud-amd64".parse::<Kernel>().unwrap(),
            version
        );
        assert!("latest".parse::<Kernel>().is_err());
    }
}
