//! The section `metrics`: where what is counted and measured can be read by Prometheus.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use auto_ext_service::config_file::error::{Problems, quote};
use auto_ext_service::config_file::fields::MAX_PATH;
use auto_ext_service::config_file::yaml::Node;

/// The keys of the section.
pub(super) const KEYS: [&str; 3] = ["textfile", "every", "listen"];

/// In bytes: `sun_path` of unix(7) without the final NUL.
pub(super) const MAX_SOCKET: usize = 107;
pub(super) const MIN_EVERY: Duration = Duration::from_secs(1);
pub(super) const MAX_EVERY: Duration = Duration::from_secs(3600);
/// What node_exporter reads ends in this.
const EXTENSION: &str = "prom";

/// Where metrics are written to and served. By default nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// A file for the textfile collector of node_exporter, whose name ends in `.prom`.
    pub textfile: Option<PathBuf>,
    /// How often it is written, 1 s to 1 h.
    pub every: Duration,
    /// Where they are served by HTTP.
    pub listen: Option<Listen>,
}

/// An address that only this machine can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address of the loopback interface.
    Loopback(SocketAddr),
    /// A Unix socket.
    Socket(PathBuf),
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            textfile: None,
            every: Duration::from_secs(15),
            listen: None,
        }
    }
}

impl Listen {
    /// The path, if it is a socket.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Loopback(_) => None,
            Self::Socket(path) => Some(path),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

pub(super) fn metrics(problems: &mut Problems, node: &Node, metrics: &mut Metrics) {
    let example = "listen: /run/auto-ext/metrics.sock";
    let Some(fields) = problems.fields(node, "`metrics`", example, &KEYS) else {
        return;
    };
    if let Some(node) = fields.get("textfile") {
        metrics.textfile = textfile(problems, node);
    }
    if let Some(node) = fields.get("every")
        && let Some(every) = problems.duration(node, "`every`", MIN_EVERY, MAX_EVERY)
    {
        metrics.every = every;
    }
    if let Some(node) = fields.get("listen") {
        metrics.listen = listen(problems, node);
    }
}

fn textfile(problems: &mut Problems, node: &Node) -> Option<PathBuf> {
    let expected = "an absolute path that ends in `.prom`";
    let text = problems.text(node, "`textfile`", expected, MAX_PATH)?;
    let path = Path::new(text);
    if is_whole(path) && path.extension().is_some_and(|it| it == EXTENSION) {
        return Some(path.to_owned());
    }
    let text = quote(text);
    problems.add(
        node.at,
        format!("`textfile` is {text}; it must be {expected}"),
    );
    None
}

fn listen(problems: &mut Problems, node: &Node) -> Option<Listen> {
    let expected = "a loopback address such as `127.0.0.1:9797`, or the absolute path of a socket";
    let text = problems.text(node, "`listen`", expected, MAX_SOCKET)?;
    let path = Path::new(text);
    if is_whole(path) && path.file_name().is_some() {
        return Some(Listen::Socket(path.to_owned()));
    }
    match text.parse() {
        Ok(address) if is_local(&address) => return Some(Listen::Loopback(address)),
        Ok(_) | Err(_) => {}
    }
    let text = quote(text);
    problems.add(
        node.at,
        format!("`listen` is {text}; it must be {expected}"),
    );
    None
}

/// Whether nobody but this machine reaches it, at a port that is known before.
fn is_local(address: &SocketAddr) -> bool {
    address.ip().is_loopback() && address.port() != 0
}

/// Whether it is the same file whatever the working directory, without detours.
fn is_whole(path: &Path) -> bool {
    let detour = |component| matches!(component, Component::ParentDir | Component::CurDir);
    path.is_absolute() && !path.components().any(detour) && !path.to_string_lossy().ends_with('/')
}
