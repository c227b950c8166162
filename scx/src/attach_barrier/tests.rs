//! The tests start this test program again, as the process behind the barrier; see `the_child`.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::supervisor::{NO_SCHEDULER, STATE};
use super::*;

const ROLE: &str = "AUTO_EXT_BARRIER_ROLE";
const STRUCT_OPS: u32 = 44;
const TCX_INGRESS: u32 = 46;
const OPENS: u32 = 5_000;

/// Plays the child in the other tests, and passes on its own. The exit status is what it has to
/// say.
#[test]
fn the_child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let status = match role.as_str() {
        "reads the state" => i32::from(!reads_disabled()),
        "reads the state twice" => i32::from(!(reads_disabled() && reads_disabled())),
        "reads the state in threads" => {
            let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(reads_disabled)).collect();
            let all = threads.into_iter().all(|thread| thread.join().unwrap());
            i32::from(!all)
        }
        "reads other files" => {
            let own = fs::read_to_string("/proc/self/comm").unwrap();
            let missing = fs::File::open("/sys/kernel/sched_ext/stat").unwrap_err();
            fs::File::open("/sys/kernel/sched_ext/state/").unwrap_err();
            i32::from(own.is_empty() || missing.kind() != io::ErrorKind::NotFound)
        }
        "attaches" => create_link(STRUCT_OPS, 64),
        "attaches in a thread" => std::thread::spawn(|| create_link(STRUCT_OPS, 64))
            .join()
            .unwrap(),
        "attaches in a thread, and reads on" => {
            let thread = std::thread::spawn(|| create_link(STRUCT_OPS, 64));
            for _ in 0..100 {
                assert!(reads_disabled());
                std::thread::sleep(Duration::from_millis(1));
            }
            thread.join().unwrap()
        }
        "attaches, reads the state and attaches again" => {
            let first = create_link(STRUCT_OPS, 64);
            let truth = fs::read_to_string(STATE).map_err(|error| error.kind());
            assert_eq!(truth.is_ok(), Path::new(STATE).exists());
            let second = create_link(STRUCT_OPS, 64);
            assert_eq!(first, second);
            second
        }
        "attaches something else" => create_link(TCX_INGRESS, 64),
        "attaches with too small an attribute" => create_link(STRUCT_OPS, 11),
        "attaches from nowhere" => bpf(28, 8, 64),
        "makes a map" => create_map(),
        "opens many files" => {
            let opened = Instant::now();
            for _ in 0..OPENS {
                drop(fs::File::open("/proc/self/comm").unwrap());
            }
            let open = opened.elapsed() / OPENS;
            let called = Instant::now();
            for _ in 0..OPENS {
                nix::unistd::getppid();
            }
            let other = called.elapsed() / OPENS;
            eprintln!("an open and close {open:?}, another call {other:?}");
            0
        }
        "attaches, and opens many files" => {
            create_link(STRUCT_OPS, 64);
            let path = std::env::current_exe().unwrap();
            let mut command = std::process::Command::new(path);
            command.args(["--exact", "attach_barrier::tests::the_child", "--nocapture"]);
            let status = command.env(ROLE, "opens many files").status().unwrap();
            status.code().unwrap()
        }
        "kills fifty children that wait to attach" => {
            kill_fifty_children();
            0
        }
        other => panic!("nobody plays `{other}`"),
    };
    std::process::exit(status);
}

fn reads_disabled() -> bool {
    fs::read_to_string(STATE).is_ok_and(|state| state == NO_SCHEDULER)
}

/// The errno with which attaching nothing fails.
fn create_link(attach_type: u32, size: usize) -> i32 {
    let mut attr = [0_u32; 16];
    attr[0] = u32::MAX;
    attr[1] = u32::MAX;
    attr[2] = attach_type;
    bpf(28, (&raw const attr) as usize, size)
}

/// The errno with which making a map without a type fails.
fn create_map() -> i32 {
    let attr = [0_u32; 16];
    bpf(0, (&raw const attr) as usize, 64)
}

fn bpf(command: u32, attr: usize, size: usize) -> i32 {
    // SAFETY: what the kernel reads lives as long as the call, or is not there; it writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size) };
    Errno::result(result).map_or_else(|errno| errno as i32, |_| 0)
}

fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "attach_barrier::tests::the_child", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

fn behind_barrier(role: &str) -> (Child, AttachBarrier) {
    AttachBarrier::spawn(command(role)).unwrap()
}

async fn next(barrier: &mut AttachBarrier) -> Event {
    let event = timeout(Duration::from_secs(20), barrier.next()).await;
    event.expect("something happens").unwrap()
}

async fn pending_at(barrier: &mut AttachBarrier) -> Pending {
    match next(barrier).await {
        Event::AttachPending(pending) => pending,
        Event::Gone => panic!("it has gone"),
    }
}

async fn status(mut child: Child, mut barrier: AttachBarrier) -> i32 {
    let (event, status) = tokio::join!(next(&mut barrier), child.wait());
    assert!(matches!(event, Event::Gone), "{event:?}");
    status.unwrap().code().unwrap()
}

/// The status of a child that never attaches a scheduler.
async fn status_of(role: &str) -> i32 {
    let (child, barrier) = behind_barrier(role);
    status(child, barrier).await
}

#[tokio::test]
async fn a_scheduler_that_asks_is_told_that_none_is_enabled() {
    assert_eq!(status_of("reads the state").await, 0);
}

#[tokio::test]
async fn asked_again_it_is_told_the_same_from_the_start() {
    assert_eq!(status_of("reads the state twice").await, 0);
}

#[tokio::test]
async fn its_threads_are_told_the_same() {
    assert_eq!(status_of("reads the state in threads").await, 0);
}

#[tokio::test]
async fn other_files_open_as_ever() {
    assert_eq!(status_of("reads other files").await, 0);
}

#[tokio::test]
async fn a_shell_runs_as_ever() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "cat /proc/self/comm"]);
    command.stdout(Stdio::piped());
    let (mut child, mut barrier) = AttachBarrier::spawn(command).unwrap();
    let mut text = String::new();
    let mut stdout = child.stdout.take().unwrap();
    let (event, _, _) = tokio::join!(
        next(&mut barrier),
        child.wait(),
        stdout.read_to_string(&mut text)
    );
    assert!(matches!(event, Event::Gone));
    assert_eq!(text, "cat\n");
}

#[tokio::test]
async fn a_scheduler_waits_to_attach_until_it_is_permitted() {
    let (mut child, mut barrier) = behind_barrier("attaches");
    let pending = pending_at(&mut barrier).await;
    let waited = timeout(Duration::from_millis(200), barrier.next()).await;
    assert!(waited.is_err(), "nothing else happens");
    assert!(child.try_wait().unwrap().is_none());
    barrier.permit(&pending).unwrap().open().unwrap();
    // It then gets the kernel's own answer.
    assert_eq!(status(child, barrier).await, create_link(STRUCT_OPS, 64));
}

#[tokio::test]
async fn a_thread_waits_to_attach_too() {
    let (child, mut barrier) = behind_barrier("attaches in a thread");
    let pending = pending_at(&mut barrier).await;
    barrier.permit(&pending).unwrap().open().unwrap();
    assert_eq!(status(child, barrier).await, create_link(STRUCT_OPS, 64));
}

#[tokio::test]
async fn while_one_thread_waits_to_attach_the_others_go_on() {
    let (child, mut barrier) = behind_barrier("attaches in a thread, and reads on");
    let pending = pending_at(&mut barrier).await;
    let waited = timeout(Duration::from_millis(300), barrier.next()).await;
    assert!(waited.is_err(), "nothing else happens");
    barrier.refuse(pending, Errno::EBUSY).unwrap();
    assert_eq!(status(child, barrier).await, libc::EBUSY);
}

#[tokio::test]
async fn a_refused_scheduler_gets_the_errno_given() {
    let (child, mut barrier) = behind_barrier("attaches");
    let pending = pending_at(&mut barrier).await;
    barrier.refuse(pending, Errno::EXFULL).unwrap();
    assert_eq!(status(child, barrier).await, libc::EXFULL);
}

#[tokio::test]
async fn once_open_the_barrier_stays_open_and_tells_the_truth() {
    let (child, mut barrier) = behind_barrier("attaches, reads the state and attaches again");
    let pending = pending_at(&mut barrier).await;
    barrier.permit(&pending).unwrap().open().unwrap();
    assert_eq!(status(child, barrier).await, create_link(STRUCT_OPS, 64));
}

/// As when the daemon's loop does not get its turn: nobody asks the barrier for events.
#[tokio::test]
async fn its_calls_are_answered_though_the_loop_is_busy() {
    let (mut child, mut barrier) = behind_barrier("attaches, and opens many files");
    let pending = pending_at(&mut barrier).await;
    barrier.permit(&pending).unwrap().open().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it waits");
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn other_uses_of_bpf_are_untouched() {
    let expected = create_link(TCX_INGRESS, 64);
    assert_eq!(status_of("attaches something else").await, expected);
    let expected = create_link(STRUCT_OPS, 11);
    let role = "attaches with too small an attribute";
    assert_eq!(status_of(role).await, expected);
    assert_eq!(status_of("attaches from nowhere").await, bpf(28, 8, 64));
    assert_eq!(status_of("makes a map").await, create_map());
}

#[tokio::test]
async fn a_program_that_is_missing_is_not_the_barriers_fault() {
    let error = AttachBarrier::spawn(Command::new("/nonexistent")).unwrap_err();
    assert!(matches!(error, BarrierError::Spawn(error) if error.kind() == io::ErrorKind::NotFound));
}

#[tokio::test]
async fn a_second_barrier_around_the_first_is_unsupported() {
    let mut inner = command("reads the state");
    // SAFETY: `install` is made for this; a socket and a forgotten one allocate nothing.
    unsafe {
        inner.pre_exec(|| {
            // The listener is on its way to `ours` until exec.
            let (ours, theirs) = UnixDatagram::pair()?;
            std::mem::forget(ours);
            notify::install(theirs.as_fd())
        })
    };
    let error = AttachBarrier::spawn(inner).unwrap_err();
    let busy = matches!(
        error,
        BarrierError::Unsupported {
            error: Errno::EBUSY,
            ..
        }
    );
    assert!(busy, "{error:?}");
}

#[tokio::test]
async fn without_the_barrier_its_process_can_open_nothing() {
    let (mut child, mut barrier) = behind_barrier("attaches");
    let _pending = pending_at(&mut barrier).await;
    drop(barrier);
    assert_eq!(child.wait().await.unwrap().code(), Some(libc::ENOSYS));
}

#[tokio::test]
async fn a_caller_that_gives_up_waiting_loses_nothing() {
    let (child, mut barrier) = behind_barrier("reads the state in threads");
    for _ in 0..200 {
        if let Ok(event) = timeout(Duration::from_micros(50), barrier.next()).await {
            assert!(matches!(event.unwrap(), Event::Gone));
            break;
        }
    }
    assert_eq!(status(child, barrier).await, 0);
}

/// In a process of its own, as the other tests open files at the same time.
#[test]
fn children_killed_while_they_wait_to_attach_leave_nothing_behind() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "attach_barrier::tests::the_child", "--nocapture"]);
    command.env(ROLE, "kills fifty children that wait to attach");
    assert!(command.status().unwrap().success());
}

fn kill_fifty_children() {
    let open_files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut before = None;
    for round in 0..50 {
        runtime.block_on(async {
            let (mut child, mut barrier) = behind_barrier("attaches");
            let pending = pending_at(&mut barrier).await;
            kill(
                Pid::from_raw(child.id().unwrap().cast_signed()),
                Signal::SIGKILL,
            )
            .unwrap();
            let (event, _) = tokio::join!(next(&mut barrier), child.wait());
            assert!(matches!(event, Event::Gone));
            // Too late, and that is no error.
            if round % 2 == 0 {
                barrier.permit(&pending).unwrap().open().unwrap();
            } else {
                barrier.refuse(pending, Errno::EBUSY).unwrap();
            }
            assert!(matches!(next(&mut barrier).await, Event::Gone));
        });
        // The runtime keeps some for itself from the first round on.
        assert_eq!(*before.get_or_insert_with(open_files), open_files());
    }
}

/// Prints what it costs: `cargo test --release many_files -- --nocapture`
#[test]
fn behind_any_barrier_many_files_can_be_opened() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        eprintln!("no barrier");
        let status = command("opens many files").status().await.unwrap();
        assert!(status.success());
        eprintln!("an open barrier");
        let (child, mut barrier) = behind_barrier("attaches, and opens many files");
        let pending = pending_at(&mut barrier).await;
        barrier.permit(&pending).unwrap().open().unwrap();
        assert_eq!(self::status(child, barrier).await, 0);
        eprintln!("a closed barrier");
        assert_eq!(status_of("opens many files").await, 0);
    });
}
