//! Owns one kernel on disk: fetching it, the layer with its modules, and the initramfs that boots
//! the machine's layers. Which version it is was decided in `kernels`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::initramfs::Initramfs;
use super::kernels::{self, Kernel, Role};
use crate::cache;
use crate::command::{command, output, run_quietly, say, step};
use crate::debian::archive::Archive;

/// Where Debian has kernels newer than its release's own.
const SUITES: &[&str] = &["trixie-backports", "sid"];

/// What the initramfs needs; everything else loads from the kernel's layer.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "squashfs",
    "overlay",
];

/// The kernel's own console is there without them: for a kernel that has them as modules.
const LATER_MODULES: &[&str] = &["virtio_rng", "ext4"];

/// The initramfs's first and only program beside busybox.
const INIT: &str = include_str!("../guest/init.sh");

/// busybox for the initramfs, with nothing to link against (Debian: busybox-static).
const BUSYBOX: &str = "/usr/bin/busybox";

/// A kernel in the cache.
pub(crate) struct Image {
    /// What `uname -r` will say.
    pub(crate) version: String,
    directory: PathBuf,
}

impl Image {
    /// The kernel for `kernel`, fetched if the cache does not have it.
    pub(crate) fn get(kernel: &Kernel) -> Result<Self> {
        let known = match kernel {
            Kernel::Role(role) => role.known(),
            Kernel::Version(version) => version,
        };
        let place = cache::path(format!("machine/kernel-{known}"))?;
        if place.exists() {
            return Ok(Self {
                version: known.to_owned(),
                directory: place,
            });
        }
        let archive = Archive::open(SUITES)?;
        let packages = archive.packages("linux-")?.into_iter().collect();
        let version = match kernel {
            Kernel::Version(version) => version.clone(),
            Kernel::Role(role) => stand_in(*role, &packages)?,
        };
        let names = kernels::packages_of(&version, &packages);
        if names.is_empty() {
            bail!(
                "the archive has no whole kernel {version} in {}",
                SUITES.join(" or ")
            );
        }
        let directory = cache::entry(format!("machine/kernel-{version}"), |place| {
            step(&format!("fetching the kernel {version}"), || {
                make(&archive, &version, &names, place)
            })
        })?;
        Ok(Self { version, directory })
    }

    /// The file that QEMU boots.
    pub(crate) fn vmlinuz(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The file system with the kernel's modules and configuration.
    pub(crate) fn layer(&self) -> PathBuf {
        self.directory.join("layer.squashfs")
    }

    /// Writes an initramfs whose init is `init`.
    fn write_initramfs(&self, init: &str, modules: &[&str], path: &Path) -> Result<()> {
        let mut initramfs = Initramfs::create(path, Path::new(BUSYBOX), init)?;
        let mut order = String::new();
        for module in self.needed(modules)? {
            let name = module
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            // busybox cannot read compressed modules.
            let (name, bytes) = match name.strip_suffix(".xz") {
                Some(name) => (name.to_owned(), decompressed(&module)?),
                None => (name, fs::read(&module)?),
            };
            initramfs.file(&format!("modules/{name}"), &bytes)?;
            order.push_str(&name);
            order.push('\n');
        }
        initramfs.file("modules/order", order.as_bytes())?;
        initramfs.finish()
    }

    /// Writes the initramfs that boots the machine.
    pub(crate) fn machine_initramfs(&self, path: &Path) -> Result<()> {
        self.write_initramfs(INIT, &[MODULES, LATER_MODULES].concat(), path)
    }

    /// Writes an initramfs that runs the shell script `init`, which can load the module of the balloon.
    pub(crate) fn guest_initramfs(&self, init: &str, path: &Path) -> Result<()> {
        self.write_initramfs(init, &["virtio_balloon"], path)
    }

    /// Writes an initramfs that does nothing but run the shell script `init`.
    pub(crate) fn bare_initramfs(&self, init: &str, path: &Path) -> Result<()> {
        self.write_initramfs(init, &[], path)
    }

    /// The files of `modules` and of what they depend on, in the order to load them.
    fn needed(&self, modules: &[&str]) -> Result<Vec<PathBuf>> {
        if modules.is_empty() {
            return Ok(Vec::new());
        }
        let tree = self.directory.join("tree");
        let listed = output(
            command("modprobe")
                .args([
                    "--show-depends",
                    "--all",
                    "--set-version",
                    &self.version,
                    "--dirname",
                ])
                .arg(&tree)
                .args(modules),
        )?;
        let mut files = Vec::new();
        for file in listed
            .lines()
            .filter_map(|line| line.strip_prefix("insmod "))
        {
            let file = PathBuf::from(file.trim());
            if !files.contains(&file) {
                files.push(file);
            }
        }
        Ok(files)
    }
}

fn stand_in(role: Role, packages: &std::collections::BTreeSet<String>) -> Result<String> {
    let Some(version) = kernels::choose(role, packages) else {
        bail!(
            "the archive has neither the kernel {} nor one that can stand in for it as the {} \
             kernel; name another in xtask/src/machine/kernels.rs",
            role.known(),
            role.name()
        );
    };
    if version != role.known() {
        say(format!(
            "{} left the archive: {version} stands in for it",
            role.known()
        ));
    }
    Ok(version)
}

/// Makes the directory of one kernel: `tree`, as its packages unpack, `vmlinuz` and
/// `layer.squashfs`.
fn make(archive: &Archive, version: &str, packages: &[String], place: &Path) -> Result<()> {
    let tree = place.join("tree");
    fs::create_dir_all(tree.join("boot"))?;
    archive.unpack(packages, &tree)?;
    let modules = tree.join("usr/lib/modules").join(version);
    // As in the root itself, and where depmod and modprobe look.
    std::os::unix::fs::symlink("usr/lib", tree.join("lib"))?;
    // Since 7.2 the packages have these beside the modules.
    let boot = |name: &str| tree.join("boot").join(format!("{name}-{version}"));
    if !boot("config").exists() {
        fs::copy(modules.join("config"), boot("config"))
            .with_context(|| format!("the packages of {version} hold no configuration"))?;
    }
    fs::rename(vmlinuz(&tree, version)?, place.join("vmlinuz"))?;
    run_quietly(command("depmod").arg("--basedir").arg(&tree).arg(version))?;
    super::image::squash(&tree, &place.join("layer.squashfs"))
}

/// Where the packages of a kernel, unpacked into `tree`, have what is booted.
pub(super) fn vmlinuz(tree: &Path, version: &str) -> Result<PathBuf> {
    let beside_modules = format!("usr/lib/modules/{version}/vmlinuz");
    [format!("boot/vmlinuz-{version}"), beside_modules]
        .into_iter()
        .map(|name| tree.join(name))
        .find(|file| file.exists())
        .with_context(|| format!("the packages of {version} hold no vmlinuz"))
}

fn decompressed(module: &Path) -> Result<Vec<u8>> {
    let mut xz = command("xz");
    let output = xz.args(["--decompress", "--stdout"]).arg(module).output();
    let output = output.with_context(|| crate::command::not_run(&xz))?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({})",
            crate::command::display(&xz),
            output.status
        );
    }
    Ok(output.stdout)
}
