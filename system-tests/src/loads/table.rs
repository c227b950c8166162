//! The one table of labelled loads: real programs of others, and programs of our own that imitate what cannot be
//! installed.

use super::{Labelled, Runs, build, computing, files, interactive, io_uring, limited, servers};

/// Starts an nginx of its own and says how it is stopped, once there is something to be had from it.
macro_rules! nginx {
    ($content:literal) => {
        concat!(
            "mkdir -p $FILES/www && ",
            $content,
            " && echo \"user root; worker_processes auto; pid $FILES/nginx.pid; error_log $FILES/error.log; \
             events {} http { access_log $FILES/access.log; sendfile on; tcp_nopush on; \
             server { listen 127.0.0.1:18080; root $FILES/www; } }\" > $FILES/nginx.conf && \
             nginx -c $FILES/nginx.conf && echo 'nginx -c $FILES/nginx.conf -s stop' >> $FILES/tidy"
        )
    };
}

/// Every load.
pub(crate) const ALL: &[Labelled] = &[
    // As many tasks as CPUs that only compute.
    Labelled {
        name: "stress-ng --cpu N",
        class: "cpu",
        why: "a hog per CPU: all CPUs busy, nobody waits",
        runs: Runs::Others {
            programs: "stress-ng",
            prepare: "",
            command: "stress-ng --quiet --cpu $N",
        },
    },
    Labelled {
        name: "openssl speed",
        class: "cpu",
        why: "a process per CPU that only computes",
        runs: Runs::Others {
            programs: "openssl",
            prepare: "",
            command: "while openssl speed -multi $N -seconds 30 sha256; do :; done",
        },
    },
    Labelled {
        name: "xz",
        class: "cpu",
        why: "a compressor per CPU",
        runs: Runs::Others {
            programs: "xz",
            prepare: "",
            command: "for i in $(seq $N); do xz -6 -T1 < /dev/urandom > /dev/null & done; wait",
        },
    },
    Labelled {
        name: "sysbench cpu",
        class: "cpu",
        why: "a thread per CPU that only computes",
        runs: Runs::Others {
            programs: "sysbench",
            prepare: "",
            command: "sysbench cpu --threads=$N --time=86400 run",
        },
    },
    Labelled {
        name: "flac",
        class: "cpu",
        why: "an encoder per CPU",
        runs: Runs::Others {
            programs: "flac",
            prepare: "head -c 40000000 /dev/urandom > $FILES/noise.raw",
            command: "for i in $(seq $N); do while flac --silent --stdout -8 --force-raw-format --endian=little --sign=signed \
                  --channels=2 --bps=16 --sample-rate=44100 $FILES/noise.raw > /dev/null; do :; done & done; wait",
        },
    },
    // More tasks than CPUs that want to run.
    Labelled {
        name: "stress-ng --cpu 6N",
        class: "parallel",
        why: "six hogs wait for each CPU",
        runs: Runs::Others {
            programs: "stress-ng",
            prepare: "",
            command: "stress-ng --quiet --cpu $((6 * N))",
        },
    },
    Labelled {
        name: "sysbench cpu, 4N threads",
        class: "parallel",
        why: "four threads want each CPU",
        runs: Runs::Others {
            programs: "sysbench",
            prepare: "",
            command: "sysbench cpu --threads=$((4 * N)) --time=86400 run",
        },
    },
    Labelled {
        name: "gzip by xargs",
        class: "parallel",
        why: "four compressors want each CPU",
        runs: Runs::Others {
            programs: "gzip",
            prepare: "head -c 8000000 /dev/urandom > $FILES/noise",
            command: "while :; do seq 400 | xargs -P $((4 * N)) -I{} sh -c 'gzip -9 < $FILES/noise > /dev/null'; done",
        },
    },
    Labelled {
        name: "make -j 4N",
        class: "parallel",
        why: "four compilers want each CPU",
        runs: Runs::Others {
            programs: "make gcc",
            prepare: "mkdir -p $FILES/build && cd $FILES/build && for i in $(seq 400); do for f in $(seq 60); do \
                  echo \"int f${i}_$f(int x) { int s = 0; for (int i = 0; i < x; i++) s += i * x ^ $f; return s; }\"; \
                  done > $i.c; done; printf 'all: %s\\n%%.o: %%.c\\n\\tgcc -O2 -c $< -o $@\\n' \
                  \"$(seq -s ' ' -f '%g.o' 400)\" > Makefile",
            command: "cd $FILES/build && while rm -f *.o; do make -j $((4 * N)) > /dev/null; done",
        },
    },
    // Disks.
    Labelled {
        name: "fio, direct random reads",
        class: "io",
        why: "a request is always in flight",
        runs: Runs::Others {
            programs: "fio",
            prepare: "test -e $SCRATCH/direct || fio --thread --output=/dev/null --name=direct \
                      --filename=$SCRATCH/direct --size=128M --rw=write --bs=1M --ioengine=psync --end_fsync=1",
            command: "fio --thread --output=/dev/null --name=direct --filename=$SCRATCH/direct --size=128M --rw=randread \
                  --bs=4k --direct=1 --ioengine=psync --time_based --runtime=24h",
        },
    },
    Labelled {
        name: "fio, buffered writes",
        class: "io",
        why: "all that is written has to reach the disk",
        runs: Runs::Others {
            programs: "fio",
            prepare: "",
            command: "fio --thread --output=/dev/null --name=buffered --filename=$SCRATCH/buffered --size=1G --rw=write \
                  --bs=1M --ioengine=psync --time_based --runtime=24h",
        },
    },
    Labelled {
        name: "dd with fsync",
        class: "io",
        why: "every file is waited for",
        runs: Runs::Others {
            programs: "dd",
            prepare: "",
            command: "while dd if=/dev/zero of=$SCRATCH/dd bs=1M count=64 conv=fsync status=none; do :; done",
        },
    },
    Labelled {
        name: "sqlite3",
        class: "io",
        why: "every transaction waits for the disk",
        runs: Runs::Others {
            programs: "sqlite3",
            prepare: "rm -f $SCRATCH/db; sqlite3 $SCRATCH/db 'create table t(a)'",
            command: "yes \"insert into t values('a row of some length, so that there is something to write');\" \
                  | sqlite3 $SCRATCH/db",
        },
    },
    Labelled {
        name: "sysbench fileio",
        class: "io",
        why: "random writes, synced one by one",
        runs: Runs::Others {
            programs: "sysbench",
            prepare: "cd $SCRATCH && sysbench fileio --file-total-size=64M --file-num=4 prepare",
            command: "cd $SCRATCH && sysbench fileio --file-total-size=64M --file-num=4 --file-test-mode=rndwr \
                  --file-fsync-all=on --time=86400 run",
        },
    },
    Labelled {
        name: "stress-ng --hdd",
        class: "io",
        why: "files are written and synced",
        runs: Runs::Others {
            programs: "stress-ng",
            prepare: "",
            command: "cd $SCRATCH && stress-ng --quiet --hdd 1 --hdd-bytes 64M --hdd-opts direct",
        },
    },
    // The network.
    Labelled {
        name: "iperf3",
        class: "network",
        why: "a TCP stream as fast as it goes",
        runs: Runs::Others {
            programs: "iperf3",
            prepare: "",
            command: "iperf3 --client 127.0.0.1 --time 86400",
        },
    },
    Labelled {
        name: "iperf3, four streams",
        class: "network",
        why: "four TCP streams as fast as they go",
        runs: Runs::Others {
            programs: "iperf3",
            prepare: "",
            command: "iperf3 --client 127.0.0.1 --parallel 4 --time 86400",
        },
    },
    Labelled {
        name: "iperf3, UDP",
        class: "network",
        why: "packets as fast as they go",
        runs: Runs::Others {
            programs: "iperf3",
            prepare: "",
            command: "iperf3 --client 127.0.0.1 --udp --bitrate 0 --time 86400",
        },
    },
    Labelled {
        name: "nginx and ab",
        class: "network",
        why: "a web server whose pages are small: most of the work is the network's",
        runs: Runs::Others {
            programs: "nginx ab",
            prepare: nginx!("head -c 600 /dev/zero > $FILES/www/index.html"),
            command: "while ab -q -k -c 16 -n 200000 http://127.0.0.1:18080/ > /dev/null; do :; done",
        },
    },
    Labelled {
        name: "redis-benchmark",
        class: "network",
        why: "small requests to a server that hardly works for them",
        runs: Runs::Others {
            programs: "redis-server redis-benchmark redis-cli",
            prepare: "redis-server --daemonize yes --port 16379 --save '' > /dev/null && \
                      echo 'redis-cli -p 16379 shutdown nosave' >> $FILES/tidy",
            command: "while redis-benchmark -p 16379 -q -n 100000000 -t get,set -c 32; do :; done",
        },
    },
    Labelled {
        name: "curl from nginx",
        class: "network",
        why: "a large file over and over",
        runs: Runs::Others {
            programs: "nginx curl",
            prepare: nginx!("head -c 300000000 /dev/zero > $FILES/www/large"),
            command: "while curl --silent --output /dev/null http://127.0.0.1:18080/large; do :; done",
        },
    },
    // Memory.
    Labelled {
        name: "stress-ng --vm",
        class: "memory",
        why: "maps, dirties and unmaps memory",
        runs: Runs::Others {
            programs: "stress-ng",
            prepare: "",
            command: "stress-ng --quiet --vm $N --vm-bytes 32M",
        },
    },
    Labelled {
        name: "stress-ng --mmap",
        class: "memory",
        why: "maps, touches and unmaps memory page by page",
        runs: Runs::Others {
            programs: "stress-ng",
            prepare: "",
            command: "stress-ng --quiet --mmap 1 --mmap-bytes 128M",
        },
    },
    Labelled {
        name: "stress-ng --fault",
        class: "memory",
        why: "nothing but page faults",
        runs: Runs::Others {
            programs: "stress-ng",
            prepare: "",
            // It faults in pages of a file, which is to be on no disk.
            command: "cd /dev/shm && stress-ng --quiet --fault 1",
        },
    },
    Labelled {
        name: "perl, large arrays",
        class: "memory",
        why: "allocates, fills and frees hundreds of megabytes",
        runs: Runs::Others {
            programs: "perl",
            prepare: "",
            command: "perl -e 'while (1) { my $text = \"x\" x 300000000; undef $text }'",
        },
    },
    // Short bursts.
    Labelled {
        name: "short sleepers",
        class: "interactive",
        why: "woken every 8 ms as by a mouse, for half a millisecond of work",
        runs: Runs::Others {
            programs: "",
            prepare: "",
            command: "\"$SELF\" sleepers",
        },
    },
    Labelled {
        name: "stress-ng --nanosleep",
        class: "interactive",
        why: "timers and little else",
        runs: Runs::Others {
            programs: "stress-ng",
            prepare: "",
            command: "stress-ng --quiet --nanosleep 1",
        },
    },
    Labelled {
        name: "stress-ng --pipe",
        class: "interactive",
        why: "two tasks that wake each other for a moment of work",
        runs: Runs::Others {
            programs: "stress-ng",
            prepare: "",
            command: "stress-ng --quiet --pipe 1",
        },
    },
    Labelled {
        name: "stress-ng --mq",
        class: "interactive",
        why: "tasks that wake each other and sleep",
        runs: Runs::Others {
            programs: "stress-ng",
            prepare: "",
            command: "stress-ng --quiet --mq 1",
        },
    },
    // Nothing much.
    Labelled {
        name: "sleep",
        class: "idle",
        why: "nothing happens",
        runs: Runs::Others {
            programs: "",
            prepare: "",
            command: "sleep 86400",
        },
    },
    Labelled {
        name: "a desktop at rest",
        class: "idle",
        why: "a few programs that look at something now and then",
        runs: Runs::Others {
            programs: "",
            prepare: "",
            command: "while :; do date > /dev/null; cat /proc/loadavg > /dev/null; sleep 0.5; done",
        },
    },
    // Two at once: the rule that comes first in the policy says which one counts.
    Labelled {
        name: "iperf3 beside hogs",
        class: "network",
        why: "the policy puts the network before CPUs",
        runs: Runs::Others {
            programs: "stress-ng iperf3",
            prepare: "",
            command: "stress-ng --quiet --cpu 1 & iperf3 --client 127.0.0.1 --time 86400",
        },
    },
    Labelled {
        name: "fio beside hogs",
        class: "io",
        why: "the policy puts disks before CPUs",
        runs: Runs::Others {
            programs: "stress-ng fio",
            prepare: "test -e $SCRATCH/direct || fio --thread --output=/dev/null --name=direct \
                      --filename=$SCRATCH/direct --size=128M --rw=write --bs=1M --ioengine=psync --end_fsync=1",
            command: "stress-ng --quiet --cpu $N & fio --thread --output=/dev/null --name=direct \
                  --filename=$SCRATCH/direct --size=128M --rw=randread --bs=4k --direct=1 --ioengine=psync \
                  --time_based --runtime=24h",
        },
    },
    Labelled {
        name: "dd with fsync beside hogs",
        class: "io",
        why: "the policy puts disks before CPUs",
        runs: Runs::Others {
            programs: "stress-ng dd",
            prepare: "",
            command: "stress-ng --quiet --cpu $N & \
                  while dd if=/dev/zero of=$SCRATCH/dd bs=1M count=64 conv=fsync status=none; do :; done",
        },
    },
    Labelled {
        name: "sqlite3 beside hogs",
        class: "io",
        why: "the policy puts disks before CPUs",
        runs: Runs::Others {
            programs: "stress-ng sqlite3",
            prepare: "rm -f $SCRATCH/db; sqlite3 $SCRATCH/db 'create table t(a)'",
            command: "stress-ng --quiet --cpu $N & \
                  yes \"insert into t values('a row of some length, so that there is something to write');\" \
                  | sqlite3 $SCRATCH/db",
        },
    },
    // What people do, and what is wrongly taken for it: programs of our own.
    Labelled {
        name: "game",
        class: "interactive",
        why: "somebody plays: frames of 16.6 ms, with workers and audio",
        runs: Runs::Own {
            prepare: nothing,
            run: interactive::game,
        },
    },
    Labelled {
        name: "game with asset stream",
        class: "interactive",
        why: "what a game reads on its way, 50 MB/s, is a part of it",
        runs: Runs::Own {
            prepare: files::prepare,
            run: interactive::game_with_asset_stream,
        },
    },
    Labelled {
        name: "call",
        class: "interactive",
        why: "pictures and sound that must not stutter, and a few packets",
        runs: Runs::Own {
            prepare: nothing,
            run: interactive::call,
        },
    },
    Labelled {
        name: "browser",
        class: "interactive",
        why: "somebody reads a page on which a little moves",
        runs: Runs::Own {
            prepare: nothing,
            run: interactive::browser,
        },
    },
    Labelled {
        name: "audio beside a build",
        class: "interactive",
        why: "music stutters while compilers take all CPUs",
        runs: Runs::Own {
            prepare: nothing,
            run: || beside(build::build, interactive::audio),
        },
    },
    Labelled {
        name: "editor beside a build",
        class: "interactive",
        why: "somebody types while compilers take all CPUs",
        runs: Runs::Own {
            prepare: nothing,
            run: || beside(build::build, interactive::editor),
        },
    },
    Labelled {
        name: "game beside a build",
        class: "interactive",
        why: "somebody plays while compilers take all CPUs",
        runs: Runs::Own {
            prepare: nothing,
            run: || beside(build::build, interactive::game),
        },
    },
    Labelled {
        name: "call beside a build",
        class: "interactive",
        why: "somebody talks while compilers take all CPUs",
        runs: Runs::Own {
            prepare: nothing,
            run: || beside(build::build, interactive::call),
        },
    },
    Labelled {
        name: "call beside hogs",
        class: "interactive",
        why: "somebody talks while a hog takes each CPU",
        runs: Runs::Own {
            prepare: nothing,
            run: || beside(computing::hogs, interactive::call),
        },
    },
    Labelled {
        name: "build",
        class: "parallel",
        why: "two compilers want each CPU",
        runs: Runs::Own {
            prepare: nothing,
            run: build::build,
        },
    },
    Labelled {
        name: "batch at nice 19",
        class: "idle",
        why: "nobody waits for what is unimportant",
        runs: Runs::Own {
            prepare: nothing,
            run: computing::batch_at_nice_19,
        },
    },
    Labelled {
        name: "batch under SCHED_IDLE",
        class: "idle",
        why: "it takes only what nobody else wants",
        runs: Runs::Own {
            prepare: nothing,
            run: computing::batch_under_sched_idle,
        },
    },
    Labelled {
        name: "desktop beside batch at nice 19",
        class: "interactive",
        why: "as without the batch",
        runs: Runs::Own {
            prepare: nothing,
            run: || beside(computing::batch_at_nice_19, interactive::browser),
        },
    },
    Labelled {
        name: "desktop beside batch under SCHED_IDLE",
        class: "interactive",
        why: "as without the batch",
        runs: Runs::Own {
            prepare: nothing,
            run: || beside(computing::batch_under_sched_idle, interactive::browser),
        },
    },
    Labelled {
        name: "encoder",
        class: "cpu",
        why: "it computes on all CPUs, in steps of 2 ms that nobody sees",
        runs: Runs::Own {
            prepare: nothing,
            run: computing::encoder,
        },
    },
    Labelled {
        name: "inference",
        class: "cpu",
        why: "a thread computes on each core: more do not help",
        runs: Runs::Own {
            prepare: nothing,
            run: computing::inference,
        },
    },
    Labelled {
        name: "jvm",
        class: "stable",
        why: "requests and pauses of the collector are one server",
        runs: Runs::Own {
            prepare: nothing,
            run: servers::jvm,
        },
    },
    Labelled {
        name: "database",
        class: "stable",
        why: "reads, work and commits are one server",
        runs: Runs::Own {
            prepare: files::prepare,
            run: servers::database,
        },
    },
    Labelled {
        name: "vm host with idle guests",
        class: "idle",
        why: "nothing but the timers of guests",
        runs: Runs::Own {
            prepare: nothing,
            run: computing::idle_guests,
        },
    },
    Labelled {
        name: "vm host with busy guests",
        class: "cpu",
        why: "guests compute on all CPUs, with breaks of 50 us for the host",
        runs: Runs::Own {
            prepare: nothing,
            run: computing::busy_guests,
        },
    },
    Labelled {
        name: "hogs throttled by cpu.max",
        class: "idle",
        why: "they wait for their limit while the machine rests",
        runs: Runs::Own {
            prepare: limited::prepare_cpu,
            run: limited::hogs,
        },
    },
    Labelled {
        name: "memory throttled by memory.high",
        class: "idle",
        why: "it waits for its limit while the machine rests",
        runs: Runs::Own {
            prepare: limited::prepare_memory,
            run: limited::memory,
        },
    },
    Labelled {
        name: "reader throttled by io.max",
        class: "idle",
        why: "it waits for its limit while the disk rests",
        runs: Runs::Own {
            prepare: limited::prepare_io,
            run: limited::reader,
        },
    },
    Labelled {
        name: "idle io_uring waiter",
        class: "idle",
        why: "it waits for a pipe, not for a disk",
        runs: Runs::Own {
            prepare: nothing,
            run: io_uring::wait,
        },
    },
    Labelled {
        name: "hogs in a cpuset",
        class: "parallel",
        why: "three want each of the CPUs that they may use",
        runs: Runs::Own {
            prepare: nothing,
            run: computing::hogs_in_a_cpuset,
        },
    },
];

/// What a program needs that needs nothing.
#[expect(clippy::unnecessary_wraps, reason = "others may not be possible")]
fn nothing() -> anyhow::Result<()> {
    Ok(())
}

/// Two at once.
fn beside(
    one: fn() -> anyhow::Result<()>,
    other: fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    one()?;
    other()
}
