//! The one table of jobs. Each takes a few seconds on four emulated CPUs. In their commands `$N` is the number of CPUs, `$SELF`
//! this program, `$SCRATCH` a directory on a disk, and `$FILES` one for other files.

/// A job.
pub(super) struct Job {
    pub(super) name: &'static str,
    /// What must be installed, separated by spaces.
    pub(super) programs: &'static str,
    /// What it needs before, if anything.
    pub(super) prepare: &'static str,
    pub(super) command: &'static str,
    pub(super) judged: Judged,
}

/// By what a job is judged.
pub(super) enum Judged {
    /// How long it takes.
    Time,
    /// A number in its output, the lower, the better.
    Number {
        what: &'static str,
        expression: &'static str,
    },
}

impl Job {
    /// By what it is judged, for people.
    pub(super) fn judged_by(&self) -> &'static str {
        match self.judged {
            Judged::Time => "time",
            Judged::Number { what, .. } => what,
        }
    }
}

/// Every job.
pub(super) const ALL: &[Job] = &[
    Job {
        name: "build, make -j 2N",
        programs: "make gcc",
        prepare: "mkdir -p $FILES/job && cd $FILES/job && for i in $(seq 16); do for f in $(seq 20); do \
              echo \"int f${i}_$f(int x) { int s = 0; for (int i = 0; i < x; i++) s += i * x ^ $f; return s; }\"; \
              done > $i.c; done; printf 'all: %s\\n%%.o: %%.c\\n\\tgcc -O1 -c $< -o $@\\n' \
              \"$(seq -s ' ' -f '%g.o' 16)\" > Makefile",
        command: "cd $FILES/job && rm -f *.o && make -s -j $((2 * N))",
        judged: Judged::Time,
    },
    Job {
        name: "flac, N encoders",
        programs: "flac",
        prepare: "head -c 4000000 /dev/urandom > $FILES/job.raw",
        command: "for i in $(seq $N); do flac --silent --stdout -5 --force-raw-format --endian=little --sign=signed \
              --channels=2 --bps=16 --sample-rate=44100 $FILES/job.raw > /dev/null & done; wait",
        judged: Judged::Time,
    },
    Job {
        name: "sysbench cpu, 4N threads",
        programs: "sysbench",
        prepare: "",
        command: "sysbench cpu --threads=$((4 * N)) --events=400 --time=0 run",
        judged: Judged::Time,
    },
    Job {
        name: "sysbench mutex, 4N threads",
        programs: "sysbench",
        prepare: "",
        command: "sysbench mutex --threads=$((4 * N)) --mutex-num=64 --mutex-locks=300 --mutex-loops=2000 run",
        judged: Judged::Time,
    },
    Job {
        name: "hackbench",
        programs: "hackbench",
        prepare: "",
        command: "hackbench --groups 2 --fds 10 --loops 40",
        judged: Judged::Time,
    },
    Job {
        name: "redis-benchmark",
        programs: "redis-server redis-benchmark redis-cli",
        prepare: "redis-server --daemonize yes --port 16379 --save '' > /dev/null && \
                  echo 'redis-cli -p 16379 shutdown nosave' >> $FILES/tidy",
        command: "redis-benchmark -p 16379 -q -n 4000 -t get -c 32",
        judged: Judged::Time,
    },
    Job {
        name: "nginx and ab",
        programs: "nginx ab",
        prepare: "mkdir -p $FILES/www && head -c 600 /dev/zero > $FILES/www/index.html && \
                  echo \"user root; worker_processes auto; pid $FILES/nginx.pid; error_log $FILES/error.log; \
                  events {} http { access_log off; server { listen 127.0.0.1:18080; root $FILES/www; } }\" > $FILES/nginx.conf && \
                  nginx -c $FILES/nginx.conf && echo 'nginx -c $FILES/nginx.conf -s stop' >> $FILES/tidy",
        command: "ab -q -k -c 16 -n 3000 http://127.0.0.1:18080/",
        judged: Judged::Time,
    },
    Job {
        name: "fio beside a hog per CPU",
        programs: "fio stress-ng",
        prepare: "test -e $SCRATCH/direct || fio --thread --output=/dev/null --name=direct \
                  --filename=$SCRATCH/direct --size=128M --rw=write --bs=1M --ioengine=psync --end_fsync=1",
        command: "stress-ng --quiet --cpu $N & hogs=$!; fio --thread --output=/dev/null --name=direct \
                  --filename=$SCRATCH/direct --size=128M --io_size=4M --rw=randread --bs=4k --direct=1 --ioengine=psync; \
                  kill $hogs",
        judged: Judged::Time,
    },
    Job {
        name: "wake-ups beside a hog per CPU",
        programs: "",
        prepare: "",
        command: "\"$SELF\" job wake-ups",
        judged: Judged::Number {
            what: "wait, mean",
            expression: r"mean: ([0-9.]+) us",
        },
    },
    Job {
        name: "frames of a game beside a hog per CPU",
        programs: "",
        prepare: "",
        command: "\"$SELF\" job frames",
        judged: Judged::Number {
            what: "frame, 95th",
            expression: r"95th: ([0-9.]+) us",
        },
    },
    Job {
        name: "pipe",
        programs: "",
        prepare: "",
        command: "\"$SELF\" job pipe",
        judged: Judged::Time,
    },
    Job {
        name: "alternating bursts",
        programs: "",
        prepare: "",
        command: "\"$SELF\" job alternating",
        judged: Judged::Number {
            what: "short burst",
            expression: r"short: ([0-9.]+) us",
        },
    },
    Job {
        name: "bursts that follow their sleep",
        programs: "",
        prepare: "",
        command: "\"$SELF\" job coupled",
        judged: Judged::Number {
            what: "short burst",
            expression: r"short: ([0-9.]+) us",
        },
    },
];
