//! The profiler as a source of news, where no daemon measures.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::news::News;
use crate::cli::commands::levels;
use crate::sources::{load, read_policy};

/// How long a window is; long enough for a view. The daemon, which decides by them, has shorter ones.
const WINDOW: Duration = Duration::from_secs(1);

/// Measures until it is dropped.
pub(super) struct Measurement {
    ended: Arc<AtomicBool>,
}

impl Measurement {
    /// Begins to measure in a thread, as attaching takes a while. Reports a window every second, or why it cannot measure.
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
    let profiler = match load::attach() {
        Ok(profiler) => profiler,
        Err(error) => {
            // The view may have ended.
            let _ = news.blocking_send(News::CannotMeasure(error.to_string()));
            return;
        }
    };
    // Without a valid policy, the thresholds are the defaults.
    let thresholds = read_policy::load(Path::new(read_policy::INSTALLED))
        .unwrap_or_default()
        .signals;
    let mut windows = levels::Measurement::begin(profiler, thresholds);
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
