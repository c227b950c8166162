//! `auto-ext-vm doctor`: what stops or weakens the service on this machine, a line each with what to do about it.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::config::{self, CpuMode, MemoryMode};
use crate::daemon::Surroundings;
use crate::libvirt;
use auto_ext_service::exit_code::{Code, WithCode};
use auto_ext_service::sanitize::sanitize;

use super::check::read;

/// Something that was found.
enum Finding {
    /// Nothing can be done here.
    Stops(String),
    /// Less can be done than might be.
    Weakens(String),
}

/// Says what is found. Fails where nothing can be done.
pub(super) fn doctor(root: &Path, config: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let findings = findings(root, config);
    let mut stops = false;
    for finding in &findings {
        let (what, text) = match finding {
            Finding::Stops(text) => ("stops", text),
            Finding::Weakens(text) => ("weakens", text),
        };
        stops |= matches!(finding, Finding::Stops(_));
        writeln!(out, "{what}: {}", sanitize(text))?;
    }
    if findings.is_empty() {
        writeln!(out, "nothing is in the way")?;
    }
    if stops {
        let message = "auto-ext-vm cannot do anything here";
        return Err(WithCode::error(Code::Failed, message));
    }
    Ok(())
}

fn findings(root: &Path, config: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let read = read(config);
    let qmp = match &read {
        Ok(Some(checked)) => &checked.settings.qmp[..],
        _ => &[],
    };
    findings.extend(reach(root, qmp));
    match read {
        Ok(None) => findings.push(Finding::Weakens(format!(
            "there is no {}: nothing is changed until there is one",
            config.display()
        ))),
        Ok(Some(checked)) => {
            let settings = checked.settings;
            let observes = (CpuMode::Observe, MemoryMode::Observe);
            if (settings.cpu.mode, settings.memory.mode) == observes {
                findings.push(Finding::Weakens(format!(
                    "{} has both halves observe: nothing is changed until it says otherwise",
                    config.display()
                )));
            }
        }
        Err(error) => findings.push(Finding::Stops(format!("{error:#}"))),
    }
    let around = Surroundings::read(root);
    if let Some(name) = around.scheduler {
        findings.push(Finding::Weakens(format!(
            "a sched_ext scheduler runs ({name}) and places vCPUs itself: they are not pinned meanwhile, unless \
             {} has `under_scx: pin`",
            config::PATH
        )));
    }
    if let Some(name) = around.places {
        findings.push(Finding::Weakens(format!(
            "{name} runs and places vCPUs too: stop it, or leave them to it"
        )));
    }
    if let Some(name) = around.balloons {
        findings.push(Finding::Weakens(format!(
            "{name} runs and changes guests' memory too: stop it, or leave that to it"
        )));
    }
    findings
}

/// Who is to be asked and does not answer. QEMUs come and go, and may serve somebody else now.
fn reach(root: &Path, qmp: &[PathBuf]) -> Vec<Finding> {
    if qmp.is_empty() {
        let socket = libvirt::socket(root);
        let refused = UnixStream::connect(&socket).err();
        let finding = refused.map(|error| {
            Finding::Stops(format!(
                "libvirt does not answer at {} ({error}): install and start it, run this as root, or give the sockets of \
                 QEMUs that run without it as `qmp` in {}",
                socket.display(),
                config::PATH
            ))
        });
        return finding.into_iter().collect();
    }
    let missing = qmp.iter().filter(|path| !path.exists());
    let finding = |path: &PathBuf| {
        Finding::Weakens(format!(
            "there is no {}: no guest is seen there until a QEMU is started with `-qmp unix:PATH,server=on,wait=off`",
            path.display()
        ))
    };
    missing.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_machine_without_libvirt_is_told_what_it_lacks() {
        let root = tempfile::tempdir().unwrap();
        let comm = root.path().join("proc/7/comm");
        fs::create_dir_all(comm.parent().unwrap()).unwrap();
        fs::write(comm, "numad\n").unwrap();
        let mut said = Vec::new();
        let config = root.path().join("vm.yaml");
        assert!(doctor(root.path(), &config, &mut said).is_err());
        let said = String::from_utf8(said).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 3, "{said}");
        assert!(
            lines[0].starts_with("stops: libvirt does not answer at "),
            "{said}"
        );
        assert!(lines[1].starts_with("weakens: there is no "), "{said}");
        assert!(lines[2].starts_with("weakens: numad runs"), "{said}");
        fs::write(&config, "version: 2\n").unwrap();
        let mut said = Vec::new();
        assert!(doctor(root.path(), &config, &mut said).is_err());
        let said = String::from_utf8(said).unwrap();
        assert!(
            said.contains("vm.yaml:1:10: error: `version` is `2`"),
            "{said}"
        );
        // Whose QEMUs run without libvirt does not need it.
        let text = "version: 1\nqmp: [/nonexistent/vm.sock]\ncpu: {mode: pin}\n";
        fs::write(&config, text).unwrap();
        let mut said = Vec::new();
        doctor(root.path(), &config, &mut said).unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(
            said.starts_with("weakens: there is no /nonexistent/vm.sock"),
            "{said}"
        );
    }
}
