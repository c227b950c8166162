//! Patterns for programs and cgroups: how they are written, and what they match. By which names a program is known is
//! in `program`. Which processes there are is found out elsewhere.

pub(crate) mod program;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use auto_ext_signals::Process;
use glob::Pattern as Glob;

use program::{is_of_windows, is_wine_service};

/// The longest name that is compared, in bytes: NAME_MAX of Linux. A process may call itself
/// anything, at any length.
const MAX_NAME: usize = 255;

/// A pattern for programs or cgroups. `*` stands for any text, `/` in it or not, `?` for one character,
/// `[abc]`, `[a-c]` and `[!a-c]` for one of those or one of all others. Upper and lower case differ,
/// but for patterns of processes that end in `.exe`, as for Windows they do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// In lower case if `windows`.
    glob: Glob,
    subject: Subject,
    /// It is about programs of Windows: it ends in `.exe`.
    windows: bool,
}

/// What of a process a pattern is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// Its name in the kernel (comm), or the file name of its executable or of the first word of
    /// its command line.
    Name,
    /// The path of its executable.
    Path,
    /// One of the names that make up the path of its cgroup.
    CgroupName,
    /// The path of its cgroup, or of one that contains it.
    CgroupPath,
}

/// Why a text is no pattern, and what to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// A bracket without its partner.
    #[error("a `[` in it is never closed; write `[[]` for the character itself")]
    UnclosedBracket,
    /// `**` that is not all there is between two `/`, or `***`.
    #[error("write one `*`, which stands for any text, `/` in it or not")]
    Stars,
    /// It has a `/`, but is not absolute.
    #[error("with a `/` it is compared with a whole path; begin it with `/` or `*`")]
    Relative,
    /// It ends with `/`, as no program does.
    #[error("it ends with `/`, so no program matches it; end it with `/*` for all in a directory")]
    Directory,
    /// It ends with `/`, as no cgroup does.
    #[error("it ends with `/`; leave that out, for what is in a cgroup belongs to it anyway")]
    TrailingSlash,
    /// It has the separator of Windows' paths.
    #[error("it has a `\\`, but no name of a program has one; write the file name alone")]
    Backslash,
}

impl Pattern {
    /// A pattern for programs. With a `/` it is compared with the path of the executable. Without
    /// one, with the name that the kernel has for the process (cut after 15 bytes), and with the
    /// file names of the executable and of the first word of the command line: for a script the
    /// first of these is that of the script, for a Windows program the last is that of the `.exe`.
    /// A program that Nix or Guix wrapped is known by its name before that, too.
    ///
    /// # Errors
    /// When `text` is no pattern, or is one that no program could match.
    pub fn for_processes(text: &str) -> Result<Self, PatternError> {
        if text.contains('/') {
            if text.ends_with('/') {
                return Err(PatternError::Directory);
            }
            return Self::new(text, text, Subject::Path);
        }
        if text.contains('\\') {
            return Err(PatternError::Backslash);
        }
        Self::new(text, text, Subject::Name)
    }

    /// A pattern for cgroups. With a `/` it is compared with the path from the root of the
    /// hierarchy, such as `/system.slice/ssh.service`, and with that of each cgroup around it.
    /// Without one, with each name in that path.
    ///
    /// # Errors
    /// When `text` is no pattern, or is one that no cgroup could match.
    pub fn for_cgroups(text: &str) -> Result<Self, PatternError> {
        if !text.contains('/') {
            return Self::new(text, text, Subject::CgroupName);
        }
        if text.ends_with('/') {
            return Err(PatternError::TrailingSlash);
        }
        // With a `/` after the path, this is true of a cgroup and of all that are in it.
        Self::new(text, &format!("{text}/*"), Subject::CgroupPath)
    }

    fn new(text: &str, glob: &str, subject: Subject) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.contains('/') && !text.starts_with(['/', '*', '?', '[']) {
            return Err(PatternError::Relative);
        }
        let windows = matches!(subject, Subject::Name | Subject::Path) && is_of_windows(text);
        let glob = if windows {
            glob.to_ascii_lowercase()
        } else {
            glob.to_owned()
        };
        let glob = Glob::new(&glob).map_err(|_| match Glob::new(&glob.replace('*', "x")) {
            Ok(_) => PatternError::Stars,
            Err(_) => PatternError::UnclosedBracket,
        })?;
        Ok(Self {
            text: text.to_owned(),
            glob,
            subject,
            windows,
        })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `process` is one of those that are meant. A kernel thread, which has neither an
    /// executable nor a command line, is no program.
    #[must_use]
    pub fn matches(&self, process: &Process) -> bool {
        match self.subject {
            Subject::Name | Subject::Path if program::is_kernel_thread(process) => false,
            Subject::Name => {
                let names = program::names(process);
                names.into_iter().any(|name| self.matches_name(name))
            }
            Subject::Path => self.matches_text(program::path(process)),
            Subject::CgroupName => process
                .cgroup
                .split('/')
                .any(|name| self.matches_name(name)),
            Subject::CgroupPath => self.matches_cgroup(&process.cgroup),
        }
    }

    /// The one name that it matches, if there is but one.
    pub(crate) fn name(&self) -> Option<&str> {
        (self.subject == Subject::Name && !self.has_wildcards()).then_some(&*self.text)
    }

    fn matches_name(&self, name: &str) -> bool {
        (1..=MAX_NAME).contains(&name.len()) && self.matches_text(name)
    }

    /// Whether a name or path of a program is meant.
    fn matches_text(&self, text: &str) -> bool {
        if !self.windows {
            return self.glob.matches(text);
        }
        let text = text.to_ascii_lowercase();
        self.glob.matches(&text) && !(self.has_wildcards() && is_wine_service(&text))
    }

    fn has_wildcards(&self) -> bool {
        self.text.contains(['*', '?', '['])
    }

    /// The root, `/`, contains all cgroups and is none of those that a pattern is about.
    fn matches_cgroup(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        !path.is_empty() && self.glob.matches(&format!("{path}/"))
    }

    /// Whether this certainly matches every process that `other` matches. `false` as well where that is not easily
    /// known.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        if self.subject != other.subject {
            return false;
        }
        // That matches what differs from it in case.
        if other.windows && !self.windows && !self.text.bytes().all(|byte| b"*./".contains(&byte)) {
            return false;
        }
        let literal = !other.has_wildcards();
        // Wildcards are matched here as if they were text. If only a `*` can have matched them,
        // then it matches whatever they stand for.
        let only_stars = !self.text.contains(['?', '[']) && !other.text.contains('[');
        let recursive = self.text.contains("**") || other.text.contains("**");
        (literal || (only_stars && !recursive))
            && match self.subject {
                Subject::CgroupPath => self.matches_cgroup(&other.text),
                _ => self.matches_text(&other.text),
            }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
