//! What a domain's definition says of where its vCPUs may run and of what its memory is made. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use auto_ext_service::cpu_list;
use roxmltree::{Document, Node, ParsingOptions};

use crate::snapshot::Fixed;
use crate::topology::Cpus;

/// How large a definition may be, in bytes and in elements.
const MAX_BYTES: usize = 1 << 20;
const MAX_NODES: u32 = 100_000;
/// How many vCPUs a guest has at most (far beyond KVM_MAX_VCPUS).
const MAX_VCPUS: u32 = 8192;

/// What a definition says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Definition {
    /// Where its vCPUs may run, if not everywhere.
    pub(crate) cpuset: Option<Cpus>,
    /// Where single vCPUs run.
    pub(crate) pinned: BTreeMap<u32, Cpus>,
    /// How often its balloon speaks; `None`: never.
    pub(crate) period: Option<Duration>,
    /// What makes its memory nothing to be changed.
    pub(crate) fixed: Option<Fixed>,
    /// The balloon gives memory back by itself before the guest runs out of it.
    pub(crate) deflates_on_oom: bool,
}

/// Why a definition cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DefinitionError {
    /// It is too large.
    #[error("a definition of {0} bytes is too large")]
    Large(usize),
    /// It is no XML.
    #[error("a definition is no XML: {0}")]
    Xml(#[from] roxmltree::Error),
    /// A set of CPUs or a number is none.
    #[error("{element}: {value:?} is no {wanted}")]
    Value {
        /// Where it stands.
        element: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        wanted: &'static str,
    },
}

impl Definition {
    /// Reads a definition in XML.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn read(xml: &str) -> Result<Self, DefinitionError> {
        if xml.len() > MAX_BYTES {
            return Err(DefinitionError::Large(xml.len()));
        }
        let options = ParsingOptions {
            allow_dtd: false,
            nodes_limit: MAX_NODES,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(xml, options)?;
        let domain = document.root_element();
        let cpuset = child(domain, "vcpu").and_then(|vcpu| vcpu.attribute("cpuset"));
        let tune = child(domain, "cputune");
        let pins = tune.into_iter().flat_map(|tune| children(tune, "vcpupin"));
        let balloon = child(domain, "devices").and_then(|devices| child(devices, "memballoon"));
        let stats = balloon.and_then(|balloon| child(balloon, "stats"));
        let period = stats.and_then(|stats| stats.attribute("period"));
        let seconds = period.map(|text| number("stats", text)).transpose()?;
        let deflates = balloon.and_then(|balloon| balloon.attribute("autodeflate"));
        Ok(Self {
            cpuset: cpuset.map(|text| cpus("vcpu", text)).transpose()?,
            pinned: pins.map(pin).collect::<Result<_, _>>()?,
            period: seconds
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.into())),
            fixed: fixed(domain, balloon),
            deflates_on_oom: deflates == Some("on"),
        })
    }
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children()
        .filter(move |child| child.has_tag_name(name))
}

fn pin(node: Node<'_, '_>) -> Result<(u32, Cpus), DefinitionError> {
    let vcpu = number("vcpupin", node.attribute("vcpu").unwrap_or_default())?;
    let cpus = cpus("vcpupin", node.attribute("cpuset").unwrap_or_default())?;
    Ok((vcpu, cpus))
}

fn number(element: &'static str, text: &str) -> Result<u32, DefinitionError> {
    let number = text.parse().ok();
    number
        .filter(|number| *number < MAX_VCPUS)
        .ok_or_else(|| DefinitionError::Value {
            element,
            value: shortened(text),
            wanted: "number",
        })
}

fn cpus(element: &'static str, text: &str) -> Result<Cpus, DefinitionError> {
    cpu_list::parse(text).map_err(|_| DefinitionError::Value {
        element,
        value: shortened(text),
        wanted: "set of CPUs",
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn fixed(domain: Node<'_, '_>, balloon: Option<Node<'_, '_>>) -> Option<Fixed> {
    let backing = child(domain, "memoryBacking");
    let is_backed = |name| backing.is_some_and(|backing| child(backing, name).is_some());
    let devices = child(domain, "devices");
    let mut devices = devices.into_iter().flat_map(|devices| devices.children());
    if balloon.is_none_or(|balloon| balloon.attribute("model") == Some("none")) {
        Some(Fixed::NoBalloon)
    } else if devices.any(is_of_the_host) {
        Some(Fixed::Vfio)
    } else if is_backed("locked") {
        Some(Fixed::Locked)
    } else if is_backed("hugepages") {
        Some(Fixed::HugePages)
    } else {
        None
    }
}

/// A device of the host that reaches into the guest's memory by itself.
fn is_of_the_host(device: Node<'_, '_>) -> bool {
    let kind = device.attribute("type").unwrap_or_default();
    match device.tag_name().name() {
        "hostdev" => matches!(kind, "pci" | "mdev"),
        "interface" => matches!(kind, "hostdev" | "vdpa"),
        "disk" => matches!(kind, "nvme" | "vhostvdpa"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = "<domain type='kvm' id='1'><name>vm</name>\
        <vcpu placement='static' cpuset='0-3,6'>4</vcpu>\
        <cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='2' cpuset='1-2'/><emulatorpin cpuset='7'/></cputune>\
        <devices><disk type='file'/><memballoon model='virtio' autodeflate='on'><stats period='5'/></memballoon></devices>\
        </domain>";

    #[test]
    fn what_is_needed_of_a_definition_is_read() {
        let expected = Definition {
            cpuset: Some(Cpus::from([0, 1, 2, 3, 6])),
            pinned: BTreeMap::from([(0, Cpus::from([0])), (2, Cpus::from([1, 2]))]),
            period: Some(Duration::from_secs(5)),
            fixed: None,
            deflates_on_oom: true,
        };
        assert_eq!(Definition::read(PLAIN).unwrap(), expected);
    }

    #[test]
    fn memory_that_is_not_to_be_changed_is_known_by_what_makes_it_so() {
        let with = |backing: &str, device: &str, balloon: &str| {
            let text = format!(
                "<domain>{backing}<devices>{device}<memballoon model='{balloon}'/></devices></domain>"
            );
            Definition::read(&text).unwrap().fixed
        };
        assert_eq!(with("", "", "virtio"), None);
        assert_eq!(with("", "", "none"), Some(Fixed::NoBalloon));
        let card = "<hostdev mode='subsystem' type='pci' managed='yes'/>";
        assert_eq!(with("", card, "virtio"), Some(Fixed::Vfio));
        assert_eq!(
            with("", "<hostdev mode='subsystem' type='usb'/>", "virtio"),
            None
        );
        assert_eq!(
            with("", "<interface type='hostdev'/>", "virtio"),
            Some(Fixed::Vfio)
        );
        let backing = |what| format!("<memoryBacking>{what}</memoryBacking>");
        assert_eq!(
            with(&backing("<locked/>"), "", "virtio"),
            Some(Fixed::Locked)
        );
        assert_eq!(
            with(&backing("<hugepages/>"), "", "virtio"),
            Some(Fixed::HugePages)
        );
        assert_eq!(with(&backing("<nosharepages/>"), "", "virtio"), None);
        assert_eq!(
            Definition::read("<domain/>").unwrap().fixed,
            Some(Fixed::NoBalloon)
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_where_it_stands() {
        let told = |text: &str| Definition::read(text).unwrap_err().to_string();
        assert!(told("<domain>").contains("no XML"));
        assert!(told("<!DOCTYPE x [<!ENTITY a 'b'>]><domain>&a;</domain>").contains("no XML"));
        let wrong = PLAIN.replace("0-3,6", "0-3,x");
        assert_eq!(told(&wrong), "vcpu: \"0-3,x\" is no set of CPUs");
        let wrong = PLAIN.replace("vcpu='2'", "vcpu='-2'");
        assert_eq!(told(&wrong), "vcpupin: \"-2\" is no number");
        assert!(told(&" ".repeat(MAX_BYTES + 1)).contains("too large"));
        let many = format!("<domain>{}</domain>", "<a/>".repeat(MAX_NODES as usize));
        assert!(told(&many).contains("no XML"));
    }

    proptest! {
        #[test]
        fn whatever_it_is_there_is_an_answer(at in 0..PLAIN.len(), with in ".{0,3}") {
            let text = format!("{}{with}{}", &PLAIN[..at], &PLAIN[at..]);
            let _ = Definition::read(&text);
        }
    }
}
