//! A host with many guests, for `cargo xtask bench vm`: each is a process with a thread for each vCPU, all of which sleep, and who is asked
//! about them (`libvirt`) answers as libvirt does. All of it ends with its input.
//!
//! Its arguments are what is to be /run for who looks at it, and how many guests there are.

mod libvirt;

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, PipeReader, Read as _};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// How many vCPUs each has.
const VCPUS: u32 = 4;
/// What a process that is a guest is called with first.
const GUEST: &str = "-name";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let first = arguments
        .next()
        .ok_or("it takes a directory and a number")?;
    if first == GUEST {
        let last = arguments.last().ok_or("which one is it?")?;
        return sleep(last.parse()?);
    }
    let guests: u32 = arguments.next().ok_or("how many guests?")?.parse()?;
    let run = Path::new(&first).join("libvirt");
    fs::create_dir_all(run.join("qemu"))?;
    // They end when nobody has its other end any more.
    let (ends, _held) = io::pipe()?;
    let mut processes = Vec::new();
    for number in 0..guests {
        let process = start(number, &ends)?;
        fs::write(
            run.join(format!("qemu/{}.pid", libvirt::name(number))),
            process.id().to_string(),
        )?;
        processes.push(process);
    }
    drop(ends);
    libvirt::serve(&run.join("libvirt-sock"), guests)?;
    println!("ready");
    wait_for_the_end()?;
    for mut process in processes {
        process.kill()?;
        process.wait()?;
    }
    Ok(())
}

fn start(number: u32, ends: &PipeReader) -> io::Result<Child> {
    let name = format!("guest={},debug-threads=on", libvirt::name(number));
    let mut command = Command::new(env::current_exe()?);
    command
        .args([GUEST, &name, "-uuid", &libvirt::uuid_text(number)])
        .arg(number.to_string())
        .stdin(ends.try_clone()?);
    command.spawn()
}

/// A guest, until it ends. Its vCPUs are pinned in turn, so that there is nothing to do about them.
fn sleep(number: u32) -> Result<(), Box<dyn Error>> {
    let cpus = u32::try_from(thread::available_parallelism()?.get())?;
    for vcpu in 0..VCPUS {
        let mut cpu = CpuSet::new();
        cpu.set(((number * VCPUS + vcpu) % cpus) as usize)?;
        let thread = thread::Builder::new().name(format!("CPU {vcpu}/TCG"));
        thread.stack_size(16 << 10).spawn(move || {
            // Where it cannot be, it is somewhere else.
            let _ = sched_setaffinity(Pid::from_raw(0), &cpu);
            loop {
                thread::park();
            }
        })?;
    }
    wait_for_the_end()?;
    Ok(())
}

fn wait_for_the_end() -> io::Result<()> {
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
