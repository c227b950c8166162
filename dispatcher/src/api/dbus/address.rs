//! Where the daemon is found on a bus.

/// The name on the bus, which is also that of the interface.
pub(crate) const NAME: &str = "org.autoext.AutoExt1";
/// The path of the object.
pub(crate) const PATH: &str = "/org/autoext/AutoExt1";
