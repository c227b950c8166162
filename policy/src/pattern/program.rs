//! By which names the program of a process is known: those of its files, as they were before it was wrapped, and for
//! what wine runs those of Windows.

use auto_ext_signals::Process;

/// The end of the names of Windows' programs, in lower case.
const WINDOWS: &str = ".exe";

/// The programs that wine starts by itself beside any other, and leaves running. A pattern with wildcards does not
/// match them; one that is such a name does.
const WINE_SERVICES: [&str; 14] = [
    "conhost.exe",
    "explorer.exe",
    "mscorsvw.exe",
    "plugplay.exe",
    "rpcss.exe",
    "rundll32.exe",
    "services.exe",
    "spoolsv.exe",
    "svchost.exe",
    "tabtip.exe",
    "wineboot.exe",
    "wineconsole.exe",
    "winedevice.exe",
    "winemenubuilder.exe",
];

/// What the kernel adds to the path of a program whose file is gone, as after an update.
const DELETED: &str = " (deleted)";

/// The path of the executable of `process`; empty when it is not known.
pub(crate) fn path(process: &Process) -> &str {
    let path = &process.executable;
    path.strip_suffix(DELETED).unwrap_or(path)
}

/// Whether `process` is a thread of the kernel, which has neither an executable nor a command line.
pub(crate) fn is_kernel_thread(process: &Process) -> bool {
    path(process).is_empty() && process.argv0.is_empty()
}

/// The names by which the program of `process` is known; some may be empty.
pub(crate) fn names(process: &Process) -> [&str; 4] {
    let file = path(process).rsplit('/').next().unwrap_or_default();
    [
        process.comm.as_str(),
        file,
        unwrapped(file),
        // Programs of Windows, which wine runs, are given with their path there.
        process.argv0.rsplit(['/', '\\']).next().unwrap_or_default(),
    ]
}

/// Whether a pattern or name ends as those of Windows' programs do, in upper or lower case.
pub(crate) fn is_of_windows(text: &str) -> bool {
    text.to_ascii_lowercase().ends_with(WINDOWS)
}

/// The name of a program before it was wrapped: `.firefox-wrapped`, of Nix, and `.firefox-real`, of
/// Guix, are `firefox`. The wrapper itself, which sets the environment, has that name.
fn unwrapped(file: &str) -> &str {
    let inner = || {
        let inner = file.strip_prefix('.')?.trim_end_matches('_');
        let wrapped = inner.strip_suffix("-wrapped");
        wrapped.or_else(|| inner.strip_suffix("-real"))
    };
    inner().map_or(file, unwrapped)
}

/// Whether `process` is one that wine starts by itself.
pub(crate) fn is_of_wine(process: &Process) -> bool {
    names(process)
        .into_iter()
        .any(|name| is_of_windows(name) && is_wine_service(&name.to_ascii_lowercase()))
}

/// Whether a name or path in lower case is that of a program that wine starts by itself.
pub(crate) fn is_wine_service(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or_default();
    WINE_SERVICES.contains(&name)
}
