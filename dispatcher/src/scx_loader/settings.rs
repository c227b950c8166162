//! The configuration of scx_loader: the scheduler and mode in which it begins, and the arguments of each mode.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::mode::Mode;
use super::schedulers::command;
use crate::sources::bounded_file;

/// Where it is, of which the first that exists counts. The first two are the administrator's.
pub(crate) const PLACES: [&str; 4] = [
    "/etc/scx_loader/config.toml",
    "/etc/scx_loader.toml",
    "/usr/share/scx_loader/config.toml",
    "/usr/share/scx_loader.toml",
];
/// In bytes.
const MAX_FILE: usize = 256 << 10;

/// What it says. Where it says nothing, modes have the arguments of scx_loader itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The file that it was read from; `None` when there is none.
    pub(crate) path: Option<PathBuf>,
    /// The program of the scheduler in which it begins.
    pub(crate) default: Option<String>,
    /// The mode in which it begins.
    pub(crate) default_mode: Mode,
    arguments: BTreeMap<(String, Mode), Vec<String>>,
}

impl Settings {
    /// Reads the configuration below `root`, or says what is wrong with it.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let places = PLACES
            .into_iter()
            .map(|place| root.join(place.trim_start_matches('/')));
        let Some(path) = places.into_iter().find(|path| path.exists()) else {
            return Ok(Self::default());
        };
        let wrong = |why: String| format!("{}: {why}", path.display());
        let bytes =
            bounded_file::read(&path, MAX_FILE).map_err(|error| wrong(error.to_string()))?;
        if bytes.len() > MAX_FILE {
            return Err(wrong(format!("is larger than {MAX_FILE} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let settings = Self::parse(&text).map_err(wrong)?;
        Ok(Self {
            path: Some(path),
            ..settings
        })
    }

    /// What a configuration says.
    fn parse(text: &str) -> Result<Self, String> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| error.to_string())?;
        let mut settings = Self::default();
        if let Some(value) = table.get("default_sched") {
            let named = value.as_str().and_then(command);
            settings.default = Some(named.ok_or("`default_sched` is no scheduler")?);
        }
        if let Some(value) = table.get("default_mode") {
            let mode = value.as_str().and_then(Mode::of_scx_loader);
            settings.default_mode = mode.ok_or("`default_mode` is no mode")?;
        }
        let schedulers = table.get("scheds").and_then(Value::as_table);
        for (name, modes) in schedulers.into_iter().flatten() {
            for mode in Mode::ALL {
                let Some(value) = modes.get(mode.key()) else {
                    continue;
                };
                let arguments = arguments_in(value).ok_or_else(|| {
                    format!("`scheds.{name}.{}` is no list of arguments", mode.key())
                })?;
                settings.arguments.insert((name.clone(), mode), arguments);
            }
        }
        Ok(settings)
    }

    /// The arguments of this program in this mode.
    pub(crate) fn arguments(&self, command: &str, mode: Mode) -> Vec<String> {
        let own = self.arguments.get(&(command.to_owned(), mode));
        own.cloned().unwrap_or_else(|| mode.arguments(command))
    }

    /// The modes that mean something for this program: those with arguments, and the automatic one.
    pub(crate) fn modes(&self, command: &str) -> Vec<Mode> {
        let means = |mode: &Mode| *mode == Mode::Auto || !self.arguments(command, *mode).is_empty();
        Mode::ALL.into_iter().filter(means).collect()
    }

    /// Whether an administrator wrote it.
    pub(crate) fn is_of_the_administrator(&self) -> bool {
        let path = self.path.as_deref();
        path.is_some_and(|path| PLACES[..2].iter().any(|place| path.ends_with(&place[1..])))
    }
}

/// The arguments, as far as a policy can have such.
pub(crate) fn arguments_in(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?;
    let fits =
        |text: &&str| text.len() <= auto_ext_policy::MAX_ARG && !text.contains(char::is_control);
    let arguments = items.iter().map(|item| item.as_str().filter(fits));
    let arguments: Option<Vec<&str>> = arguments.collect();
    let arguments = arguments.filter(|arguments| arguments.len() <= auto_ext_policy::MAX_ARGS)?;
    Some(arguments.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_mode_has_the_arguments_of_the_file_and_else_its_own() {
        let text = "default_sched = \"scx_lavd\"\ndefault_mode = \"Gaming\"\n\
            [scheds.scx_lavd]\ngaming_mode = [\"--performance\"]\nserver_mode = []\n";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.default.as_deref(), Some("scx_lavd"));
        assert_eq!(settings.default_mode, Mode::Gaming);
        assert_eq!(
            settings.arguments("scx_lavd", Mode::Gaming),
            ["--performance"]
        );
        assert_eq!(
            settings.arguments("scx_cosmos", Mode::Gaming),
            ["-s", "700"]
        );
        let modes = settings.modes("scx_lavd");
        assert_eq!(
            modes,
            [Mode::Auto, Mode::Gaming, Mode::PowerSave, Mode::LowLatency]
        );
        assert_eq!(settings.modes("scx_rusty"), [Mode::Auto]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, why) in [
            ("default_sched = 3", "`default_sched` is no scheduler"),
            (
                "default_sched = \"../x\"",
                "`default_sched` is no scheduler",
            ),
            ("default_mode = \"Turbo\"", "`default_mode` is no mode"),
            (
                "[scheds.scx_lavd]\nauto_mode = \"-x\"",
                "`scheds.scx_lavd.auto_mode` is no list",
            ),
            ("default_sched = [", "line 1"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Settings::read(root.path()), Ok(Settings::default()));
        let path = root.path().join("etc/scx_loader.toml");
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(&path, "default_mode = 1").unwrap();
        let error = Settings::read(root.path()).unwrap_err();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        fs::write(&path, "default_sched = \"scx_bpfland\"").unwrap();
        let settings = Settings::read(root.path()).unwrap();
        assert!(settings.is_of_the_administrator());
        assert_eq!(settings.default.as_deref(), Some("scx_bpfland"));
    }
}
