//! The callers on a bus: who calls, and when they leave.

use std::fs;

use auto_ext_service::sanitize::sanitize;
use zbus::message::Header;
use zbus::names::BusName;
use zbus::{Connection, fdo};

/// How many characters of a program's name are shown.
const MAX_NAME: usize = 64;

/// A stream with an item when `name`, which is on the bus, leaves it.
///
/// # Errors
/// When it has left already, or the bus does not answer.
pub async fn left(bus: &Connection, name: &str) -> fdo::Result<fdo::NameOwnerChangedStream> {
    let proxy = fdo::DBusProxy::new(bus).await?;
    let left = proxy
        .receive_name_owner_changed_with_args(&[(0, name), (2, "")])
        .await?;
    if proxy.name_has_owner(BusName::try_from(name)?).await? {
        Ok(left)
    } else {
        Err(fdo::Error::Failed("the caller has left".to_owned()))
    }
}

/// What the caller is called, for people: its unit if it is a service, else its program. Only a name: it says nothing of what
/// the caller may do.
pub async fn program(bus: &Connection, header: &Header<'_>) -> String {
    let pid = async {
        let sender = header.sender()?.to_owned();
        let proxy = fdo::DBusProxy::new(bus).await.ok()?;
        proxy
            .get_connection_unix_process_id(BusName::Unique(sender))
            .await
            .ok()
    };
    let Some(pid) = pid.await else {
        return "a program".to_owned();
    };
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let name = service_of(&read("cgroup")).unwrap_or_else(|| read("comm").trim().to_owned());
    let name: String = sanitize(&name).chars().take(MAX_NAME).collect();
    if name.is_empty() {
        "a program that has ended".to_owned()
    } else {
        name
    }
}

/// The service to which /proc/PID/cgroup says that a process belongs; none for what a person runs in a session.
fn service_of(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let service = path
        .rsplit('/')
        .find_map(|unit| unit.strip_suffix(".service"))?;
    let is_person = service.starts_with("user@") || path.contains(".scope");
    (!is_person).then(|| service.to_owned())
}

/// The caller's unique name on the bus.
///
/// # Errors
/// When the message says none.
pub fn caller(header: &Header<'_>) -> fdo::Result<String> {
    header
        .sender()
        .map(ToString::to_string)
        .ok_or_else(|| fdo::Error::AccessDenied("who calls?".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_the_name_of_its_unit_and_what_a_person_runs_its_own() {
        for (cgroup, service) in [
            ("0::/system.slice/falcond.service\n", Some("falcond")),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/tray.service\n",
                Some("tray"),
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-term.scope\n",
                None,
            ),
            ("0::/user.slice/user-1000.slice/session-2.scope\n", None),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/init\n",
                None,
            ),
            ("12:cpu:/x.service\n", None),
            ("", None),
        ] {
            assert_eq!(service_of(cgroup).as_deref(), service, "{cgroup}");
        }
    }
}
