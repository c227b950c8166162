//! What the programs say to who works on them, with the feature `bpf-log`. Without it they say nothing, and what they would
//! say is not computed.

/// Says a line, in the words of `format!` after the program's context.
macro_rules! say {
    ($context:expr, $($line:tt)+) => {
        #[cfg(feature = "bpf-log")]
        aya_log_ebpf::debug!($context, $($line)+);
        #[cfg(not(feature = "bpf-log"))]
        let _ = $context;
    };
}

pub(crate) use say;
