//! Getting on a bus: the connection and the name.

use zbus::{Connection, fdo};

/// The bus on which callers ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BusKind {
    /// The system bus, as a service.
    System,
    /// The caller's session bus.
    Session,
    /// No bus.
    None,
}

/// Why a service cannot be on the bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// There is none, or it does not let us in.
    #[error("the {0} bus cannot be reached: {1}")]
    Unreachable(&'static str, zbus::Error),
    /// Another process has the name.
    #[error("the name {0} is taken: another auto-ext runs already")]
    NameTaken(&'static str),
    /// The bus does not give the name to this process.
    #[error("the name {0} cannot be had: {1} (is its D-Bus policy file installed?)")]
    NameRefused(&'static str, zbus::Error),
    /// Something else went wrong on the way.
    #[error("D-Bus: {0}")]
    Other(#[from] zbus::Error),
}

impl BusError {
    /// Whether the bus has answered, and trying again would only get the same answer.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::NameTaken(_) | Self::NameRefused(..))
    }
}

/// Connects; none where there is to be none.
///
/// # Errors
/// When the bus cannot be reached.
pub async fn connect(kind: BusKind) -> Result<Option<Connection>, BusError> {
    let connection = match kind {
        BusKind::None => return Ok(None),
        BusKind::System => Connection::system()
            .await
            .map_err(|error| BusError::Unreachable("system", error))?,
        BusKind::Session => Connection::session()
            .await
            .map_err(|error| BusError::Unreachable("session", error))?,
    };
    Ok(Some(connection))
}

/// Takes the name, when all that callers find under it is there.
///
/// # Errors
/// When another process has it, or the bus does not give it.
pub async fn take_name(connection: &Connection, name: &'static str) -> Result<(), BusError> {
    let flags = fdo::RequestNameFlags::DO_NOT_QUEUE;
    match connection.request_name_with_flags(name, flags).await {
        Ok(_) => Ok(()),
        Err(zbus::Error::NameTaken) => Err(BusError::NameTaken(name)),
        Err(error @ (zbus::Error::MethodError(..) | zbus::Error::FDO(_))) => {
            Err(BusError::NameRefused(name, error))
        }
        Err(error) => Err(BusError::Other(error)),
    }
}
