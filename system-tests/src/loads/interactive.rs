//! Programs in front of which a person sits: each wakes often for a moment of work, and somebody notices when that
//! comes late.
//!
//! Of N CPUs they use, where nothing else runs: the game 1.2 and 0.06 for each worker, the call 0.45, the browser
//! 0.2, the audio 0.14, the editor 0.09.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use super::files::Direct;
use super::work::{Beat, Bell, compute, cpus, start, start_all, start_helpers};

/// 60 Hz.
const FRAME: Duration = Duration::from_micros(16_667);
/// 30 Hz.
const PICTURE: Duration = Duration::from_micros(33_333);
/// What a sound card asks for at a time.
const PERIOD: Duration = Duration::from_millis(10);

/// A game: a main thread that makes a frame with the help of workers, a thread that draws the frame before it,
/// and audio.
pub(super) fn game() -> anyhow::Result<()> {
    let cpus = cpus();
    let [jobs, done] = start_helpers(cpus, Duration::from_millis(1))?;
    let frame = Arc::new(Bell::default());
    let drawn = Arc::clone(&frame);
    start("render", move || {
        loop {
            drawn.wait();
            compute(Duration::from_millis(8));
        }
    })?;
    sound(1, Duration::from_millis(1))?;
    start("main", move || {
        let mut frames = Beat::every(FRAME);
        loop {
            compute(Duration::from_millis(3));
            jobs.ring(cpus, cpus);
            compute(Duration::from_millis(4));
            (0..cpus).for_each(|_| done.wait());
            compute(Duration::from_millis(3));
            frame.ring(1, 1);
            frames.wait();
        }
    })
}

/// A game that reads the world through which it moves: 50 MB/s, in pieces with pauses.
pub(super) fn game_with_asset_stream() -> anyhow::Result<()> {
    game()?;
    let mut file = Direct::open()?;
    start("assets", move || {
        let mut pieces = Beat::every(Duration::from_millis(5));
        loop {
            file.read_next(256 << 10)?;
            pieces.wait();
        }
    })
}

/// A video call: a picture is decoded and one encoded, audio, and small packets.
pub(super) fn call() -> anyhow::Result<()> {
    beat("decode", PICTURE, Duration::from_millis(4))?;
    beat("encode", PICTURE, Duration::from_millis(8))?;
    sound(1, Duration::from_micros(700))?;
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    sender.connect(receiver.local_addr()?)?;
    start("receive", move || {
        let mut packet = [0; 1500];
        loop {
            receiver.recv(&mut packet)?;
            compute(Duration::from_micros(50));
        }
    })?;
    start("send", move || {
        let mut packets = Beat::every(Duration::from_millis(20));
        loop {
            sender.send(&[1; 200])?;
            compute(Duration::from_micros(50));
            packets.wait();
        }
    })
}

/// A browser that shows a page on which a little moves.
pub(super) fn browser() -> anyhow::Result<()> {
    beat("compositor", FRAME, Duration::from_millis(2))?;
    let help = Arc::new(Bell::default());
    let wanted = Arc::clone(&help);
    start_all(2, "helper", move || {
        loop {
            wanted.wait();
            compute(Duration::from_millis(1));
        }
    })?;
    start("main", move || {
        let mut turns = Beat::every(Duration::from_millis(100));
        loop {
            help.ring(2, 2);
            compute(Duration::from_millis(6));
            turns.wait();
        }
    })
}

/// Music: what decodes it and what mixes it.
pub(super) fn audio() -> anyhow::Result<()> {
    sound(2, Duration::from_micros(700))
}

/// Somebody types: each key is shown, and a second thread checks the text.
pub(super) fn editor() -> anyhow::Result<()> {
    let text = Arc::new(Bell::default());
    let changed = Arc::clone(&text);
    start("check", move || {
        loop {
            changed.wait();
            compute(Duration::from_millis(4));
        }
    })?;
    start("editor", move || {
        let mut chance = fastrand::Rng::with_seed(1);
        let mut keys = Beat::every(Duration::from_millis(120));
        loop {
            keys.wait_and_then(Duration::from_millis(chance.u64(80..=200)));
            text.ring(1, 1);
            compute(Duration::from_millis(8));
        }
    })
}

fn sound(threads: usize, work: Duration) -> anyhow::Result<()> {
    (0..threads).try_for_each(|_| beat("audio", PERIOD, work))
}

/// A thread with a little work at each beat.
fn beat(name: &str, period: Duration, work: Duration) -> anyhow::Result<()> {
    start(name, move || {
        let mut beats = Beat::every(period);
        loop {
            compute(work);
            beats.wait();
        }
    })
}
