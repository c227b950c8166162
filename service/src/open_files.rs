//! How many files a program may have open. Most may have a thousand at first, and many more if they ask.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many this program may have open now; 0 where that cannot be told.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(now, _)| now)
}

/// Lets this program have `wanted` of them open, or as many as it may have at most. It never has fewer than before.
pub fn raise_limit(wanted: u64) {
    if let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Else there are fewer, and what cannot be opened says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, now.max(wanted.min(most)), most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_raised_as_far_as_it_may_be_and_never_lowered() {
        let before = limit();
        raise_limit(1);
        assert_eq!(limit(), before);
        raise_limit(u64::MAX);
        let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((limit(), now), (most, most));
    }
}
