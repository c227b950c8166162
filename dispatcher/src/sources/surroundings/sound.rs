//! Whether sound is played or recorded, as ALSA says in /proc/asound (Documentation/sound/designs/procfs.rst): a stream that
//! runs is what people hear first when a scheduler is a bad one.

use std::fs;
use std::io;
use std::path::Path;

/// More streams than a machine has are not looked at.
const MAX_STREAMS: usize = 256;
/// The states of a stream in which it carries sound.
const ON: [&str; 2] = ["RUNNING", "DRAINING"];

/// Whether it is; `None` where that cannot be known. `asound` is /proc/asound but in tests; without it there is no sound.
pub(super) fn is_on(asound: &Path) -> Option<bool> {
    let devices = match fs::read_to_string(asound.join("pcm")) {
        Ok(devices) => devices,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(false),
        Err(_) => return None,
    };
    let mut streams = 0;
    for device in devices.lines() {
        let (card, number) = address(device)?;
        for (way, count) in streams_of(device) {
            for stream in 0..count {
                streams += 1;
                if streams > MAX_STREAMS {
                    return None;
                }
                let status = format!("card{card}/pcm{number}{way}/sub{stream}/status");
                // Without CONFIG_SND_VERBOSE_PROCFS nobody says.
                let status = fs::read_to_string(asound.join(status)).ok()?;
                let state = status
                    .lines()
                    .find_map(|line| line.strip_prefix("state:"))
                    .unwrap_or_default();
                if ON.contains(&state.trim()) {
                    return Some(true);
                }
            }
        }
    }
    Some(false)
}

/// The numbers of the card and of the device, of a line such as `00-03: HDMI 0 : HDMI 0 : playback 1`.
fn address(device: &str) -> Option<(u32, u32)> {
    let (card, number) = device.split_once(':')?.0.split_once('-')?;
    Some((card.parse().ok()?, number.parse().ok()?))
}

/// How many streams it has of each way, by the letter in their directories' names.
fn streams_of(device: &str) -> impl Iterator<Item = (char, usize)> {
    let fields = device.split(" : ");
    fields.filter_map(|field| {
        let (way, count) = field.trim().split_once(' ')?;
        let way = match way {
            "playback" => 'p',
            "capture" => 'c',
            _ => return None,
        };
        Some((way, count.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_runs_is_sound_and_one_whose_state_nobody_says_may_be() {
        let asound = tempfile::tempdir().unwrap();
        let asound = asound.path();
        let write = |path: &str, text: &str| {
            let path = asound.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(is_on(asound), Some(false));
        write("pcm", "");
        assert_eq!(is_on(asound), Some(false));
        write(
            "pcm",
            "00-00: ALC257 Analog : ALC257 Analog : playback 1 : capture 1\n01-03: HDMI 0 : HDMI 0 : playback 2\n",
        );
        assert_eq!(is_on(asound), None);
        for stream in ["card0/pcm0p/sub0", "card0/pcm0c/sub0", "card1/pcm3p/sub0"] {
            write(&format!("{stream}/status"), "closed\n");
        }
        assert_eq!(is_on(asound), None, "of one stream nothing is known");
        let last = "card1/pcm3p/sub1/status";
        write(last, "state: PREPARED\nowner_pid   : 7\n");
        assert_eq!(is_on(asound), Some(false));
        write(last, "state: RUNNING\nowner_pid   : 7\n");
        assert_eq!(is_on(asound), Some(true));
        write("pcm", "what is that\n");
        assert_eq!(is_on(asound), None);
        write("pcm", "00-00: x : x : playback 100000\n");
        assert_eq!(is_on(asound), None);
    }
}
