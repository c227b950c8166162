//! The service with a host that is made up.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auto_ext_service::affinity_owner::{AffinityOwner, Process};
use auto_ext_service::lock::lock;

use super::request::{Refusal, Request};
use super::status::{Mode, Status};
use super::work::{Configuration, Connect, Daemon, Places};
use crate::action::Action;
use crate::config::{CpuMode, MemoryMode, PinBy, Settings};
use crate::core::Event;
use crate::host::{Host, HostError};
use crate::moment::Moment;
use crate::simulation::{Balloon, Host as Simulated, SimGuest, SimVcpu, id, vcpus};
use crate::snapshot::{GuestId, Snapshot};
use crate::topology::Cpus;

/// A host that outlives the service, and that can be out of reach.
#[derive(Clone)]
struct Shared(Arc<Mutex<(Simulated, bool)>>);

impl Shared {
    fn new(host: Simulated) -> Self {
        Self(Arc::new(Mutex::new((host, true))))
    }

    fn with<T>(&self, does: impl FnOnce(&mut Simulated) -> T) -> T {
        does(&mut lock(&self.0).0)
    }

    fn reach(&self) -> Result<(), HostError> {
        let is_there = lock(&self.0).1;
        let message = "it is not there".to_owned();
        let asked = "the host";
        is_there
            .then_some(())
            .ok_or(HostError::Refused { asked, message })
    }

    fn set_reach(&self, is_there: bool) {
        lock(&self.0).1 = is_there;
    }

    fn pins(&self) -> usize {
        self.with(|host| host.pins.len())
    }

    fn all_at(&self, cpu: u32) -> bool {
        self.with(|host| {
            let mut vcpus = host.guests.iter().flat_map(|guest| &guest.vcpus);
            vcpus.all(|vcpu| vcpu.mask == Cpus::from([cpu]))
        })
    }
}

impl Host for Shared {
    fn now(&self) -> Moment {
        self.with(|host| host.now())
    }

    fn events(&mut self) -> Result<Vec<Event>, HostError> {
        self.reach().map(|()| Vec::new())
    }

    fn snapshot(&mut self) -> Result<Snapshot, HostError> {
        self.reach()?;
        Ok(self.with(|host| Simulated::snapshot(host)))
    }

    /// Guest 000 is process 1000, 001 is 1001, and so on.
    fn process(&self, guest: &GuestId) -> Option<Process> {
        let number: u32 = guest.to_string().parse().unwrap();
        Some(Process {
            pid: 1000 + number,
            began: 1,
        })
    }

    fn apply(&mut self, action: &Action) -> Result<(), HostError> {
        self.reach()?;
        self.with(|host| Simulated::apply(host, action));
        Ok(())
    }
}

/// The machine around it.
struct Machine {
    directory: tempfile::TempDir,
    host: Shared,
    settings: Settings,
    /// What the owner writes later, or what is wrong with it.
    written: Written,
}

type Written = Arc<Mutex<Option<Result<Settings, String>>>>;

impl Machine {
    fn new(host: Simulated) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["state", "run", "root/proc"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        for number in 0..host.guests.len() {
            let process = directory
                .path()
                .join(format!("root/proc/{}", 1000 + number));
            fs::create_dir(&process).unwrap();
            let stat = format!("1 (qemu) S{} 1 0", " 0".repeat(18));
            fs::write(process.join("stat"), stat).unwrap();
        }
        let mut settings = Settings::default();
        settings.cpu.mode = CpuMode::Pin;
        settings.memory.mode = MemoryMode::Balloon;
        Self {
            directory,
            host: Shared::new(host),
            settings,
            written: Written::default(),
        }
    }

    fn places(&self) -> Places {
        let at = |name: &str| self.directory.path().join(name);
        Places {
            state: at("state"),
            run: at("run"),
            affinity: at("affinity"),
            root: at("root"),
        }
    }

    fn daemon(&self) -> Daemon<Shared> {
        let host = self.host.clone();
        let connect: Connect<Shared> = Box::new(move |_| host.reach().map(|()| host.clone()));
        let (settings, written) = (self.settings.clone(), self.written.clone());
        let configuration: Configuration =
            Box::new(move || lock(&written).clone().unwrap_or(Ok(settings.clone())));
        Daemon::new(configuration, self.places(), connect)
    }

    fn windows(&self, daemon: &mut Daemon<Shared>, count: u32) {
        for _ in 0..count {
            self.host.with(Simulated::advance);
            daemon.window();
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Eight guests that all want half of CPU 0.
fn crowded() -> Machine {
    Machine::new(vcpus(4, &[50.0; 8], |_| Some(0)))
}

fn ask(daemon: &mut Daemon<Shared>, request: Request) -> String {
    daemon.request(request).unwrap()
}

fn claims(machine: &Machine) -> usize {
    fs::read_dir(machine.places().affinity).map_or(0, Iterator::count)
}

#[test]
fn as_it_is_shipped_nothing_is_changed_and_it_is_said_what_would_be() {
    let mut machine = crowded();
    machine.settings = Settings::default();
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 10);
    let status = daemon.status();
    assert_eq!(status.mode, Mode::Observe);
    let standing = "vCPUs: 6 would be pinned, but: only observing";
    assert_eq!(status.cpu.standing, standing);
    assert!(!status.cpu.acts && !status.memory.acts);
    daemon.end();
    assert_eq!((machine.host.pins(), claims(&machine)), (0, 0));
    assert_eq!(machine.host.with(|host| host.targets.len()), 0);
}

#[test]
fn pins_are_made_claimed_and_put_back_at_the_end() {
    let machine = crowded();
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 8);
    assert_eq!((machine.host.pins(), claims(&machine)), (6, 6));
    let status = daemon.status();
    assert_eq!(status.mode, Mode::Act);
    assert_eq!(status.reason, "vCPUs are placed, memory is given and taken");
    let why = ask(&mut daemon, Request::Why("003".to_owned()));
    assert!(
        why.starts_with("vCPU 0: on ") && why.contains("wants 50 % of a CPU"),
        "{why}"
    );
    let metrics = ask(&mut daemon, Request::Metrics);
    assert!(metrics.contains("auto_ext_vm_pins_total 6\n"), "{metrics}");
    daemon.end();
    assert!(machine.host.all_at(0));
    assert_eq!((machine.host.pins(), claims(&machine)), (12, 0));
    let history = ask(&mut machine.daemon(), Request::History(100));
    for part in ["started", "the host is seen", "/0 to ", "stopped"] {
        assert!(history.contains(part), "{history}");
    }
}

#[test]
fn who_is_killed_is_followed_by_one_that_puts_back_what_it_left() {
    let mut machine = crowded();
    let mut killed = machine.daemon();
    machine.windows(&mut killed, 8);
    drop(killed);
    assert!(!machine.host.all_at(0));
    machine.settings = Settings::default();
    let mut next = machine.daemon();
    machine.windows(&mut next, 1);
    assert!(machine.host.all_at(0));
    assert_eq!(claims(&machine), 0);
}

#[test]
fn a_host_that_is_not_there_is_said_in_one_line_and_waited_for() {
    let machine = crowded();
    machine.host.set_reach(false);
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 3);
    let status = daemon.status();
    let expected =
        "unavailable: nothing is changed, as nothing can be seen: the host: it is not there";
    assert_eq!(status.lines(), [expected]);
    let why = daemon.request(Request::Why("003".to_owned()));
    assert!(matches!(why, Err(Refusal::Unavailable(_))), "{why:?}");
    machine.host.set_reach(true);
    machine.windows(&mut daemon, 8);
    assert_eq!(machine.host.pins(), 6);
    // One that goes later is no guest that was lost, and comes back as it was.
    machine.host.set_reach(false);
    machine.windows(&mut daemon, 5);
    assert_eq!(daemon.status().mode, Mode::Unavailable);
    machine.host.set_reach(true);
    machine.windows(&mut daemon, 10);
    assert_eq!((daemon.status().mode, machine.host.pins()), (Mode::Act, 6));
}

#[test]
fn under_a_sched_ext_scheduler_vcpus_run_where_they_were_found() {
    let mut machine = crowded();
    let state = "root/sys/kernel/sched_ext/state";
    machine.write("root/sys/kernel/sched_ext/root/ops", "bpfland\n");
    machine.write(state, "disabled\n");
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 8);
    assert_eq!(claims(&machine), 6);
    machine.write(state, "enabled\n");
    machine.windows(&mut daemon, 5);
    assert!(machine.host.all_at(0));
    assert_eq!(claims(&machine), 0);
    let status = daemon.status();
    assert_eq!(status.cpu.kept, "a sched_ext scheduler runs (bpfland)");
    assert!(!status.cpu.acts && status.memory.acts);
    machine.write(state, "disabled\n");
    machine.windows(&mut daemon, 8);
    assert!(machine.host.with(|host| host.sigma()) < 5.0);
    daemon.end();
    drop(daemon);
    // Whose owner wants it has them pinned all the same.
    machine.write(state, "enabled\n");
    machine.settings.cpu.under_scx = crate::config::UnderScx::Pin;
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 8);
    assert!(machine.host.with(|host| host.sigma()) < 5.0);
}

/// A guest with much more memory than it needs, and seven whose memory is not to be changed.
fn with_balloon() -> Machine {
    let mut host = vcpus(4, &[50.0; 8], |_| Some(0));
    host.guests[0] = SimGuest {
        balloon: Balloon::plain(2048.0),
        ..SimGuest::new(0, vec![SimVcpu::new(50.0, 4)])
    };
    let mut machine = Machine::new(host);
    machine.settings.memory.reclaim = crate::config::Reclaim::Always;
    machine
}

#[test]
fn the_half_that_another_service_does_only_observes() {
    for (rival, cpu_acts, memory_acts) in [
        ("numad", false, true),
        ("pvestatd", true, false),
        ("momd", true, false),
        ("bash", true, true),
    ] {
        let machine = with_balloon();
        machine.write("root/proc/7/comm", &format!("{rival}\n"));
        let mut daemon = machine.daemon();
        machine.windows(&mut daemon, 40);
        let status = daemon.status();
        assert_eq!(
            (status.cpu.acts, status.memory.acts),
            (cpu_acts, memory_acts),
            "{rival}"
        );
        assert_eq!(machine.host.pins() > 0, cpu_acts, "{rival}");
        let targets = machine.host.with(|host| host.targets.len());
        assert_eq!(targets > 0, memory_acts, "{rival}");
        let text = status.lines().join("\n");
        assert_eq!(
            text.contains(&format!("{rival} runs, which")),
            rival != "bash",
            "{text}"
        );
    }
}

#[test]
fn a_guest_that_another_service_places_is_left_to_it() {
    let machine = crowded();
    let smt = AffinityOwner::new(&machine.places().affinity, "auto-ext-smt");
    for pid in 1000..1008 {
        smt.claim(Process { pid, began: 1 }).unwrap();
    }
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 20);
    assert_eq!(machine.host.pins(), 0);
    let status = daemon.status();
    assert!(
        status
            .guests
            .iter()
            .all(|guest| guest.left_alone == "auto-ext-smt decides where it runs")
    );
    assert_eq!(claims(&machine), 8);
    for pid in 1003..1008 {
        smt.release(Process { pid, began: 1 }).unwrap();
    }
    machine.windows(&mut daemon, 20);
    let moved: BTreeSet<GuestId> = machine.host.with(|host| {
        let pins = host.pins.iter();
        pins.map(|(_, id, _)| id.guest.clone()).collect()
    });
    assert!(
        moved.len() > 2 && moved.iter().all(|guest| *guest >= id(3)),
        "{moved:?}"
    );
    assert_eq!(claims(&machine), 3 + moved.len());
}

#[test]
fn a_guest_that_dies_after_it_gave_memory_ends_that_until_a_person_says_so() {
    let mut machine = with_balloon();
    machine.settings.cpu.mode = CpuMode::Observe;
    let mut daemon = machine.daemon();
    let targets = || machine.host.with(|host| host.targets.len());
    for _ in 0..40 {
        machine.windows(&mut daemon, 1);
        if targets() > 0 {
            break;
        }
    }
    assert!(targets() > 0);
    let guest = machine.host.with(|host| host.guests.remove(0));
    machine.windows(&mut daemon, 2);
    let held = |status: &Status| {
        status
            .memory
            .kept
            .contains("was lost soon after memory was taken")
    };
    assert!(held(&daemon.status()), "{:?}", daemon.status());
    daemon.end();
    drop(daemon);
    // It holds over a restart, also for the same guest.
    machine.host.with(|host| host.guests.insert(0, guest));
    let before = targets();
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 40);
    assert!(held(&daemon.status()) && targets() == before);
    ask(&mut daemon, Request::Resume);
    machine.windows(&mut daemon, 40);
    assert!(daemon.status().memory.acts && targets() > before);
}

#[test]
fn a_pause_and_who_is_excluded_hold_over_restarts() {
    let machine = crowded();
    let mut daemon = machine.daemon();
    ask(&mut daemon, Request::Pause(Some(Duration::from_secs(3600))));
    machine.windows(&mut daemon, 5);
    drop(daemon);
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 5);
    assert_eq!(
        (daemon.status().mode, machine.host.pins()),
        (Mode::Paused, 0)
    );
    assert!(daemon.status().paused_until.unwrap() > 0);
    for guest in 1..8 {
        ask(&mut daemon, Request::Exclude(format!("{guest:03}")));
    }
    ask(&mut daemon, Request::Resume);
    drop(daemon);
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 10);
    let status = daemon.status();
    assert_eq!((status.mode, status.excluded.len()), (Mode::Act, 7));
    let moved = machine.host.with(|host| {
        host.pins
            .iter()
            .filter(|(_, vcpu, _)| vcpu.guest != id(0))
            .count()
    });
    assert_eq!(moved, 0);
    assert_eq!(status.guests[1].left_alone, "a person excluded it");
    let again = daemon.request(Request::Include("none".to_owned()));
    assert!(matches!(again, Err(Refusal::Invalid(_))), "{again:?}");
    ask(&mut daemon, Request::Include("001".to_owned()));
    assert_eq!(daemon.status().excluded.len(), 6);
}

#[test]
fn a_guest_that_is_released_runs_where_it_was_found() {
    let machine = crowded();
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 8);
    ask(&mut daemon, Request::Release(None));
    machine.windows(&mut daemon, 20);
    assert!(machine.host.all_at(0));
    assert_eq!(claims(&machine), 0);
    assert_eq!(daemon.status().guests[7].left_alone, "a person released it");
    let unknown = daemon.request(Request::Release(Some("mail".to_owned())));
    assert!(matches!(unknown, Err(Refusal::Invalid(_))), "{unknown:?}");
}

#[test]
fn a_vcpu_whose_thread_is_not_found_is_not_pinned_by_the_kernel() {
    let mut machine = crowded();
    machine.settings.cpu.pin_by = PinBy::Kernel;
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 8);
    assert_eq!(machine.host.pins(), 0);
    let error = daemon.status().last_error;
    assert!(error.contains("there is no thread of vCPU"), "{error}");
    let metrics = ask(&mut daemon, Request::Metrics);
    assert!(
        !metrics.contains("auto_ext_vm_refused_total 0\n"),
        "{metrics}"
    );
}

#[test]
fn a_configuration_that_has_changed_begins_anew_and_an_invalid_one_changes_nothing() {
    let machine = crowded();
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 8);
    assert_eq!(machine.host.pins(), 6);
    let wrong = "vm.yaml:2:3: error: no\nvm.yaml:4:1: error: no".to_owned();
    *lock(&machine.written) = Some(Err(wrong));
    daemon.reload();
    machine.windows(&mut daemon, 5);
    let status = daemon.status();
    let expected =
        "the configuration stays as it was: vm.yaml:2:3: error: no; vm.yaml:4:1: error: no";
    assert_eq!(status.last_error, expected);
    assert_eq!((status.mode, machine.host.pins()), (Mode::Act, 6));
    // One that says the same as before is none that has changed.
    *lock(&machine.written) = Some(Ok(machine.settings.clone()));
    daemon.reload();
    assert_eq!(machine.host.pins(), 6);
    *lock(&machine.written) = Some(Ok(Settings::default()));
    daemon.reload();
    assert!(machine.host.all_at(0));
    machine.windows(&mut daemon, 10);
    let status = daemon.status();
    assert_eq!(
        (status.mode, status.last_error),
        (Mode::Observe, String::new())
    );
    assert_eq!((machine.host.pins(), claims(&machine)), (12, 0));
    *lock(&machine.written) = Some(Ok(machine.settings.clone()));
    daemon.reload();
    machine.windows(&mut daemon, 8);
    assert_eq!((machine.host.pins(), claims(&machine)), (18, 6));
    daemon.end();
    assert!(machine.host.all_at(0));
}

#[test]
fn a_configuration_that_is_invalid_at_the_start_has_nothing_changed_until_it_is_valid() {
    let machine = crowded();
    *lock(&machine.written) = Some(Err("vm.yaml:2:3: error: no".to_owned()));
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 8);
    assert_eq!(
        (daemon.status().mode, machine.host.pins()),
        (Mode::Observe, 0)
    );
    assert!(daemon.status().last_error.contains("vm.yaml:2:3"));
    *lock(&machine.written) = None;
    daemon.reload();
    machine.windows(&mut daemon, 8);
    assert_eq!(machine.host.pins(), 6);
}

#[test]
fn garbled_orders_or_originals_keep_the_service_from_changing_anything() {
    let machine = crowded();
    machine.write("state/orders.json", "{");
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 10);
    assert_eq!(machine.host.pins(), 0);
    assert!(daemon.status().cpu.kept.contains("orders.json"));
    machine.write("state/originals.json", "{");
    ask(&mut daemon, Request::Resume);
    drop(daemon);
    let mut daemon = machine.daemon();
    machine.windows(&mut daemon, 10);
    assert_eq!(
        (daemon.status().mode, machine.host.pins()),
        (Mode::Unavailable, 0)
    );
    assert!(daemon.status().reason.contains("originals.json"));
}
