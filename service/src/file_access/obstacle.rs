//! What can keep a reader from a file, and the messages about it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::unit::HOMES;

/// What is in the way. Displays with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no such file or directory.
    Missing(PathBuf),
    /// The service's unit hides it.
    Hidden {
        /// The file or directory that is hidden.
        path: PathBuf,
        /// The directory with all that the setting hides, such as `/home`.
        place: &'static str,
        /// What was asked for; not below `place` when a link leads there.
        asked: PathBuf,
    },
    /// Its permissions do not allow it.
    Closed {
        /// The file or directory with these permissions.
        path: PathBuf,
        /// The number of the user it belongs to.
        user: u32,
        /// The number of the group it belongs to.
        group: u32,
        /// Its permission bits, such as `0o640`.
        mode: u32,
        /// What may not be done, such as `read it`.
        right: &'static str,
        /// The command that allows it.
        remedy: String,
    },
    /// The unit does not let the service write there.
    ReadOnly(PathBuf),
    /// This process may not look into this directory, so nothing is known of what is in it.
    Unseen(PathBuf),
    /// Others than root can change a program that would run as root.
    Changeable {
        /// The file or directory that they can change.
        path: PathBuf,
        /// By which right they can.
        why: String,
    },
    /// Anything else, in words.
    Other(String),
}

/// The obstacle for what is at `path`, on the way to `asked`, if that is in one of `places`.
pub(super) fn hidden_in(places: &[&'static str], path: &Path, asked: &Path) -> Option<Obstacle> {
    let place = places.iter().find(|place| path.starts_with(place))?;
    Some(Obstacle::Hidden {
        path: path.to_owned(),
        place,
        asked: asked.to_owned(),
    })
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "there is no {}", path.display()),
            Self::Hidden { path, place, asked } => {
                if !asked.starts_with(place) {
                    write!(f, "a link on the way leads to {}; ", path.display())?;
                }
                let (what, setting, remedy) = if HOMES.contains(place) {
                    (
                        "home directories",
                        "ProtectHome=yes",
                        "ProtectHome=read-only",
                    )
                } else {
                    ("others' temporary files", "PrivateTmp=yes", "PrivateTmp=no")
                };
                write!(
                    f,
                    "the service does not see {place}, as its unit hides {what} ({setting}): put \
                     it elsewhere, a program into /usr/local/bin, or write `{remedy}` into a \
                     drop-in (systemctl edit auto-ext)"
                )
            }
            Self::Closed {
                path,
                user,
                group,
                mode,
                right,
                remedy,
            } => write!(
                f,
                "{} belongs to user {user} and group {group} and has the mode {mode:04o}, so that \
                 the service, which is root without CAP_DAC_OVERRIDE, may not {right}: {remedy}",
                path.display()
            ),
            Self::ReadOnly(path) => {
                let path = path.display();
                write!(
                    f,
                    "the service may not write into {path} (ProtectSystem=strict): write \
                     `ReadWritePaths={path}` into a drop-in (systemctl edit auto-ext)"
                )
            }
            Self::Unseen(path) => write!(
                f,
                "only root can look into {}: ask again as root",
                path.display()
            ),
            Self::Changeable { path, why } => {
                let path = path.display();
                write!(f, "{path} {why}")
            }
            Self::Other(why) => f.write_str(why),
        }
    }
}
