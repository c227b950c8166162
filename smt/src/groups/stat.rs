//! The line of /proc/PID/stat and /proc/PID/task/TID/stat, of which this owns the few fields that are needed.

/// What the kernel says of a thread, or of the first of a process with the time of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process that started it.
    pub parent: u32,
    /// The process group.
    pub group: u32,
    /// Flags of the task (PF_* in include/linux/sched.h).
    pub flags: u32,
    /// CPU time, in ticks.
    pub used: u64,
    /// When it began, in ticks since the boot.
    pub began: u64,
    /// The CPU that it was on last.
    pub cpu: u32,
    /// Its scheduling class (SCHED_* in include/uapi/linux/sched.h).
    pub policy: u32,
}

/// The places of fields behind the name; state, the third of proc_pid_stat(5), is 0.
const PARENT: usize = 1;
const GROUP: usize = 2;
const FLAGS: usize = 6;
const USER: usize = 11;
const SYSTEM: usize = 12;
const BEGAN: usize = 19;
const CPU: usize = 36;
const POLICY: usize = 38;

/// Reads the line; `None` when it is none.
#[must_use]
pub fn stat(line: &str) -> Option<Stat> {
    // A name may have brackets and blanks in it.
    let (_, fields) = line.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let small = |at| u32::try_from(number(at)?).ok();
    Some(Stat {
        parent: small(PARENT)?,
        group: small(GROUP)?,
        flags: small(FLAGS)?,
        used: number(USER)?.checked_add(number(SYSTEM)?)?,
        began: number(BEGAN)?,
        cpu: small(CPU)?,
        policy: small(POLICY)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_hides_no_field() {
        let line = "7 (a) b (c) S 1 42 42 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 3 0 9000 1 1 1 \
                    1 1 1 1 1 0 0 0 0 0 0 0 17 5 0 0 0 0 0\n";
        let expected = Stat {
            parent: 1,
            group: 42,
            flags: 4_194_304,
            used: 200,
            began: 9000,
            cpu: 5,
            policy: 0,
        };
        assert_eq!(stat(line), Some(expected));
        for garbled in ["", "7 (a", "7 (a) S 1", &line.replace("9000", "x")] {
            assert_eq!(stat(garbled), None);
        }
    }
}
