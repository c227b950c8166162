//! Schedulers that fail, each in its own way: scripts, and scx_cosmos with one instruction of its BPF
//! programs changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use object::{Object as _, ObjectSection as _};

const DIRECTORY: &str = "/usr/local/lib/auto-ext-tests";
const COSMOS: &str = "/usr/bin/scx_cosmos";

/// What an ELF file of 64 bits begins with, and which machine a BPF object is for.
const ELF: &[u8] = b"\x7fELF\x02\x01\x01";
const EM_BPF: [u8; 2] = [247, 0];
const MACHINE: usize = 18;

/// BPF instructions, of linux/bpf.h and linux/bpf_common.h.
const R0_IS_R8: [u8; 8] = [0xbf, 0x80, 0, 0, 0, 0, 0, 0];
const W0_IS_W7: [u8; 8] = [0xbc, 0x70, 0, 0, 0, 0, 0, 0];
const W0_IS_EINVAL: [u8; 8] = [0xb4, 0, 0, 0, 0xea, 0xff, 0xff, 0xff];
const W0_IS_0: [u8; 8] = [0xb4, 0, 0, 0, 0, 0, 0, 0];
/// A jump by the number of instructions in its bytes 2 and 3, if w0 is 0.
const JUMP_IF_W0_IS_0: [u8; 8] = [0x16, 0, 0, 0, 0, 0, 0, 0];
const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// scx_cosmos as it is, under another name; returns its path.
pub(crate) fn copied_cosmos(name: &str) -> anyhow::Result<String> {
    let bytes = fs::read(COSMOS).with_context(|| format!("failed to read {COSMOS}"))?;
    program(name, &bytes)
}

/// A script in the place of a scheduler; returns its path.
pub(crate) fn script(name: &str, text: &str) -> anyhow::Result<String> {
    program(name, text.as_bytes())
}

/// A scheduler that reads a register before anything was written to it, which the kernel's verifier
/// refuses; returns its path.
pub(crate) fn refused_by_the_verifier() -> anyhow::Result<String> {
    let change = |code: &mut [u8]| {
        let first = code.first_chunk_mut().context("it is empty")?;
        *first = R0_IS_R8;
        Ok(())
    };
    changed_cosmos("refused", "struct_ops/cosmos_select_cpu", change)
}

/// A scheduler whose `ops.init` always fails, as the kernel finds out once it is attached; returns its
/// path.
pub(crate) fn failing_in_init() -> anyhow::Result<String> {
    let change = |code: &mut [u8]| {
        // All ways lead here; the verifier wants that to stay so.
        let (_, end) = code.split_last_chunk_mut::<16>().context("it is short")?;
        ensure!(
            *end == *[W0_IS_W7, EXIT].as_flattened(),
            "it ends otherwise"
        );
        end.copy_from_slice([W0_IS_EINVAL, EXIT].as_flattened());
        Ok(())
    };
    changed_cosmos("failing-in-init", "struct_ops.s/cosmos_init", change)
}

/// A scheduler that forgets every task that finds no idle CPU, until the kernel's watchdog ends it;
/// returns its path.
pub(crate) fn stalling() -> anyhow::Result<String> {
    let change = |code: &mut [u8]| {
        // Behind the jump there is code still, as the verifier wants it; it is never reached.
        let last = code.len() / EXIT.len() - 1;
        ensure!(code.ends_with(&EXIT), "it ends otherwise");
        let mut jump = JUMP_IF_W0_IS_0;
        jump[2..4].copy_from_slice(&i16::try_from(last - 2)?.to_le_bytes());
        let (begin, _) = code.split_first_chunk_mut::<16>().context("it is short")?;
        begin.copy_from_slice([W0_IS_0, jump].as_flattened());
        Ok(())
    };
    changed_cosmos("stalling", "struct_ops/cosmos_enqueue", change)
}

/// A script in the place of scx_cosmos, by whose name the kernel's word is known to be about it;
/// returns its path.
pub(crate) fn wrapped_cosmos(directory: &str, text: &str) -> anyhow::Result<String> {
    script(&format!("{directory}/scx_cosmos"), text)
}

/// A copy of scx_cosmos in a directory of its own: it keeps its name.
fn changed_cosmos(
    directory: &str,
    section: &str,
    change: impl FnOnce(&mut [u8]) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut bytes = fs::read(COSMOS).with_context(|| format!("failed to read {COSMOS}"))?;
    let changed = (|| {
        let at = (0..bytes.len())
            .find(|&at| bytes[at..].starts_with(ELF) && bytes[at + MACHINE..].starts_with(&EM_BPF))
            .context("no BPF object")?;
        let (offset, size) = object::File::parse(&bytes[at..])?
            .section_by_name(section)
            .and_then(|section| section.file_range())
            .with_context(|| format!("no {section}"))?;
        let begin = at + usize::try_from(offset)?;
        let code = bytes.get_mut(begin..begin + usize::try_from(size)?);
        change(code.context("it is cut off")?).with_context(|| section.to_owned())
    })();
    changed.with_context(|| format!("{COSMOS} has other BPF programs than expected"))?;
    program(&format!("{directory}/scx_cosmos"), &bytes)
}

fn program(name: &str, contents: &[u8]) -> anyhow::Result<String> {
    let path = Path::new(DIRECTORY).join(name);
    let written = (|| {
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&path, contents)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))
    })();
    let path = path.display().to_string();
    written.with_context(|| format!("failed to write {path}"))?;
    Ok(path)
}
