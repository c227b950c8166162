//! What any daemon of this repository needs: clocks, durations as people write them, exit codes, text that is safe to
//! print on a terminal or in markup, configuration files, files that a power loss leaves whole, limits on how often users may ask and on how many
//! files are open, the kernel's types, and what keeps a process from a file, and which of them decides where a process runs. Nothing here knows of schedulers.

pub mod affinity_owner;
pub mod atomic_file;
pub mod bounded_file;
pub mod budget;
pub mod clock;
pub mod config_file;
pub mod cpu_list;
pub mod daemon_lock;
pub mod duration;
pub mod exit_code;
pub mod file_access;
pub mod kernel_types;
pub mod lock;
pub mod markup;
pub mod open_files;
pub mod sanitize;
