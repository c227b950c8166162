//! What keeps the machine from becoming idle, as logind says: who plays a film or gives a talk asks it to.
//!
//! logind is not started by asking, and where it is not on the bus nobody can have asked it.

use tokio::sync::mpsc;
use tokio::time::timeout;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::BusName;

use super::bus_signals::{ANSWER_WITHIN, Changed, LOGIND, changes};
use super::change::Change;

/// Who it is, what for, why, how (`block` or another way), the user and the process.
type Inhibitor = (String, String, String, String, u32, u32);

/// How many of those are told, and how much of each, in bytes.
const MAX_TOLD: usize = 4;
const MAX_TEXT: usize = 128;

/// Reports who does, at first and when it changes, until the receiver is gone.
///
/// # Errors
/// When the bus is gone or answers no more.
pub(super) async fn follow(bus: Connection, report: mpsc::Sender<Change>) -> zbus::Result<()> {
    let (logind, ..) = LOGIND;
    let names = DBusProxy::new(&bus).await?;
    let mut changed = Changed::new(changes(&bus, &names, logind).await?);
    loop {
        let asked = timeout(ANSWER_WITHIN, inhibitors(&bus, &names)).await;
        let inhibited = asked.ok().flatten();
        if report.send(Change::Inhibited(inhibited)).await.is_err() {
            return Ok(());
        }
        changed.wait().await?;
    }
}

/// Who does now; `None` where logind does not say.
async fn inhibitors(bus: &Connection, names: &DBusProxy<'_>) -> Option<Vec<String>> {
    let (logind, path, interface) = LOGIND;
    if !names
        .name_has_owner(BusName::try_from(logind).ok()?)
        .await
        .ok()?
    {
        return Some(Vec::new());
    }
    let asked = bus.call_method(Some(logind), path, Some(interface), "ListInhibitors", &());
    let answer = asked.await.ok()?;
    let inhibitors: Vec<Inhibitor> = answer.body().deserialize().ok()?;
    Some(idle(inhibitors))
}

/// Those who keep it from becoming idle. One that only wants to be told before does not.
fn idle(inhibitors: Vec<Inhibitor>) -> Vec<String> {
    let blocks = |(what, _, _, how, ..): &Inhibitor| {
        what.split(':').any(|what| what == "idle") && how.starts_with("block")
    };
    let who = |(_, mut who, ..): Inhibitor| {
        who.retain(|letter| !letter.is_control());
        who.truncate(who.floor_char_boundary(MAX_TEXT));
        if who.is_empty() {
            "somebody".to_owned()
        } else {
            who
        }
    };
    let idle = inhibitors.into_iter().filter(blocks).map(who);
    idle.take(MAX_TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_blocks_idle_counts() {
        let inhibitor = |what: &str, who: &str, how: &str| {
            (
                what.into(),
                who.into(),
                "a film".into(),
                how.into(),
                1000,
                7,
            )
        };
        let found = idle(vec![
            inhibitor("handle-power-key", "desktop", "block"),
            inhibitor("sleep:idle", "player\n", "block"),
            inhibitor("idle", "", "block-weak"),
            inhibitor("idle", "polite", "delay"),
        ]);
        assert_eq!(found, ["player", "somebody"]);
    }
}
