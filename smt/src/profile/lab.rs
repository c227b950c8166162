//! The lab that there is: injectors are processes of this program, and the kernel counts. Ends whatever it began.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use auto_ext_service::cpu_list::Cpus;

use crate::core::CpuTime;
use crate::counters::{Counters as _, Perf, Reading};
use crate::groups::{Key, MAX_THREADS};
use crate::injector::{Injector, READY};
use crate::usage::{Occupancy, Waits, pressure};

use super::run::{Lab, Look};
use super::seats::Seats;

/// The job that is profiled.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The group.
    pub key: Key,
    /// Its processes.
    pub pids: Vec<u32>,
    /// Its cgroup.
    pub cgroup: String,
    /// Where it runs, and who beside it.
    pub seats: Seats,
}

/// Processes and counters of this machine.
pub struct Machine {
    root: PathBuf,
    program: PathBuf,
    begun: Instant,
    workload: Option<Counted>,
    running: Vec<Running>,
}

/// The job, and what was seen of it last.
struct Counted {
    of: Workload,
    counters: Perf,
    waits: Waits,
    occupancy: Occupancy,
}

struct Running {
    child: Child,
    counters: Perf,
}

impl Machine {
    /// The machine below `root`, on which `program` is this one; from now on time counts.
    #[must_use]
    pub fn new(root: &Path, program: &Path) -> Self {
        Self {
            root: root.to_owned(),
            program: program.to_owned(),
            begun: Instant::now(),
            workload: None,
            running: Vec::new(),
        }
    }

    /// From now on this job is counted too, which runs where it is to run.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn count(&mut self, workload: Workload) -> Result<(), String> {
        let counters = Perf::of_processes(&self.root, &workload.pids, MAX_THREADS);
        self.workload = Some(Counted {
            counters: counters.map_err(|why| why.to_string())?,
            waits: Waits::read(&self.root, &workload.pids),
            occupancy: self.occupancy(&workload),
            of: workload,
        });
        Ok(())
    }

    fn occupancy(&self, workload: &Workload) -> Occupancy {
        let group = [(&workload.key, &workload.pids[..])];
        Occupancy::read(&self.root, group.into_iter())
    }

    fn start(&self, injector: Injector, cpu: u32) -> Result<Running, String> {
        let failed = |why: &dyn std::fmt::Display| format!("{injector} on CPU {cpu}: {why}");
        let mut command = Command::new(&self.program);
        command
            .arg("injector")
            .args([injector.resource().name(), injector.level().name()])
            .args(["--cpu", &cpu.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let ready = ready(&mut child);
        let counters = ready.and_then(|()| {
            let counters = Perf::of_processes(&self.root, &[child.id()], 1);
            counters.map_err(|why| why.to_string())
        });
        match counters {
            Ok(counters) => Ok(Running { child, counters }),
            Err(why) => {
                end(&mut child);
                Err(failed(&why))
            }
        }
    }
}

impl Lab for Machine {
    fn begin(&mut self, injectors: &[(Injector, u32)]) -> Result<(), String> {
        for (injector, cpu) in injectors {
            let running = self.start(*injector, *cpu)?;
            self.running.push(running);
        }
        // What was seen before is of another step.
        if let Some(workload) = self.workload.take() {
            self.count(workload.of)?;
        }
        Ok(())
    }

    fn end(&mut self) {
        for mut running in self.running.drain(..) {
            end(&mut running.child);
        }
    }

    fn wait(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn look(&mut self) -> Result<Look, String> {
        let injectors = self.running.iter_mut();
        let injectors = injectors.map(|running| running.counters.read());
        let injectors: Vec<Reading> = injectors
            .collect::<Result<_, _>>()
            .map_err(|why| format!("an injector: {why}"))?;
        let mut look = Look {
            at: self.begun.elapsed(),
            injectors,
            ..Look::default()
        };
        let Some(workload) = &mut self.workload else {
            return Ok(look);
        };
        let read = workload.counters.read();
        look.workload = Some(read.map_err(|why| format!("the job: {why}"))?);
        let waits = Waits::read(&self.root, &workload.of.pids);
        look.delay = waits.since(&workload.waits);
        workload.waits = waits;
        look.pressure = pressure(&self.root, &workload.of.cgroup);
        let group = [(&workload.of.key, &workload.of.pids[..])];
        let occupancy = Occupancy::read(&self.root, group.into_iter());
        let occupied = occupancy.since(&workload.occupancy);
        let on = occupancy.now_on(&workload.of.key, &workload.occupancy);
        workload.occupancy = occupancy;
        let seats = &workload.of.seats;
        look.elsewhere = on.difference(&seats.workload).next().copied();
        look.beside = busiest(&occupied.cpus, &seats.siblings);
        Ok(look)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until an injector loads its resource. It ends by itself if it never does, and so does this.
fn ready(child: &mut Child) -> Result<(), String> {
    let mut line = String::new();
    let said = child.stdout.take().map(BufReader::new);
    if let Some(mut said) = said {
        // What cannot be read was not said.
        let _ = said.read_line(&mut line);
    }
    (line.trim_end() == READY)
        .then_some(())
        .ok_or_else(|| "it did not begin".to_owned())
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// How busy the busiest of some CPUs was, in parts of its time.
fn busiest(times: &BTreeMap<u32, CpuTime>, cpus: &Cpus) -> Option<f64> {
    let busy = cpus.iter().filter_map(|cpu| times.get(cpu)?.busy_part());
    busy.reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_of_some_cpus_is_seen() {
        let seats = Cpus::from([1, 2]);
        let time = |busy, idle| CpuTime { busy, idle };
        let times = BTreeMap::from([(1, time(50, 50)), (2, time(10, 90)), (3, time(100, 0))]);
        assert_eq!(busiest(&times, &seats), Some(0.5));
        assert_eq!(busiest(&times, &[7].into()), None);
    }

    #[test]
    fn a_program_that_is_no_injector_is_said_and_leaves_nothing_behind() {
        let mut lab = Machine::new(Path::new("/"), Path::new("/bin/true"));
        let one = Injector::all(&crate::injector::Sizes::default())[0];
        let failed = lab.begin(&[(one, 0)]).unwrap_err();
        assert_eq!(failed, "int_port high on CPU 0: it did not begin");
        assert!(lab.running.is_empty());
        let mut lab = Machine::new(Path::new("/"), Path::new("/nonexistent"));
        assert!(lab.begin(&[(one, 0)]).is_err());
        assert_eq!(lab.look().unwrap().workload, None);
    }
}
