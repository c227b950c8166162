//! What it means that something happens to a domain. Pure.

use crate::core::End;

use super::procedures::Lifecycle;

/// What matters of what happens to a domain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// Its definition is another one.
    Defined,
    /// It ended.
    Ended(End),
}

/// virDomainEventType and the details of its ends.
pub(crate) fn meaning(event: &Lifecycle) -> Option<Happened> {
    match (event.event, event.detail) {
        // Defined, undefined.
        (0 | 1, _) => Some(Happened::Defined),
        // Stopped: crashed, failed.
        (5, 2 | 5) => Some(Happened::Ended(End::Lost)),
        // Shut down, destroyed, migrated, saved, or replaced by a snapshot.
        (5, _) => Some(Happened::Ended(End::InOrder)),
        // Crashed.
        (8, _) => Some(Happened::Ended(End::Lost)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::procedures::Domain;
    use super::*;

    #[test]
    fn who_crashes_or_fails_is_lost_and_who_is_stopped_is_not() {
        let domain = Domain {
            name: "vm".to_owned(),
            uuid: [1; 16],
            id: 1,
        };
        let of = |event, detail| {
            let domain = domain.clone();
            meaning(&Lifecycle {
                domain,
                event,
                detail,
            })
        };
        assert_eq!(of(0, 1), Some(Happened::Defined));
        assert_eq!(of(2, 0), None);
        for detail in [0, 1, 3, 4, 6] {
            assert_eq!(of(5, detail), Some(Happened::Ended(End::InOrder)));
        }
        for (event, detail) in [(5, 2), (5, 5), (8, 0)] {
            assert_eq!(of(event, detail), Some(Happened::Ended(End::Lost)));
        }
    }
}
