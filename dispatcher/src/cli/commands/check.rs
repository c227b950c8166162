//! `auto-ext check`: whether a policy is valid, and whether the service can use the files and programs that it names. Also
//! the JSON Schema of policies, for editors.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use auto_ext_policy::{Checked, InFile, Listen, Location, Warning};
use auto_ext_scx::process::executable;
use auto_ext_scx::process::executable::ProgramError;
use auto_ext_service::file_access::{Obstacle, Reader};
use auto_ext_service::sanitize::sanitize;

use super::service_unit;
use crate::sources::{policy_directory, read_policy};

/// Prints every problem as `F:LINE:COL: error: ...` on standard error, or every warning as `F:LINE:COL: warning: ...` and
/// that the policy is valid. A file in the directory beside a policy is checked with all of that policy, as it may use
/// what others define.
pub(crate) async fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let policy = policy_directory::policy_of(path);
    let path = policy.as_deref().unwrap_or(path);
    let read = read_policy::read(path);
    match read.checked {
        Ok(checked) => {
            let service = service_unit::reader().await;
            let others = others(read.files.len() - 1);
            let files = [read.files, read.lists].concat();
            let for_service = warnings_for_service(&files, &checked, &service);
            for warning in checked.warnings.iter().chain(&for_service) {
                writeln!(io::stderr(), "{}", sanitize(&warning.to_string()))?;
            }
            let rules = checked.policy.rules.len();
            let path = path.display();
            writeln!(io::stdout(), "{path}{others}: valid, {rules} rules")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            writeln!(io::stderr(), "{error}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// So many files belong to a policy beside its first.
fn others(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " with one file beside it".to_owned(),
        count => format!(" with {count} files beside it"),
    }
}

/// Warnings about what the service cannot read, run or write, whoever runs the check. A scheduler that is not installed is
/// no reason for one, as policies name several to choose from.
fn warnings_for_service(files: &[PathBuf], checked: &Checked, service: &Reader) -> Vec<Warning> {
    let Checked { policy, places, .. } = checked;
    let start = |path: &Path| InFile {
        path: path.to_owned(),
        at: Location::START,
    };
    let first = files.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
    let place = |key: &str| places.get(key).cloned().unwrap_or_else(|| start(first));
    let mut warnings = Vec::new();
    let mut warn = |place: InFile, message: String| {
        warnings.push(Warning::new(&place.path, place.at, message));
    };
    // The service does not read a draft that is somewhere else.
    if first == Path::new(read_policy::INSTALLED) {
        for file in files {
            if let Err(why) = service.read(file) {
                warn(
                    start(file),
                    format!("the service cannot read this file: {why}"),
                );
            }
        }
    }
    for scheduler in policy.schedulers.values() {
        match executable::find_for(service, &scheduler.command) {
            Ok(_) => {}
            Err(ProgramError::NotFound(command)) if !command.starts_with('/') => {}
            Err(error) => {
                let at = place(&format!("schedulers.{}.command", scheduler.name));
                warn(at, error.to_string());
            }
        }
    }
    for (key, file) in [
        ("textfile", policy.metrics.textfile.as_deref()),
        (
            "listen",
            policy.metrics.listen.as_ref().and_then(Listen::socket),
        ),
    ] {
        if let Some(file) = file
            && let Err(why) = service.write_beside(file)
        {
            let why = match why {
                Obstacle::Missing(directory) => {
                    format!("there is no directory {}", directory.display())
                }
                why => why.to_string(),
            };
            let message = format!("the service cannot write {}: {why}", file.display());
            warn(place(&format!("metrics.{key}")), message);
        }
    }
    warnings
}

/// Prints the JSON Schema of policies.
pub(crate) fn schema() -> anyhow::Result<ExitCode> {
    writeln!(io::stdout(), "{:#}", auto_ext_policy::json_schema())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_cannot_use_is_warned_of_at_its_place_whoever_checks() {
        let text = "version: 1
schedulers:
  mine: {command: /root/.cargo/bin/scx_cosmos}
  gone: {command: /opt/not there/scx_gone}
  none: {command: scx_not_installed}
rules: [{class: idle, use: [mine, gone, none, kernel]}]
metrics: {textfile: /home/me/auto-ext.prom, listen: /opt/not there/socket}
";
        let text = text.replace("not there", "not-there");
        let checked = Checked::parse("F", &text).unwrap();
        let warned = warnings_for_service(&["F".into()], &checked, &Reader::service());
        let warned: Vec<String> = warned.iter().map(ToString::to_string).collect();
        let expected = [
            (
                "F:4:19:",
                "`/opt/not-there/scx_gone` is not installed (there is no such file)",
            ),
            (
                "F:3:19:",
                "/root/.cargo/bin/scx_cosmos: the service does not see /root",
            ),
            (
                "F:7:21:",
                "cannot write /home/me/auto-ext.prom: the service does not see /home",
            ),
            ("F:7:53:", "there is no directory /opt/not-there"),
        ];
        assert_eq!(warned.len(), expected.len(), "{warned:#?}");
        for (warning, (place, words)) in warned.iter().zip(expected) {
            assert!(
                warning.starts_with(&format!("{place} warning: ")),
                "{warning}"
            );
            assert!(warning.contains(words), "{warning}");
        }
    }

    #[test]
    fn a_draft_in_a_home_directory_is_not_what_the_service_reads() {
        let text = "version: 1\nrules: [{class: idle, use: [kernel]}]\n";
        let draft = Path::new("/home/me/draft.yaml");
        let checked = Checked::parse(draft, text).unwrap();
        assert_eq!(
            warnings_for_service(&[draft.to_owned()], &checked, &Reader::service()),
            []
        );
    }
}
