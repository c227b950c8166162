//! Makes files for `policies.d` of what other tools are set up to do, and says what was left out and why. Owns which of their
//! settings mean what; pure, but for `sources`, which reads them. Nothing that is read is executed, and all of it is bounded.

mod ananicy;
mod draft;
mod falcond;
mod kdl;
mod names;
mod scx_loader;
mod sources;
mod system76;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub(crate) use draft::Draft;
use sources::Source;

use crate::scx_loader::settings;

/// A tool whose settings can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tool {
    /// Profiles of games, in *.conf below PATH
    Falcond,
    /// Rules of ananicy and ananicy-cpp, in *.rules below PATH: the games among them
    Ananicy,
    /// The profile `games` of system76-scheduler, in *.kdl below PATH
    System76,
    /// The default scheduler of scx_loader
    ScxLoader,
}

impl Tool {
    /// The name, also of what is made of its settings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Falcond => "falcond",
            Self::Ananicy => "ananicy",
            Self::System76 => "system76",
            Self::ScxLoader => "scx-loader",
        }
    }

    /// Where its settings are, of which the first that exists counts.
    fn places(self) -> &'static [&'static str] {
        match self {
            Self::Falcond => &["/usr/share/falcond/profiles"],
            Self::Ananicy => &["/etc/ananicy.d"],
            Self::System76 => &["/etc/system76-scheduler", "/usr/share/system76-scheduler"],
            Self::ScxLoader => &settings::PLACES,
        }
    }

    /// How the names of its files end.
    fn extension(self) -> &'static str {
        match self {
            Self::Falcond => "conf",
            Self::Ananicy => "rules",
            Self::System76 => "kdl",
            Self::ScxLoader => "toml",
        }
    }

    /// What its settings at `path`, or where they usually are, come to.
    pub(crate) fn import(self, path: Option<&Path>) -> Result<Draft, String> {
        let place = match path {
            Some(path) => path.to_owned(),
            None => self.usual_place()?,
        };
        let (sources, unread) = sources::read(&place, self.extension())?;
        let mut draft = Draft::of(self.name(), &place);
        draft.read(sources.len());
        self.convert(&sources, &mut draft);
        for file in unread {
            draft.leave_out("files that cannot be read", &file);
        }
        if draft.is_empty() {
            return Err(format!(
                "nothing to import was found in {}\n{}",
                place.display(),
                draft.report()
            ));
        }
        Ok(draft)
    }

    fn usual_place(self) -> Result<PathBuf, String> {
        let places = self.places();
        let found = places.iter().map(Path::new).find(|place| place.exists());
        found.map(Path::to_owned).ok_or_else(|| {
            let places = places.join(" or ");
            format!(
                "{} has no settings in {places}; give their path",
                self.name()
            )
        })
    }

    fn convert(self, sources: &[Source], draft: &mut Draft) {
        match self {
            Self::Falcond => falcond::convert(sources, draft),
            Self::Ananicy => ananicy::convert(sources, draft),
            Self::System76 => system76::convert(sources, draft),
            Self::ScxLoader => scx_loader::convert(sources, draft),
        }
    }
}
