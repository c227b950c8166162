use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::permissions::{DAC_OVERRIDE, DAC_READ_SEARCH};
use super::*;

/// A user other than the owner of `file`, in no group and without capabilities.
fn stranger(file: &Path) -> Reader {
    let owner = fs::metadata(file).unwrap().uid();
    Reader {
        identity: Identity {
            user: owner + 1,
            groups: Vec::new(),
            capabilities: 0,
        },
        temporary_is_hidden: false,
        writable: None,
        ..Reader::service()
    }
}

fn file_with(mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

#[test]
fn a_file_of_somebody_else_is_closed_to_root_without_the_rights_of_root() {
    let (_directory, path) = file_with(0o640);
    let reader = stranger(&path);
    let error = reader.read(&path).unwrap_err().to_string();
    let owner = fs::metadata(&path).unwrap().uid();
    assert!(
        error.contains(&format!("belongs to user {owner}")),
        "{error}"
    );
    assert!(
        error.contains("0640") && error.contains("CAP_DAC_OVERRIDE"),
        "{error}"
    );
    assert!(
        error.ends_with(&format!("chown root {}", path.display())),
        "{error}"
    );
    for capability in [DAC_OVERRIDE, DAC_READ_SEARCH] {
        assert_eq!(
            reader.clone().with_capabilities(capability).read(&path),
            Ok(())
        );
    }
    let mut owner_itself = reader.clone();
    owner_itself.identity.user = owner;
    assert_eq!(owner_itself.read(&path), Ok(()));
}

#[test]
fn a_directory_on_the_way_is_named() {
    let (directory, path) = file_with(0o644);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let error = stranger(&path).read(&path).unwrap_err().to_string();
    let directory = directory.path().display();
    assert!(
        error.starts_with(&format!("{directory} belongs to")),
        "{error}"
    );
    assert!(
        error.ends_with(&format!("chmod o+x {directory}")),
        "{error}"
    );
}

#[test]
fn nothing_is_written_into_a_directory_of_somebody_else() {
    let (directory, path) = file_with(0o644);
    let reader = stranger(&path);
    let error = reader.write_beside(&path).unwrap_err().to_string();
    let directory = directory.path();
    assert!(error.contains("may not write into it"), "{error}");
    assert!(
        error.contains(&format!("chgrp root {}", directory.display())),
        "{error}"
    );
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(reader.write_beside(&path), Ok(()));
    let strict = Reader {
        writable: Some(vec![directory.join("other")]),
        ..reader
    };
    let error = strict.write_beside(&path).unwrap_err().to_string();
    assert!(error.contains("ReadWritePaths="), "{error}");
}

#[test]
fn homes_are_not_seen_by_the_service_nor_what_a_link_finds_there() {
    let service = Reader::service();
    let paths = [
        "/home/me/policies.yaml",
        "/root/.cargo/bin/scx_a",
        "/run/user/1000/a",
        "/usr/../root/a",
    ];
    for path in paths {
        let error = service.read(Path::new(path)).unwrap_err().to_string();
        assert!(error.contains("ProtectHome=yes"), "{path}: {error}");
    }
    let error = service.read(Path::new("/tmp/a")).unwrap_err().to_string();
    assert!(error.contains("PrivateTmp=yes"), "{error}");

    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let link = directory.path().join("policies.yaml");
    symlink("/root/policies.yaml", &link).unwrap();
    let error = stranger(directory.path())
        .read(&link)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("a link on the way leads to /root"),
        "{error}"
    );

    let open = Reader {
        homes_are_hidden: false,
        ..Reader::service()
    };
    let missing = open.read(Path::new("/home/nobody at all/a"));
    assert!(!missing.unwrap_err().to_string().contains("ProtectHome"));
}

#[test]
fn a_circle_of_links_has_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("a");
    symlink("a", &link).unwrap();
    let error = Reader::ourselves().read(&link).unwrap_err().to_string();
    assert!(error.contains("more than 40 links"), "{error}");
}

#[test]
fn what_this_process_may_do_the_kernel_is_asked() {
    let (_directory, path) = file_with(0o600);
    assert_eq!(Reader::ourselves().read(&path), Ok(()));
    assert_eq!(Reader::ourselves().write_beside(&path), Ok(()));
    let missing = path.with_file_name("missing");
    assert_eq!(
        Reader::ourselves().read(&missing),
        Err(Obstacle::Missing(missing))
    );
}
