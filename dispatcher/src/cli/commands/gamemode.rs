//! `auto-ext gamemode`: a lease while GameMode has a game registered. A unit of the user's session runs it.
//!
//! GameMode is on the session bus; it is not started by asking whether there is a game.

use std::future::pending;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::{Stream, StreamExt as _, select};
use tokio::time::timeout;
use zbus::fdo::DBusProxy;
use zbus::names::BusName;

use zbus::{Connection, OwnedObjectPath, Proxy};

use super::client::Ask;
use super::grant::{Grant, Wanted, warn};

const NAME: &str = "com.feralinteractive.GameMode";
const PATH: &str = "/com/feralinteractive/GameMode";
/// How the lease is explained.
const APPLICATION: &str = "GameMode";
/// How long GameMode may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Leases what is wanted while there are games, until the session ends.
pub(crate) async fn run(wanted: Wanted) -> anyhow::Result<ExitCode> {
    let bus = Connection::session().await;
    let bus = bus.context("the session bus cannot be reached")?;
    let mut changes = changes(&bus).await?;
    let mut lease = None;
    loop {
        match (are_there_games(&bus).await, &lease) {
            (true, None) => {
                let mut grant = Grant::new(wanted.clone(), &APPLICATION.into());
                if let Err(error) = grant.take(Ask::Nobody).await {
                    warn(&format!(
                        "a game runs without the scheduler for it: {error:#}"
                    ));
                }
                lease = Some(grant);
            }
            // It ends with its connection.
            (false, Some(_)) => lease = None,
            (true, Some(_)) | (false, None) => {}
        }
        let keep = async {
            match &mut lease {
                Some(lease) => lease.keep().await,
                None => pending().await,
            }
        };
        tokio::select! {
            changed = changes.next() => if changed.is_none() {
                return Ok(ExitCode::SUCCESS);
            },
            never = keep => match never {},
        }
    }
}

/// An item whenever a game comes or goes, or GameMode does; ends with the session.
async fn changes(bus: &Connection) -> zbus::Result<impl Stream<Item = ()> + Unpin + use<>> {
    let gamemode = Proxy::new(bus, NAME, PATH, NAME).await?;
    let registered = gamemode.receive_signal("GameRegistered").await?;
    let unregistered = gamemode.receive_signal("GameUnregistered").await?;
    let owner = gamemode.receive_owner_changed().await?;
    let games = select(registered.map(drop), unregistered.map(drop));
    Ok(select(games, owner.map(drop)))
}

/// Whether a game is registered. Where GameMode does not run or does not answer there is none.
async fn are_there_games(bus: &Connection) -> bool {
    let asked = async {
        let name = BusName::try_from(NAME)?;
        if !DBusProxy::new(bus).await?.name_has_owner(name).await? {
            return Ok(false);
        }
        let gamemode = Proxy::new(bus, NAME, PATH, NAME).await?;
        let games: Vec<(i32, OwnedObjectPath)> = gamemode.call("ListGames", &()).await?;
        zbus::Result::Ok(!games.is_empty())
    };
    match timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(some)) => some,
        Ok(Err(error)) => {
            warn(&format!("GameMode cannot be asked: {error}"));
            false
        }
        Err(_) => {
            warn("GameMode does not answer");
            false
        }
    }
}
