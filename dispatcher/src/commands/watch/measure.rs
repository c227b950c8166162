//! The profiler as a source, where no daemon measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::News;
use crate::cli::POLICY;
use crate::commands::levels::{self, Windows};
use crate::policy::Policy;

/// How long a window is. The daemon's are shorter, but it decides by them.
const WINDOW: Duration = Duration::from_secs(1);

/// Measures until it is dropped.
pub(super) struct Measurement {
    ended: Arc<AtomicBool>,
}

impl Measurement {
    /// Begins to measure, in a thread of its own as attaching takes a while, and tells every second;
    /// or tells why it cannot.
    pub(super) fn start(news: mpsc::Sender<News>) -> std::io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let measurement = Self {
            ended: Arc::clone(&ended),
        };
        thread::Builder::new()
            .name("profiler".to_owned())
            .spawn(move || measure(&ended, &news))?;
        Ok(measurement)
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn measure(ended: &AtomicBool, news: &mpsc::Sender<News>) {
    let profiler = match levels::attach() {
        Ok(profiler) => profiler,
        Err(error) => {
            // Without a listener nobody wants to know.
            let _ = news.blocking_send(News::CannotMeasure(error.to_string()));
            return;
        }
    };
    // Without a policy, the thresholds are those of a policy that says nothing of them.
    let thresholds = Policy::load(POLICY).unwrap_or_default().signals;
    let mut windows = Windows::begin(profiler, thresholds);
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(WINDOW);
        let Some(window) = windows.end() else {
            continue;
        };
        let measured = Box::new((window.signals, window.levels, thresholds));
        if news.blocking_send(News::Measured(measured)).is_err() {
            return;
        }
    }
}
