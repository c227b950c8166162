//! Where the machine's power comes from, as the kernel says
//! (Documentation/ABI/testing/sysfs-class-power).

use std::fs;
use std::path::{Path, PathBuf};

use auto_ext_policy::Power;

/// The kernel's directory of power supplies.
#[derive(Clone, Debug)]
pub(crate) struct PowerSupplies(PathBuf);

impl PowerSupplies {
    /// Those below `sys`, which is /sys but in tests.
    pub(crate) fn below(sys: &Path) -> Self {
        Self(sys.join("class/power_supply"))
    }

    /// Where the power comes from; `None` when that is not known. A machine without a battery of its own has
    /// [`Power::Ac`].
    pub(crate) fn read(&self) -> Option<Power> {
        let supplies: Vec<Supply> = fs::read_dir(&self.0)
            .ok()?
            .flatten()
            .filter_map(|entry| Supply::read(&entry.path()))
            .collect();
        let outside = supplies.iter().filter_map(|supply| match supply {
            Supply::Outside { online } => *online,
            Supply::Battery { .. } => None,
        });
        let outside: Vec<bool> = outside.collect();
        if outside.contains(&true) {
            return Some(Power::Ac);
        }
        let batteries: Vec<&String> = supplies
            .iter()
            .filter_map(|supply| match supply {
                Supply::Battery { status } => Some(status),
                Supply::Outside { .. } => None,
            })
            .collect();
        if batteries.is_empty() {
            return Some(Power::Ac);
        }
        if batteries.iter().any(|status| *status == "Discharging") {
            return Some(Power::Battery);
        }
        let fed = ["Charging", "Full", "Not charging"];
        if batteries
            .iter()
            .all(|status| fed.contains(&status.as_str()))
        {
            return Some(Power::Ac);
        }
        // The battery does not say, but nothing else powers the machine.
        (!outside.is_empty()).then_some(Power::Battery)
    }
}

enum Supply {
    /// Mains, USB and the like; whether it powers the machine, if it says so.
    Outside {
        online: Option<bool>,
    },
    Battery {
        status: String,
    },
}

impl Supply {
    /// `None` for what does not power this machine, such as the battery of a mouse.
    fn read(path: &Path) -> Option<Self> {
        let text = |name: &str| {
            fs::read_to_string(path.join(name))
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        if text("scope") == "Device" {
            return None;
        }
        match text("type").as_str() {
            "Battery" if text("present") != "0" => Some(Self::Battery {
                status: text("status"),
            }),
            "Mains" | "USB" | "Wireless" => {
                // 2 is a port whose voltage can be programmed.
                let online = match text("online").as_str() {
                    "0" => Some(false),
                    "1" | "2" => Some(true),
                    _ => None,
                };
                Some(Self::Outside { online })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(supplies: &[&[(&str, &str)]]) -> Option<Power> {
        let sys = tempfile::tempdir().unwrap();
        fs::create_dir_all(sys.path().join("class/power_supply")).unwrap();
        for (number, supply) in supplies.iter().enumerate() {
            let path = sys
                .path()
                .join(format!("class/power_supply/supply{number}"));
            fs::create_dir_all(&path).unwrap();
            for (name, value) in *supply {
                fs::write(path.join(name), format!("{value}\n")).unwrap();
            }
        }
        PowerSupplies::below(sys.path()).read()
    }

    const BATTERY: [(&str, &str); 2] = [("type", "Battery"), ("status", "Discharging")];
    const MOUSE: [(&str, &str); 3] = [
        ("type", "Battery"),
        ("scope", "Device"),
        ("status", "Discharging"),
    ];

    #[test]
    fn a_laptop_is_on_its_battery_when_nothing_else_feeds_it() {
        let mains = |online| [("type", "Mains"), ("online", online)];
        assert_eq!(power(&[&mains("1"), &BATTERY]), Some(Power::Ac));
        assert_eq!(power(&[&mains("0"), &BATTERY]), Some(Power::Battery));
        assert_eq!(power(&[&BATTERY]), Some(Power::Battery));
        let usb = [("type", "USB"), ("online", "2")];
        assert_eq!(power(&[&mains("0"), &usb, &BATTERY]), Some(Power::Ac));
    }

    #[test]
    fn a_battery_that_does_not_say_what_it_does_leaves_it_to_the_others() {
        let silent = [("type", "Battery"), ("status", "Unknown")];
        let mains = [("type", "Mains"), ("online", "0")];
        assert_eq!(power(&[&silent]), None);
        assert_eq!(power(&[&silent, &mains]), Some(Power::Battery));
        let full = [("type", "Battery"), ("status", "Full")];
        assert_eq!(power(&[&full]), Some(Power::Ac));
    }

    #[test]
    fn a_desktop_is_fed_from_outside_whatever_its_mouse_says() {
        assert_eq!(power(&[]), Some(Power::Ac));
        assert_eq!(power(&[&MOUSE]), Some(Power::Ac));
        let removed = [("type", "Battery"), ("present", "0"), ("status", "Unknown")];
        assert_eq!(power(&[&removed]), Some(Power::Ac));
    }

    #[test]
    fn without_the_directory_it_is_unknown() {
        assert_eq!(PowerSupplies::below("/nonexistent".as_ref()).read(), None);
    }
}
