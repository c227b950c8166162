//! The directory beside a policy, and which of its files belong to the policy: for `policies.yaml` those in `policies.d`
//! whose names end in `.yaml` and do not begin with a dot, in the order of their names' bytes.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use auto_ext_policy::MAX_PARTS;

const EXTENSION: &str = "yaml";
/// Of this many entries of the directory the names are looked at.
const MAX_ENTRIES: usize = 10_000;

/// What was found in the directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The files that belong to the policy, in their order.
    pub(crate) parts: Vec<PathBuf>,
    /// Those that somebody may think belong to it, and which do not.
    pub(crate) others: Vec<PathBuf>,
}

/// The directory beside the policy at `path`.
pub(crate) fn beside(path: &Path) -> PathBuf {
    path.with_extension("d")
}

/// The policy to which the file at `path` belongs, if it is in the directory beside one.
pub(crate) fn policy_of(path: &Path) -> Option<PathBuf> {
    let directory = path.parent()?;
    let policy = directory.with_extension(EXTENSION);
    let belongs = beside(&policy) == directory && is_part(path.file_name()?) && policy.is_file();
    belongs.then_some(policy)
}

/// Whether a file with this name in the directory belongs to the policy.
pub(crate) fn is_part(name: &OsStr) -> bool {
    let path = Path::new(name);
    !name.as_bytes().starts_with(b".") && path.extension().is_some_and(|it| it == EXTENSION)
}

/// The files in `directory`; none where there is no such directory. Else why they cannot be known.
pub(crate) fn find(directory: &Path) -> Result<Found, String> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(format!("cannot read this directory: {error}")),
    };
    let mut found = Found::default();
    for (number, entry) in entries.enumerate() {
        let entry = entry.map_err(|error| format!("cannot read this directory: {error}"))?;
        if number >= MAX_ENTRIES {
            return Err(format!(
                "there are more than {MAX_ENTRIES} files in this directory"
            ));
        }
        let path = entry.path();
        if is_part(&entry.file_name()) {
            found.parts.push(path);
        } else if path
            .extension()
            .is_some_and(|it| it == "yml" || it == "YAML")
        {
            found.others.push(path);
        }
    }
    if found.parts.len() > MAX_PARTS {
        let count = found.parts.len();
        return Err(format!(
            "there are {count} files in this directory whose names end in `.yaml`; {MAX_PARTS} may be"
        ));
    }
    found.parts.sort();
    found.others.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_belong_to_a_policy_are_in_the_order_of_their_names() {
        let root = tempfile::tempdir().unwrap();
        let policy = root.path().join("policies.yaml");
        assert_eq!(find(&beside(&policy)), Ok(Found::default()));
        let directory = root.path().join("policies.d");
        fs::create_dir(&directory).unwrap();
        for name in [
            "b.yaml",
            "10.yaml",
            "B.yaml",
            ".#b.yaml",
            "b.yaml~",
            ".b.yaml.swp",
            "c.yml",
            "d.yaml.off",
        ] {
            fs::write(directory.join(name), "").unwrap();
        }
        let found = find(&beside(&policy)).unwrap();
        let expected = ["10.yaml", "B.yaml", "b.yaml"].map(|name| directory.join(name));
        assert_eq!(found.parts, expected);
        assert_eq!(found.others, [directory.join("c.yml")]);
        assert_eq!(policy_of(&directory.join("b.yaml")), None);
        fs::write(&policy, "").unwrap();
        assert_eq!(policy_of(&directory.join("b.yaml")), Some(policy.clone()));
        assert_eq!(policy_of(&policy), None);
        assert_eq!(policy_of(Path::new("b.yaml")), None);
    }

    #[test]
    fn more_files_than_a_policy_may_have_and_what_is_no_directory_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..=MAX_PARTS {
            fs::write(root.path().join(format!("{number}.yaml")), "").unwrap();
        }
        let error = find(root.path()).unwrap_err();
        assert!(error.contains("there are 65 files"), "{error}");
        fs::remove_file(root.path().join("0.yaml")).unwrap();
        assert_eq!(find(root.path()).unwrap().parts.len(), MAX_PARTS);
        assert!(find(&root.path().join("1.yaml")).is_err());
    }
}
