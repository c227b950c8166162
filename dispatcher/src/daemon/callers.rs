//! The thread on which callers are served by D-Bus and HTTP, with a runtime of its own, so that decisions do not wait for
//! them, whatever they ask and however often.

use std::io;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The thread, until this is dropped; all that it does ends then.
pub(super) struct Callers {
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Callers {
    /// Starts it.
    ///
    /// # Errors
    /// When there can be no more threads or open files.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("callers".to_owned())
            .spawn(move || {
                // The sender is dropped at the end, without sending.
                let _ = runtime.block_on(ended);
                // Does not wait for blocking work.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            runtime: handle,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Where to run what serves callers.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}
