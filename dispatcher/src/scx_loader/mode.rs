//! The modes of scx_loader, and the arguments that each means for a scheduler where its configuration says nothing else: those of
//! its version 1.1.3.

/// A mode, in which other tools ask scx_loader for a scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    #[default]
    Auto,
    Gaming,
    PowerSave,
    LowLatency,
    Server,
}

impl Mode {
    pub(crate) const ALL: [Self; 5] = [
        Self::Auto,
        Self::Gaming,
        Self::PowerSave,
        Self::LowLatency,
        Self::Server,
    ];

    /// Its number on D-Bus.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Auto => 0,
            Self::Gaming => 1,
            Self::PowerSave => 2,
            Self::LowLatency => 3,
            Self::Server => 4,
        }
    }

    /// The mode with this number on D-Bus.
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.number() == number)
    }

    /// For names of schedulers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Gaming => "gaming",
            Self::PowerSave => "powersave",
            Self::LowLatency => "lowlatency",
            Self::Server => "server",
        }
    }

    /// The key of its arguments in the configuration of scx_loader.
    pub(crate) fn key(self) -> String {
        format!("{}_mode", self.name())
    }

    /// The mode that scx_loader calls so.
    pub(crate) fn of_scx_loader(name: &str) -> Option<Self> {
        let is_it = |mode: &Self| mode.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(is_it)
    }

    /// The mode that falcond calls so.
    pub(crate) fn of_falcond(name: &str) -> Option<Self> {
        Some(match name {
            "default" => Self::Auto,
            "gaming" => Self::Gaming,
            "power" => Self::PowerSave,
            "latency" => Self::LowLatency,
            "server" => Self::Server,
            _ => return None,
        })
    }

    /// The arguments of this scheduler, by its program.
    pub(crate) fn arguments(self, command: &str) -> Vec<String> {
        let arguments = match (command, self) {
            ("scx_bpfland", Self::Auto) => "-m auto",
            ("scx_bpfland", Self::Gaming) => "-m all",
            ("scx_bpfland", Self::LowLatency) => "-m performance -w",
            ("scx_bpfland", Self::PowerSave) => "-s 20000 -m powersave -I 100 -t 100",
            ("scx_bpfland", Self::Server) => "-s 20000 -S",
            ("scx_lavd", Self::Auto) => "--autopilot --pinned-slice-us 500",
            ("scx_lavd", Self::Gaming | Self::LowLatency) => "--performance --pinned-slice-us 500",
            ("scx_lavd", Self::PowerSave) => "--powersave --pinned-slice-us 500",
            ("scx_lavd", Self::Server) => {
                "--performance --slice-min-us 3000 --slice-max-us 10000 --pinned-slice-us 3000"
            }
            ("scx_p2dq", Self::Auto) => "--sched-mode default",
            ("scx_p2dq", Self::Gaming) => "--task-slice true -f --sched-mode performance",
            ("scx_p2dq", Self::LowLatency) => "-y -f --task-slice true",
            ("scx_p2dq", Self::PowerSave) => "--sched-mode efficiency",
            ("scx_p2dq", Self::Server) => "--keep-running",
            ("scx_tickless", Self::Gaming) => "-f 5000 -s 5000",
            ("scx_tickless", Self::LowLatency) => "-f 5000 -s 1000",
            ("scx_tickless", Self::PowerSave) => "-f 50",
            ("scx_tickless", Self::Server) => "-f 100",
            ("scx_cosmos", Self::Gaming) => "-s 700",
            ("scx_cosmos", Self::LowLatency) => "-s 700 -m performance -w",
            ("scx_cosmos", Self::PowerSave) => "-m powersave",
            _ => "",
        };
        arguments.split_whitespace().map(str::to_owned).collect()
    }
}
