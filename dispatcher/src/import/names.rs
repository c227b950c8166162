//! Which names of programs say what runs, and which say nothing.

use auto_ext_policy::MAX_FILE_NAME;

/// Names that other programs have as well, in lower case: a rule about them would hold when no game runs. Those of what runs
/// other programs are among them.
const GENERIC: &[&str] = &[
    "app",
    "app.exe",
    "application.exe",
    "bash",
    "client",
    "client.exe",
    "config.exe",
    "default.exe",
    "electron",
    "engine",
    "engine.exe",
    "game",
    "game.exe",
    "game.x86",
    "game.x86_64",
    "install.exe",
    "java",
    "java.exe",
    "javaw.exe",
    "launch.exe",
    "launcher",
    "launcher.exe",
    "main",
    "main.exe",
    "mainthread",
    "mono",
    "node",
    "nw",
    "nw.exe",
    "perl",
    "play.exe",
    "player.exe",
    "program.exe",
    "python",
    "python2",
    "python3",
    "run.exe",
    "server.exe",
    "settings.exe",
    "setup.exe",
    "sh",
    "start",
    "start.exe",
    "steam.exe",
    "test.exe",
    "unins000.exe",
    "update.exe",
    "updater.exe",
    "wine",
    "wine-preloader",
    "wine64",
    "wine64-preloader",
    "wineserver",
];

/// What starts games and goes on without one, in lower case.
const LAUNCHERS: &[&str] = &[
    "bottles",
    "epicgameslauncher.exe",
    "galaxyclient.exe",
    "heroic",
    "itch",
    "legendary",
    "lutris",
    "minigalaxy",
    "origin.exe",
    "playnite.desktopapp.exe",
    "rare",
    "steam",
    "steamwebhelper",
    "upc.exe",
];

/// What a name is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It tells of one program.
    Program,
    /// Many programs have it.
    Generic,
    /// It starts games and goes on without one.
    Launcher,
    /// No program is called so, or no list can name it.
    Invalid,
}

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        let lower = name.to_lowercase();
        let fits = (1..=MAX_FILE_NAME).contains(&name.len()) && name.trim() == name;
        if !fits
            || name.contains(is_invisible)
            || name.contains(['/', '\\', '*', '?', '\u{fffd}'])
            || name.contains(char::is_control)
        {
            Self::Invalid
        } else if GENERIC.contains(&&*lower) {
            Self::Generic
        } else if LAUNCHERS.contains(&&*lower) {
            Self::Launcher
        } else {
            Self::Program
        }
    }
}

/// Whether nobody sees it, or it reorders what they see.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether it is the name of a program of Windows.
pub(super) fn is_of_windows(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".exe")
}
