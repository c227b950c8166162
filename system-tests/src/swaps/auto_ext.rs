//! auto-ext as the benchmark commands it: pinned to one scheduler after the other.

use std::time::Duration;

use super::Tool;
use crate::policy;
use crate::service::{self, Bus, Switches};

/// The rules want nothing but the kernel's own scheduler: what else runs was asked for.
const POLICY: &str = "version: 1\nrules:\n  - {class: idle, use: [kernel]}\n\
                      stability: {min_run: 0s, max_switches_per_hour: 3600}\n";

/// How long the service may take to announce what the kernel says already.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(5);

/// The service, which runs until this is dropped.
pub(super) struct AutoExt {
    bus: Bus,
    switches: Switches,
}

impl AutoExt {
    pub(super) fn start() -> anyhow::Result<Self> {
        policy::write(POLICY)?;
        service::restart()?;
        let bus = Bus::connect()?;
        let switches = bus.switches()?;
        Ok(Self { bus, switches })
    }
}

impl Tool for AutoExt {
    fn switch_to(&mut self, scheduler: &str) -> anyhow::Result<()> {
        self.bus.pin(scheduler)
    }

    fn reported_gap(&mut self, scheduler: &str) -> anyhow::Result<Option<u64>> {
        while let Some(switch) = self.bus.next_switch(&mut self.switches, ANNOUNCED_WITHIN)? {
            if switch.to == scheduler {
                return Ok(Some(switch.gap_us));
            }
        }
        Ok(None)
    }
}

impl Drop for AutoExt {
    fn drop(&mut self) {
        // Its scheduler ends with it. What fails here is missed by whoever wants to run one.
        let _ = service::stop();
    }
}
