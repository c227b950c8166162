//! Builds a package of BPF programs from another package's build script, and hands it the object.
//!
//! They need `core` built for the BPF target (component rust-src, unlocked on the stable toolchain by
//! RUSTC_BOOTSTRAP) and bpf-linker, which is looked for in `AUTO_EXT_BPF_LINKER`, in the cache that
//! `cargo xtask setup` fills, and in PATH.

#![expect(
    clippy::print_stderr,
    reason = "the way for a build script to say why it failed"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGET: &str = "bpfel-unknown-none";
/// The same in every build: what the kernel runs for each event is to cost the same everywhere.
const PROFILE: &str = "distribution";

/// Builds the binaries of `package` with these features. Where their objects are, the crate that is being built finds in the variables
/// of `objects`, each with its binary. Paths of `sources` that change have them built anew.
///
/// Says what is missing, or what cargo ended with, when it fails.
#[must_use]
pub fn build(
    package: &str,
    objects: &[(&str, &str)],
    sources: &[&str],
    features: &[&str],
) -> ExitCode {
    for path in sources.iter().chain(&["../Cargo.lock"]) {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-env-changed=AUTO_EXT_BPF_LINKER");
    match build_objects(package, objects, features) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build_objects(package: &str, objects: &[(&str, &str)], features: &[&str]) -> Result<(), String> {
    let variable = |name| env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"));
    let out = PathBuf::from(variable("OUT_DIR")?);
    let target_dir = shared_target_dir(&out, Path::new(&variable("TARGET")?), features)?;
    let linker = find_linker().ok_or(
        "bpf-linker was not found, which the BPF programs need: run `cargo xtask setup` once",
    )?;
    let mut command = Command::new(variable("CARGO")?);
    command
        .args([
            "build",
            "--profile",
            PROFILE,
            "-Z",
            "build-std=core",
            "--target",
            TARGET,
        ])
        .args(["--package", package, "--features", &features.join(",")])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        // BTF for the maps; without it the kernel cannot show their contents.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            [
                "-C",
                "debuginfo=2",
                "-C",
                "link-arg=--btf",
                "-C",
                &format!("linker={}", linker.display()),
            ]
            .join("\u{1f}"),
        )
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTFLAGS");
    let status = command
        .status()
        .map_err(|error| format!("failed to run {command:?}: {error}"))?;
    if !status.success() {
        return Err(format!(
            "{command:?}: {status}; `cargo xtask setup` installs what building the BPF programs needs"
        ));
    }
    let built = target_dir.join(TARGET).join(PROFILE);
    for (variable, binary) in objects {
        // A copy: who builds the same next writes to the same place.
        let (from, to) = (built.join(binary), out.join(binary));
        fs::copy(&from, &to).map_err(|error| {
            format!(
                "cannot copy {} to {}: {error}",
                from.display(),
                to.display()
            )
        })?;
        println!("cargo:rustc-env={variable}={}", to.display());
    }
    Ok(())
}

/// Beside the profiles of the build that this belongs to, whose `out` is `<target directory>/[<target>/]<profile>/build/<package>/out`: the
/// same for all of them, as it takes half a minute to build.
fn shared_target_dir(out: &Path, target: &Path, features: &[&str]) -> Result<PathBuf, String> {
    let above = out.ancestors().nth(4);
    let above = above.ok_or_else(|| format!("OUT_DIR is too short: {}", out.display()))?;
    let all = if above.ends_with(target) {
        above.parent().unwrap_or(above)
    } else {
        above
    };
    Ok(all.join([&["bpf"], features].concat().join("-")))
}

fn find_linker() -> Option<PathBuf> {
    if let Some(path) = env::var_os("AUTO_EXT_BPF_LINKER") {
        return Some(path.into());
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let cached = cache.and_then(|cache| newest_cached_linker(&cache.join("auto-ext")));
    cached.or_else(|| {
        env::split_paths(&env::var_os("PATH")?)
            .map(|directory| directory.join("bpf-linker"))
            .find(|path| path.is_file())
    })
}

fn newest_cached_linker(cache: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(cache)
        .ok()?
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("bpf-linker-")
        })
        .map(|entry| entry.path().join("bin/bpf-linker"))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop()
}
