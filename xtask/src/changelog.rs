//! Owns how CHANGELOG.md becomes the changelog of the Debian package, of which Debian's policy fixes the
//! format: deb-changelog(5).

use anyhow::{Context as _, Result, ensure};

/// How long a line may be.
const WIDTH: usize = 79;

/// What is said of a package beside its changes.
pub(crate) struct About<'t> {
    /// The version that is not released yet.
    pub(crate) version: &'t str,
    pub(crate) maintainer: &'t str,
    /// The package's name.
    pub(crate) package: &'t str,
}

/// A version of the changelog.
#[derive(Debug, Default, PartialEq, Eq)]
struct Release {
    /// `None` while it is not released.
    version_and_day: Option<(String, String)>,
    /// `Added` and so on, each with its items.
    changes: Vec<(String, Vec<String>)>,
}

/// The changelog in Debian's format. `date` makes such a date, as in a mail, of a day or, without one, of
/// that of the package.
pub(crate) fn debian(
    text: &str,
    about: &About<'_>,
    date: impl Fn(Option<&str>) -> Result<String>,
) -> Result<String> {
    let mut out = String::new();
    for release in releases(text)? {
        if release.changes.is_empty() {
            continue;
        }
        let (version, day) = match &release.version_and_day {
            Some((version, day)) => (version.as_str(), Some(day.as_str())),
            None => (about.version, None),
        };
        if !out.is_empty() {
            out.push('\n');
        }
        let package = about.package;
        out += &format!("{package} ({version}-1) unstable; urgency=medium\n");
        for (kind, items) in &release.changes {
            out += &format!("\n  [ {kind} ]\n");
            for item in items {
                out += &wrapped(item);
            }
        }
        out += &format!("\n -- {}  {}\n", about.maintainer, date(day)?.trim());
    }
    ensure!(!out.is_empty(), "CHANGELOG.md has no changes");
    Ok(out)
}

fn releases(text: &str) -> Result<Vec<Release>> {
    let mut releases: Vec<Release> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            releases.push(Release {
                version_and_day: version_and_day(heading)?,
                changes: Vec::new(),
            });
            continue;
        }
        // What comes before the first heading is about the file.
        let Some(release) = releases.last_mut() else {
            continue;
        };
        if let Some(kind) = line.strip_prefix("### ") {
            release.changes.push((kind.to_owned(), Vec::new()));
            continue;
        }
        let items = release.changes.last_mut().map(|(_, items)| items);
        if let Some(item) = line.strip_prefix("- ") {
            let items = items.with_context(|| format!("no heading before `{line}`"))?;
            items.push(item.to_owned());
        } else if !line.trim().is_empty() {
            let item = items.and_then(|items| items.last_mut());
            let item = item.with_context(|| format!("no item before `{line}`"))?;
            item.push(' ');
            item.push_str(line.trim());
        }
    }
    Ok(releases)
}

/// Of `Unreleased`, or of `[1.2.3] - 2027-01-31`.
fn version_and_day(heading: &str) -> Result<Option<(String, String)>> {
    if heading == "Unreleased" {
        return Ok(None);
    }
    let parts = heading.split_once(" - ");
    let (version, day) = parts.with_context(|| format!("`{heading}` is no `[VERSION] - DAY`"))?;
    Ok(Some((
        version.trim_matches(['[', ']']).to_owned(),
        day.to_owned(),
    )))
}

/// An item as lines that are short enough.
fn wrapped(item: &str) -> String {
    let mut lines = String::new();
    let mut line = "  *".to_owned();
    for word in item.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &line;
            lines.push('\n');
            line = "   ".to_owned();
        }
        line.push(' ');
        line += word;
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'_> = About {
        version: "0.2.0",
        maintainer: "Somebody <somebody@example.org>",
        package: "auto-ext",
    };

    fn date(day: Option<&str>) -> Result<String> {
        Ok(format!("date of {}\n", day.unwrap_or("the package")))
    }

    #[test]
    fn every_release_has_its_version_changes_and_date() {
        let text = "# Changelog\n\nAbout it.\n\n## Unreleased\n\n### Added\n- One thing,\n  which goes on.\n\
                    - Another.\n\n### Fixed\n- A third.\n\n## [0.1.0] - 2026-12-01\n\n### Added\n- All.\n";
        let expected = "auto-ext (0.2.0-1) unstable; urgency=medium\n\n  [ Added ]\n  * One thing, which goes \
                        on.\n  * Another.\n\n  [ Fixed ]\n  * A third.\n\n -- Somebody \
                        <somebody@example.org>  date of the package\n\nauto-ext (0.1.0-1) unstable; \
                        urgency=medium\n\n  [ Added ]\n  * All.\n\n -- Somebody <somebody@example.org>  date \
                        of 2026-12-01\n";
        assert_eq!(debian(text, &ABOUT, date).unwrap(), expected);
    }

    #[test]
    fn what_would_be_lost_is_an_error() {
        for text in [
            "",
            "## Unreleased\n",
            "## 1.0\n### Added\n- A\n",
            "## Unreleased\n- A\n",
            "## Unreleased\n### Added\nA\n",
        ] {
            assert!(debian(text, &ABOUT, date).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_changelog_of_this_version_has_no_long_lines() {
        let text = include_str!("../../CHANGELOG.md");
        let made = debian(text, &ABOUT, date).unwrap();
        assert!(made.lines().all(|line| line.chars().count() <= WIDTH));
        let items = text.lines().filter(|line| line.starts_with("- ")).count();
        let bullets = made.lines().filter(|line| line.starts_with("  * "));
        assert_eq!(bullets.count(), items);
    }
}
