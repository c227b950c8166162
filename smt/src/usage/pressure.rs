//! For how long some task of a cgroup waited for a CPU (Documentation/accounting/psi.rst).

use std::path::Path;
use std::time::Duration;

use auto_ext_service::bounded_file::Root;

/// How large cpu.pressure may be, in bytes.
const MAX_TEXT: usize = 1024;

/// Since the cgroup was made, on the machine below `root`; `None` where the kernel does not say.
pub(crate) fn pressure(root: &Path, cgroup: &str) -> Option<Duration> {
    if cgroup.split('/').any(|name| name == "..") {
        return None;
    }
    let path = format!("sys/fs/cgroup{cgroup}/cpu.pressure");
    total(&Root::new(root).text(&path, MAX_TEXT)?)
}

fn total(text: &str) -> Option<Duration> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let mut words = some.split_ascii_whitespace();
    let total = words.find_map(|word| word.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_which_some_waited_is_read() {
        let text = "some avg10=0.00 avg60=0.10 avg300=0.00 total=1234567\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(total(text), Some(Duration::from_micros(1_234_567)));
        for none in ["", "full total=5\n", "some total=x\n"] {
            assert_eq!(total(none), None);
        }
        assert_eq!(pressure(Path::new("/"), "/../etc"), None);
    }
}
