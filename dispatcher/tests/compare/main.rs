//! `auto-ext compare` on a bus of its own, with a daemon that brings every scheduler at once.

#![expect(clippy::unwrap_used, reason = "a test speaks to its runner")]

#[path = "../notify/bus.rs"]
#[expect(dead_code, reason = "this bus is never restarted")]
mod bus;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};
use tokio::process::{Child, Command};
use tokio::time::sleep;
use zbus::{Connection, connection, interface};

use bus::Bus;

/// The daemon's side, as far as comparisons are about it. What runs is in the file `scheduler`, and as many processes as
/// `instances` has bytes ran it.
struct Daemon {
    directory: PathBuf,
    leases: Vec<(u32, String, String)>,
    cookies: u32,
    used: usize,
    limit: u32,
    /// The caller may change what runs.
    may_manage: bool,
    /// The leases that were for turns.
    turns: u32,
    /// What was to be kept, and for which class.
    kept: Vec<(String, Json)>,
}

impl Daemon {
    fn current(&self) -> String {
        fs::read_to_string(self.directory.join("scheduler")).unwrap()
    }

    fn desired(&self) -> (&str, &str) {
        let newest = self.leases.last();
        newest.map_or(("kernel", "class idle"), |(_, name, because)| {
            (name, because)
        })
    }

    fn decide(&mut self) {
        let desired = self.desired().0.to_owned();
        if desired != self.current() {
            self.used += 1;
            fs::write(self.directory.join("scheduler"), desired).unwrap();
        }
    }
}

#[interface(name = "org.autoext.AutoExt1")]
impl Daemon {
    #[zbus(property)]
    fn current_scheduler(&self) -> String {
        self.current()
    }

    #[zbus(property)]
    fn scheduler_pid(&self) -> u32 {
        let instances = fs::read(self.directory.join("instances"));
        u32::try_from(instances.unwrap_or_default().len()).unwrap()
    }

    #[zbus(property)]
    fn class(&self) -> &str {
        "latent"
    }

    fn keep(&mut self, class: &str, comparison: &str) -> zbus::fdo::Result<String> {
        if class != "latent" {
            return Err(zbus::fdo::Error::InvalidArgs(format!("no `{class}`")));
        }
        let comparison = serde_json::from_str(comparison).unwrap();
        self.kept.push((class.to_owned(), comparison));
        Ok("it goes first".to_owned())
    }

    fn trials(&self) -> String {
        let class = json!({"class": "latent", "now": "kernel", "found": []});
        json!({
            "learning": "off", "consent_until": null, "lifted_until": null, "trial": null, "no_trial": [], "classes": [class],
        })
        .to_string()
    }

    #[zbus(property)]
    fn mode(&self) -> String {
        let mode = if self.leases.is_empty() {
            "auto"
        } else {
            "held"
        };
        mode.to_owned()
    }

    fn lease(
        &mut self,
        name: &str,
        args: Vec<&str>,
        application: &str,
        reason: &str,
    ) -> zbus::fdo::Result<u32> {
        if args == ["wrong"] {
            return Err(zbus::fdo::Error::InvalidArgs("it takes no `wrong`".into()));
        }
        let name = [vec![name], args].concat().join(" ");
        if name == "nonsense" {
            return Err(zbus::fdo::Error::InvalidArgs(
                "`nonsense` is no scheduler".into(),
            ));
        }
        self.cookies += 1;
        let because = format!("leased by {application} ({reason})");
        self.leases.push((self.cookies, name, because));
        self.decide();
        Ok(self.cookies)
    }

    fn lease_turn(
        &mut self,
        name: &str,
        args: Vec<&str>,
        application: &str,
        reason: &str,
    ) -> zbus::fdo::Result<u32> {
        if !self.may_manage {
            return Err(zbus::fdo::Error::AccessDenied("no".into()));
        }
        self.turns += 1;
        self.lease(name, args, application, reason)
    }

    fn release(&mut self, cookie: u32) {
        let before = self.leases.len();
        self.leases.retain(|lease| lease.0 != cookie);
        assert_eq!(self.leases.len() + 1, before);
        self.decide();
    }

    fn why(&self) -> String {
        let (desired, because) = self.desired();
        json!({
            "mode": self.mode(), "class": "idle", "class_for": 1, "desired": desired, "because": because, "rejected": [],
            "waits": null, "rules": [], "would_change": [], "switches": [self.used, self.limit], "compared": [0, 240],
        })
        .to_string()
    }
}

/// All of it. What is declared first is dropped first.
struct World {
    served: Connection,
    bus: Bus,
    directory: tempfile::TempDir,
}

impl World {
    /// Of somebody who may not change what runs.
    async fn start(limit: u32) -> Self {
        Self::of(limit, false).await
    }

    async fn of(limit: u32, may_manage: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("scheduler"), "kernel").unwrap();
        let bus = Bus::start(directory.path(), "system");
        let daemon = Daemon {
            directory: directory.path().to_owned(),
            leases: Vec::new(),
            cookies: 0,
            used: 0,
            limit,
            may_manage,
            turns: 0,
            kept: Vec::new(),
        };
        let builder = connection::Builder::address(bus.address.as_str())
            .serve_at("/org/autoext/AutoExt1", daemon)
            .name("org.autoext.AutoExt1");
        Self {
            served: builder.build().await.unwrap(),
            bus,
            directory,
        }
    }

    /// `auto-ext compare` with these words, of a command for the shell that runs where `scheduler` is.
    fn begin(&self, words: &str, command: &str) -> Child {
        let mut compare = self.comparison(words);
        compare.args(["--", "sh", "-c", command]).spawn().unwrap()
    }

    /// The same without a command.
    fn start_comparing(&self, words: &str) -> Child {
        self.comparison(words).spawn().unwrap()
    }

    fn comparison(&self, words: &str) -> Command {
        // What runs tests in the background may have them ignore SIGINT, which is inherited and which auto-ext respects.
        let mut compare = Command::new("env");
        compare
            .arg("--default-signal=INT")
            .arg(env!("CARGO_BIN_EXE_auto-ext"))
            .arg("compare")
            .args(words.split_whitespace())
            .current_dir(self.path())
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.bus.address)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        compare
    }

    async fn compare(&self, words: &str, command: &str) -> Output {
        self.begin(words, command).wait_with_output().await.unwrap()
    }

    /// How many leases there were, and how many are left.
    async fn leases(&self) -> (u32, usize) {
        let daemon = self.daemon().await;
        let daemon = daemon.get().await;
        (daemon.cookies, daemon.leases.len())
    }

    async fn daemon(&self) -> zbus::object_server::InterfaceRef<Daemon> {
        let object = self.served.object_server();
        let daemon = object.interface::<_, Daemon>("/org/autoext/AutoExt1");
        daemon.await.unwrap()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// What a file with turns has in this column.
fn column<'t>(turns: &'t str, name: &str) -> Vec<&'t str> {
    let mut lines = turns.lines().map(|line| line.split(','));
    let at = lines.next().unwrap().position(|column| column == name);
    lines
        .map(|mut fields| fields.nth(at.unwrap()).unwrap())
        .collect()
}

fn answer(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// More frames under bpfland.
const FRAMES: &str = "if grep -q bpfland scheduler; then echo 60 fps; else echo 50 fps; fi";
const MEASURE: &str = "--measure ([0-9]+).fps --higher --json";

#[tokio::test]
async fn a_better_scheduler_is_found_and_every_turn_ran_under_its_own() {
    let world = World::start(1000).await;
    let words = format!("kernel bpfland {MEASURE} --csv turns.csv");
    let output = world.compare(&words, FRAMES).await;
    assert!(output.status.success(), "{output:?}");
    let answer = answer(&output);
    let challenger = &answer["challengers"][0];
    assert_eq!(answer["ended"], "decided");
    assert_eq!(challenger["pairs"], 6);
    // Where waits are measured, those of this machine may happen to be longer.
    let verdict = challenger["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("better"), "{verdict}");
    let turns = fs::read_to_string(world.path().join("turns.csv")).unwrap();
    assert_eq!(turns.lines().count(), 13);
    let (scheduler, value) = (column(&turns, "scheduler"), column(&turns, "value"));
    for (scheduler, value) in scheduler.iter().zip(value) {
        let expected = if *scheduler == "bpfland" { "60" } else { "50" };
        assert_eq!(value, expected, "{turns}");
    }
    // Anybody may know what the CPUs did.
    assert!(!column(&turns, "machine_user_cpus").contains(&""));
    // How long tasks wait takes rights: it is in every turn, or why not is said once.
    let waits = column(&turns, "wakes_per_s");
    let times = said(&output)
        .matches("how long tasks wait is not measured")
        .count();
    let are_measured = waits.iter().filter(|wait| !wait.is_empty()).count();
    assert!(
        (times, are_measured) == (0, waits.len()) || (times, are_measured) == (1, 0),
        "{output:?}\n{turns}"
    );
    // One is left: that of the last turn, which the daemon ends with its caller.
    let (leases, left) = world.leases().await;
    assert!((8..=15).contains(&leases) && left == 1, "{leases}, {left}");
    assert!(
        said(&output).contains("of 1000 an hour are left"),
        "{output:?}"
    );
}

#[tokio::test]
async fn of_equals_no_lease_is_taken_twice() {
    let world = World::start(3).await;
    let output = world.compare("kernel kernel --runs 4 --json", "true").await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(answer(&output)["challengers"][0]["pairs"], 4);
    assert_eq!(world.leases().await.0, 1);
}

#[tokio::test]
async fn when_the_limit_of_switches_is_reached_what_is_known_is_told() {
    let world = World::start(8).await;
    // By this seed the coin asks for more of them than there are.
    let words = format!("kernel bpfland --seed 1 {MEASURE}");
    let output = world.compare(&words, FRAMES).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let answer = answer(&output);
    assert_eq!(answer["ended"], "failed");
    let pairs = answer["challengers"][0]["pairs"].as_u64().unwrap();
    assert!((1..6).contains(&pairs), "{answer}");
    let said = said(&output);
    assert!(said.contains("and without any it ends"), "{said}");
    assert!(
        said.contains("the limit of 8 switches per hour is reached"),
        "{said}"
    );
}

#[tokio::test]
async fn who_may_change_what_runs_has_more_switches() {
    let world = World::of(8, true).await;
    let words = format!("kernel bpfland --seed 1 {MEASURE}");
    let output = world.compare(&words, FRAMES).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(answer(&output)["ended"], "decided");
    let said = said(&output);
    assert!(said.contains("240 of 240 an hour are left"), "{said}");
    let daemon = world.daemon().await;
    let daemon = daemon.get().await;
    assert_eq!(daemon.turns, daemon.cookies);
}

#[tokio::test]
async fn the_load_that_runs_is_compared_by_how_long_tasks_wait() {
    let world = World::start(1000).await;
    // Who waits: the shell, for what it starts.
    let mut load = Command::new("sh")
        .args(["-c", "while :; do sleep 0.01; done"])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let output = world
        .start_comparing("kernel bpfland --live 2s --arm 1s --json")
        .wait_with_output()
        .await
        .unwrap();
    load.kill().await.unwrap();
    if !output.status.success() {
        // Nothing was begun.
        let said = said(&output);
        assert!(
            said.contains("`--live` judges by how long tasks wait"),
            "{said}"
        );
        assert_eq!(world.leases().await.0, 0);
        return;
    }
    let answer = answer(&output);
    assert_eq!(
        (&answer["ended"], &answer["judged_by"], &answer["live"]),
        (&"time".into(), &"wait_mean_s".into(), &true.into())
    );
    let challenger = &answer["challengers"][0];
    assert_eq!(challenger["pairs"], 1);
    // Whoever may measure waits may measure these.
    for measure in ["canary_p99_s", "migrations_per_s", "longest_wait_s"] {
        let median = &challenger["measures"][measure]["incumbent"];
        assert!(
            median.as_f64().is_some_and(|it| it >= 0.0),
            "{measure}: {answer}"
        );
    }
    // What the machine cannot count is said in one line.
    let lines = said(&output);
    let lines = lines
        .lines()
        .filter(|line| line.starts_with("not measured here: "));
    let not_counted = challenger["measures"].get("instructions_per_s").is_none()
        || challenger["measures"].get("energy_j").is_none();
    assert_eq!(lines.count(), usize::from(not_counted), "{output:?}");
}

/// Where the machine counts it, that is what is judged by; else nothing is begun.
#[tokio::test]
async fn a_goal_that_is_not_measured_here_is_refused() {
    for (words, command, measure, says) in [
        (
            "--goal energy --runs 1",
            Some("sleep 0.1"),
            "energy_j",
            "`--goal` judges by the energy that the processors take",
        ),
        (
            "--goal throughput --live 2s --arm 1s",
            None,
            "instructions_per_s",
            "`--goal` judges by the instructions of programs",
        ),
    ] {
        let world = World::start(1000).await;
        let words = format!("kernel bpfland --json {words}");
        let comparing = match command {
            Some(command) => world.begin(&words, command),
            None => world.start_comparing(&words),
        };
        let output = comparing.wait_with_output().await.unwrap();
        if output.status.success() {
            let answer = answer(&output);
            assert_eq!(answer["judged_by"], measure);
            assert_eq!(answer["challengers"][0]["pairs"], 1, "{answer}");
        } else {
            assert!(said(&output).contains(says), "{output:?}");
            assert_eq!(world.leases().await.0, 0);
        }
    }
}

/// Of what was found, whatever waits on this machine had to say of it.
fn ratios(kept: &Json) -> usize {
    kept["ratios"].as_array().unwrap().len()
}

#[tokio::test]
async fn what_was_found_is_kept_for_the_class_that_the_load_had_or_that_is_named() {
    for keep in ["--keep", "--keep latent"] {
        let world = World::of(1000, true).await;
        // What is worse is at no cost for anybody.
        let words = format!("kernel bpfland --measure ([0-9]+).fps --lower --json {keep}");
        let output = world.compare(&words, FRAMES).await;
        assert!(output.status.success(), "{output:?}");
        let pairs = answer(&output)["challengers"][0]["pairs"].as_u64().unwrap();
        assert!(said(&output).contains("kept: it goes first"), "{output:?}");
        let daemon = world.daemon().await;
        let kept = daemon.get().await.kept.clone();
        let (class, found) = kept.last().unwrap();
        assert_eq!((class.as_str(), &found["by"]), ("latent", &json!("number")));
        assert_eq!(
            (&found["scheduler"], ratios(found) as u64),
            (&json!("bpfland"), pairs)
        );
        // Who names a class hears at once if it could not be kept.
        let asked: Vec<usize> = kept.iter().map(|(_, found)| ratios(found)).collect();
        let before = usize::from(keep != "--keep");
        assert_eq!(asked.len(), before + 1, "{asked:?}");
        assert!(asked[..before].iter().all(|pairs| *pairs == 0));
    }
    let world = World::of(1000, true).await;
    for (words, says) in [
        ("kernel bpfland --keep nowhere", "no `nowhere`"),
        (
            "bpfland cosmos --keep",
            "has to be what the others are compared with",
        ),
    ] {
        let output = world.compare(words, "true").await;
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(says), "{output:?}");
    }
    assert_eq!(world.leases().await, (0, 0));
}

#[tokio::test]
async fn who_could_keep_what_was_found_is_told_so() {
    let world = World::of(1000, true).await;
    let words = "kernel bpfland --measure ([0-9]+).fps --higher";
    let output = world.compare(words, FRAMES).await;
    let text = String::from_utf8_lossy(&output.stdout);
    let is_worth_it = text.contains("Worth it.");
    let is_told = text.contains("With --keep it would be remembered for class latent.");
    assert_eq!(is_told, is_worth_it, "{text}");
}

/// Whoever runs this, on whatever kernel: root can compare where there is sched_ext.
#[tokio::test]
async fn without_a_daemon_root_compares_and_others_are_told_so() {
    let world = World::start(1000).await;
    world
        .served
        .release_name("org.autoext.AutoExt1")
        .await
        .unwrap();
    let output = world.compare("kernel kernel --runs 2 --json", "true").await;
    if output.status.success() {
        assert_eq!(answer(&output)["challengers"][0]["pairs"], 2);
    } else {
        let said = said(&output);
        let why = [
            "only root can compare",
            "this kernel has no sched_ext",
            "another auto-ext runs already",
            "runs without the daemon",
            "did not start",
        ];
        assert!(why.iter().any(|why| said.contains(why)), "{said}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(world.leases().await.0, 0);
}

#[tokio::test]
async fn the_arguments_that_are_best_are_found_and_then_compared_with_the_kernel() {
    let world = World::of(1000, true).await;
    let file = "scheduler: bpfland\nsets: [[slow], [slower], [fast], [wrong], [slowest]]\n";
    fs::write(world.path().join("sets.yaml"), file).unwrap();
    let frames = "case $(cat scheduler) in *fast) echo 90 fps;; *slow) echo 70 fps;; *slower) echo 60 fps;; \
                  *slowest) echo 40 fps;; *) echo 50 fps;; esac";
    let words = format!("--tune sets.yaml {MEASURE} --csv turns.csv");
    let output = world.compare(&words, frames).await;
    assert!(output.status.success(), "{output:?}");
    let answer = answer(&output);
    let challenger = &answer["challengers"][0];
    assert_eq!(
        (&answer["incumbent"], &challenger["scheduler"]),
        (&"kernel".into(), &"bpfland fast".into())
    );
    assert_eq!(challenger["pairs"], 6);
    let order: Vec<&str> = (0..5)
        .map(|at| answer["tuned"][at]["args"][0].as_str().unwrap())
        .collect();
    assert_eq!(order[0], "fast");
    assert_eq!(order[4], "wrong");
    let said = said(&output);
    assert!(said.contains("bpfland wrong is out"), "{said}");
    let turns = fs::read_to_string(world.path().join("turns.csv")).unwrap();
    let (challengers, schedulers) = (column(&turns, "challenger"), column(&turns, "scheduler"));
    assert!(
        challengers.contains(&"") && challengers.contains(&"bpfland fast"),
        "{turns}"
    );
    assert!(schedulers.contains(&"bpfland slowest"), "{turns}");
}

#[tokio::test]
async fn a_file_of_arguments_that_is_wrong_is_told_by_its_place() {
    let world = World::start(1000).await;
    fs::write(
        world.path().join("sets.yaml"),
        "scheduler: bpfland\nset: [[a], [b]]\n",
    )
    .unwrap();
    let output = world.compare("--tune sets.yaml", "true").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = said(&output);
    assert!(
        said.contains("sets.yaml") && said.contains("line 2"),
        "{said}"
    );
    assert_eq!(world.leases().await.0, 0);
}

#[tokio::test]
async fn turns_in_which_the_scheduler_was_replaced_do_not_count() {
    let world = World::start(1000).await;
    let output = world
        .compare("kernel bpfland --json", "printf x >>instances")
        .await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(answer(&output)["challengers"][0]["pairs"], 0);
    let said = said(&output);
    assert!(
        said.contains("the kernel did not run the same scheduler"),
        "{said}"
    );
    assert!(said.contains("5 pairs did not count"), "{said}");
}

#[tokio::test]
async fn what_is_wrong_is_known_before_anything_is_measured() {
    let world = World::start(1000).await;
    for (words, command, says) in [
        (
            "kernel nonsense",
            "true",
            "nonsense does not run: `nonsense` is no scheduler",
        ),
        (
            "kernel bpfland",
            "exit 3",
            "under bpfland already: the command failed: exit code 3",
        ),
        ("kernel bpfland --csv -", "true", "`--csv` needs a file"),
    ] {
        let output = world.compare(words, command).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            said(&output).contains(says) && output.stdout.is_empty(),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn an_interrupt_ends_the_command_and_tells_what_is_known() {
    let world = World::start(1000).await;
    // The fourth run, after the first and a pair, does not end by itself.
    let command = "printf x >>runs; if [ $(wc -c <runs) = 4 ]; then echo $$ >pid.new; mv pid.new pid; sleep 1000; fi";
    let comparing = world.begin("kernel bpfland --json", command);
    let pid = world.path().join("pid");
    while !pid.exists() {
        sleep(Duration::from_millis(10)).await;
    }
    let command: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let us = i32::try_from(comparing.id().unwrap()).unwrap();
    kill(Pid::from_raw(us), Signal::SIGINT).unwrap();
    let output = comparing.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let answer = answer(&output);
    assert_eq!(
        (&answer["ended"], &answer["challengers"][0]["pairs"]),
        (&"interrupted".into(), &1.into())
    );
    assert_eq!(kill(Pid::from_raw(command), None), Err(Errno::ESRCH));
}
