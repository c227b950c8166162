//! The benchmark of classification, as far as it is done in the machine: runs many labelled loads of many
//! programs, one after the other, and prints the trace of each. Which class each window got is worked out on
//! the host, by a replay with the shipped policy.

use std::fs;
use std::io::{self, Write as _};
use std::process::Command;
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::{load, service, trace};

/// How long the machine rests before a load, how long the load runs, and how long it rests after.
const BEFORE: Duration = Duration::from_secs(2);
const DURING: Duration = Duration::from_secs(7);
const AFTER: Duration = Duration::from_secs(1);

/// A load with its label. Commands are lines for the shell, in which `$N` is the number of CPUs.
struct Labelled {
    name: &'static str,
    /// The class of the shipped policy that it is.
    class: &'static str,
    /// Why that is the right one.
    why: &'static str,
    /// What it needs before, if anything.
    prepare: &'static str,
    command: &'static str,
}

const LOADS: &[Labelled] = &[
    // As many tasks as CPUs that only compute.
    Labelled {
        name: "stress-ng --cpu N",
        class: "cpu",
        why: "a hog per CPU: all CPUs busy, nobody waits",
        prepare: "",
        command: "stress-ng --quiet --cpu $N",
    },
    Labelled {
        name: "openssl speed",
        class: "cpu",
        why: "a process per CPU that only computes",
        prepare: "",
        command: "openssl speed -multi $N -seconds 30 sha256",
    },
    Labelled {
        name: "xz",
        class: "cpu",
        why: "a compressor per CPU",
        prepare: "",
        command: "for i in $(seq $N); do xz -6 -T1 < /dev/urandom > /dev/null & done; wait",
    },
    Labelled {
        name: "sysbench cpu",
        class: "cpu",
        why: "a thread per CPU that only computes",
        prepare: "",
        command: "sysbench cpu --threads=$N --time=60 run",
    },
    Labelled {
        name: "flac",
        class: "cpu",
        why: "an encoder per CPU",
        prepare: "head -c 40000000 /dev/urandom > /var/tmp/noise.raw",
        command: "for i in $(seq $N); do while flac --silent --stdout -8 --force-raw-format --endian=little --sign=signed \
                  --channels=2 --bps=16 --sample-rate=44100 /var/tmp/noise.raw > /dev/null; do :; done & done; wait",
    },
    // More tasks than CPUs that want to run.
    Labelled {
        name: "stress-ng --cpu 6N",
        class: "parallel",
        why: "six hogs wait for each CPU",
        prepare: "",
        command: "stress-ng --quiet --cpu $((6 * N))",
    },
    Labelled {
        name: "sysbench cpu, 4N threads",
        class: "parallel",
        why: "four threads want each CPU",
        prepare: "",
        command: "sysbench cpu --threads=$((4 * N)) --time=60 run",
    },
    Labelled {
        name: "gzip by xargs",
        class: "parallel",
        why: "four compressors want each CPU",
        prepare: "head -c 8000000 /dev/urandom > /var/tmp/noise",
        command: "while :; do seq 400 | xargs -P $((4 * N)) -I{} sh -c 'gzip -9 < /var/tmp/noise > /dev/null'; done",
    },
    Labelled {
        name: "make -j 4N",
        class: "parallel",
        why: "four compilers want each CPU",
        prepare: "mkdir -p /var/tmp/build && cd /var/tmp/build && for i in $(seq 400); do for f in $(seq 60); do \
                  echo \"int f${i}_$f(int x) { int s = 0; for (int i = 0; i < x; i++) s += i * x ^ $f; return s; }\"; \
                  done > $i.c; done; printf 'all: %s\\n%%.o: %%.c\\n\\tgcc -O2 -c $< -o $@\\n' \
                  \"$(seq -s ' ' -f '%g.o' 400)\" > Makefile",
        command: "cd /var/tmp/build && while rm -f *.o; do make -j $((4 * N)) > /dev/null; done",
    },
    // Disks.
    Labelled {
        name: "fio, direct random reads",
        class: "io",
        why: "a request is always in flight",
        prepare: "",
        command: "fio --thread --output=/dev/null --name=direct --filename=/mnt/scratch/direct --size=128M --rw=randread \
                  --bs=4k --direct=1 --ioengine=psync --time_based --runtime=10m",
    },
    Labelled {
        name: "fio, buffered writes",
        class: "io",
        why: "all that is written has to reach the disk",
        prepare: "",
        command: "fio --thread --output=/dev/null --name=buffered --filename=/mnt/scratch/buffered --size=1G --rw=write \
                  --bs=1M --ioengine=psync --time_based --runtime=10m",
    },
    Labelled {
        name: "dd with fsync",
        class: "io",
        why: "every file is waited for",
        prepare: "",
        command: "while dd if=/dev/zero of=/mnt/scratch/dd bs=1M count=64 conv=fsync status=none; do :; done",
    },
    Labelled {
        name: "sqlite3",
        class: "io",
        why: "every transaction waits for the disk",
        prepare: "rm -f /mnt/scratch/db; sqlite3 /mnt/scratch/db 'create table t(a)'",
        command: "yes \"insert into t values('a row of some length, so that there is something to write');\" \
                  | sqlite3 /mnt/scratch/db",
    },
    Labelled {
        name: "sysbench fileio",
        class: "io",
        why: "random writes, synced one by one",
        prepare: "cd /mnt/scratch && sysbench fileio --file-total-size=64M --file-num=4 prepare",
        command: "cd /mnt/scratch && sysbench fileio --file-total-size=64M --file-num=4 --file-test-mode=rndwr \
                  --file-fsync-all=on --time=60 run",
    },
    Labelled {
        name: "stress-ng --hdd",
        class: "io",
        why: "files are written and synced",
        prepare: "",
        command: "cd /mnt/scratch && stress-ng --quiet --hdd 1 --hdd-bytes 64M --hdd-opts direct",
    },
    // The network.
    Labelled {
        name: "iperf3",
        class: "network",
        why: "a TCP stream as fast as it goes",
        prepare: "",
        command: "iperf3 --client 127.0.0.1 --time 600",
    },
    Labelled {
        name: "iperf3, four streams",
        class: "network",
        why: "four TCP streams as fast as they go",
        prepare: "",
        command: "iperf3 --client 127.0.0.1 --parallel 4 --time 600",
    },
    Labelled {
        name: "iperf3, UDP",
        class: "network",
        why: "packets as fast as they go",
        prepare: "",
        command: "iperf3 --client 127.0.0.1 --udp --bitrate 0 --time 600",
    },
    Labelled {
        name: "nginx and ab",
        class: "network",
        why: "a web server whose pages are small: most of the work is the network's",
        prepare: "mkdir -p /var/log/nginx; pgrep nginx > /dev/null || nginx",
        command: "while ab -q -k -c 16 -n 200000 http://127.0.0.1/ > /dev/null; do :; done",
    },
    Labelled {
        name: "redis-benchmark",
        class: "network",
        why: "small requests to a server that hardly works for them",
        prepare: "pgrep redis-server > /dev/null || redis-server --daemonize yes --save '' > /dev/null",
        command: "redis-benchmark -q -n 100000000 -t get,set -c 32",
    },
    Labelled {
        name: "curl from nginx",
        class: "network",
        why: "a large file over and over",
        prepare: "mkdir -p /var/log/nginx; pgrep nginx > /dev/null || nginx; \
                  head -c 300000000 /dev/zero > /var/www/html/large",
        command: "while curl --silent --output /dev/null http://127.0.0.1/large; do :; done",
    },
    // Memory.
    Labelled {
        name: "stress-ng --vm",
        class: "memory",
        why: "maps, dirties and unmaps memory",
        prepare: "",
        command: "stress-ng --quiet --vm $N --vm-bytes 32M",
    },
    Labelled {
        name: "stress-ng --mmap",
        class: "memory",
        why: "maps, touches and unmaps memory page by page",
        prepare: "",
        command: "stress-ng --quiet --mmap 1 --mmap-bytes 128M",
    },
    Labelled {
        name: "stress-ng --fault",
        class: "memory",
        why: "nothing but page faults",
        prepare: "",
        command: "stress-ng --quiet --fault 1",
    },
    Labelled {
        name: "perl, large arrays",
        class: "memory",
        why: "allocates, fills and frees hundreds of megabytes",
        prepare: "",
        command: "perl -e 'while (1) { my $text = \"x\" x 300000000; undef $text }'",
    },
    // Short bursts.
    Labelled {
        name: "short sleepers",
        class: "interactive",
        why: "woken every 8 ms as by a mouse, for half a millisecond of work",
        prepare: "",
        command: "/usr/libexec/auto-ext/system-tests sleepers",
    },
    Labelled {
        name: "stress-ng --nanosleep",
        class: "interactive",
        why: "timers and little else",
        prepare: "",
        command: "stress-ng --quiet --nanosleep 1",
    },
    Labelled {
        name: "stress-ng --pipe",
        class: "interactive",
        why: "two tasks that wake each other for a moment of work",
        prepare: "",
        command: "stress-ng --quiet --pipe 1",
    },
    Labelled {
        name: "stress-ng --mq",
        class: "interactive",
        why: "tasks that wake each other and sleep",
        prepare: "",
        command: "stress-ng --quiet --mq 1",
    },
    // Nothing much.
    Labelled {
        name: "sleep",
        class: "idle",
        why: "nothing happens",
        prepare: "",
        command: "sleep 600",
    },
    Labelled {
        name: "a desktop at rest",
        class: "idle",
        why: "a few programs that look at something now and then",
        prepare: "",
        command: "while :; do date > /dev/null; cat /proc/loadavg > /dev/null; sleep 0.5; done",
    },
    // Two at once: the rule that comes first in the policy says which one counts.
    Labelled {
        name: "iperf3 beside hogs",
        class: "network",
        why: "the policy puts the network before CPUs",
        prepare: "",
        command: "stress-ng --quiet --cpu 1 & iperf3 --client 127.0.0.1 --time 600",
    },
    Labelled {
        name: "fio beside hogs",
        class: "io",
        why: "the policy puts disks before CPUs",
        prepare: "",
        command: "stress-ng --quiet --cpu $N & fio --thread --output=/dev/null --name=direct \
                  --filename=/mnt/scratch/direct --size=128M --rw=randread --bs=4k --direct=1 --ioengine=psync \
                  --time_based --runtime=10m",
    },
];

/// Records every load whose name contains the word, all of them without one, and prints the traces, one after
/// the other; before each a line with the reason for its label, which begins with `#`. A line that begins with `!`
/// says of one why it has no trace.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let wanted = words.first().copied().unwrap_or_default();
    service::stop()?;
    let _server = load::prepare()?;
    let stdout = &mut io::stdout();
    for load in LOADS.iter().filter(|load| load.name.contains(wanted)) {
        writeln!(stdout, "# {}: {}", load.name, load.why)?;
        let recorded =
            shell(load.prepare).and_then(|()| trace::record_as(load.class, load.name, "labelled"));
        match recorded {
            Ok(()) => stdout.write_all(&fs::read(trace::FILE)?)?,
            Err(error) => writeln!(stdout, "! {}: {error:#}", load.name)?,
        }
    }
    Ok(())
}

fn shell(line: &str) -> anyhow::Result<()> {
    let output = Command::new("sh").args(["-c", line]).output()?;
    ensure!(
        output.status.success(),
        "`{line}`: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Rests, is the load of that name for a while, and rests again.
pub(crate) fn be_load_for_a_while(name: &str) -> anyhow::Result<()> {
    let load = LOADS.iter().find(|load| load.name == name);
    let load = load.context("there is no such load")?;
    sleep(BEFORE);
    let line = format!("N={}; {}", available_parallelism()?, load.command);
    let mut running = load::start_words(&["sh", "-c", &line])?;
    sleep(DURING);
    ensure!(!running.has_ended(), "{name} ended by itself");
    drop(running);
    sleep(AFTER);
    Ok(())
}
