//! What takes an authorization: the actions of systemd/org.autoext.AutoExt1.policy.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// To have a scheduler that the policy names run for as long as the caller does.
    Lease,
    /// To change what runs.
    Manage,
    /// To pass arguments to a scheduler, a program that runs as root and may write what it is told to.
    Arguments,
}

/// The action of scx_loader.
const OF_SCX_LOADER: &str = "org.scx.loader.manage-schedulers";

impl Action {
    /// Its name for polkit.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Lease => "org.autoext.AutoExt1.lease",
            Self::Manage => "org.autoext.AutoExt1.manage",
            Self::Arguments => "org.autoext.AutoExt1.arguments",
        }
    }

    /// By which of them a client of scx_loader may do this: by the action of scx_loader where it is installed, so that
    /// people's rules about it go on working, else by ours; with arguments, by which a program that runs as root may be told to
    /// write files, always by ours.
    pub(super) fn of_scx_loader(self) -> Vec<&'static str> {
        match self {
            Self::Arguments => vec![self.id()],
            Self::Lease | Self::Manage => vec![OF_SCX_LOADER, self.id()],
        }
    }
}
