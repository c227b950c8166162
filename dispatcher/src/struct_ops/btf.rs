//! The few numbers that are needed of the kernel's type information (BTF): which map value is that of a scheduler, and where
//! its name is in it.
//!
//! It is walked through once, as it lies there. What makes an object of each of its hundred thousand types first takes 60 MB
//! and a second of a slow machine, and would do so while a scheduler is being brought in. The format is that of
//! linux/btf.h and Documentation/bpf/btf.rst; what does not keep to it is not understood, and that is no failure.

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;

/// The kinds of types of linux/btf.h.
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// The operations that are schedulers, as the kernel's structures are called. The second is Linux 7.2's.
const SCHEDULERS: [&str; 2] = ["sched_ext_ops", "sched_ext_ops_cid"];
/// What the structure of a map's value begins with, before the name of that of the operations.
const VALUE: &str = "bpf_struct_ops_";

/// Where in a map's value is what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The number of the value's type.
    pub(super) value: u32,
    /// Where the scheduler's name begins.
    pub(super) name: usize,
    /// Where the number of the cgroup is that it is for, on kernels that know such schedulers.
    pub(super) sub_cgroup: Option<usize>,
}

/// A structure of the kernel's, by the number of its type.
struct Structure<'t> {
    id: u32,
    members: &'t [u8],
    /// The offsets of its members share their number with a width.
    has_bitfields: bool,
}

/// The types, as they lie in the file.
struct Types<'t> {
    types: &'t [u8],
    names: &'t [u8],
}

/// One for each kind of scheduler that this kernel knows, of the contents of /sys/kernel/btf/vmlinux; `None` when they are
/// not understood.
pub(super) fn layouts(file: &[u8]) -> Option<Vec<Layout>> {
    let types = Types::of(file)?;
    let values: Vec<String> = SCHEDULERS.map(|name| format!("{VALUE}{name}")).into();
    let wanted: Vec<&str> = SCHEDULERS
        .into_iter()
        .chain(values.iter().map(String::as_str))
        .collect();
    let found = types.structures(&wanted)?;
    let (operations, values) = found.split_at(SCHEDULERS.len());
    let pairs = operations.iter().zip(values);
    let layouts = pairs.filter_map(|pair| match pair {
        (Some(operations), Some(value)) => types.layout(operations, value),
        _ => None,
    });
    Some(layouts.collect())
}

impl<'t> Types<'t> {
    fn of(file: &'t [u8]) -> Option<Self> {
        let little = file.get(..2)? == MAGIC.to_ne_bytes();
        let header = number(file, 4)?;
        if !little || header < HEADER {
            return None;
        }
        let section = |at: usize| {
            let begin = header.checked_add(number(file, at)?)?;
            file.get(begin..begin.checked_add(number(file, at + 4)?)?)
        };
        Some(Self {
            types: section(8)?,
            names: section(16)?,
        })
    }

    /// The first structure of each of these names.
    fn structures(&self, wanted: &[&str]) -> Option<Vec<Option<Structure<'t>>>> {
        let mut found: Vec<Option<Structure<'t>>> = wanted.iter().map(|_| None).collect();
        let mut rest = self.types;
        let mut id = 0;
        while !rest.is_empty() {
            id += 1;
            let info = u32::try_from(number(rest, 4)?).ok()?;
            let count = usize::try_from(info & 0xff_ffff).ok()?;
            let kind = (info >> 24) & 0x7f;
            let more = match kind {
                INT | VAR | DECL_TAG => 4,
                ARRAY => 12,
                STRUCT | UNION | DATASEC | ENUM64 => count.checked_mul(12)?,
                ENUM | FUNC_PROTO => count.checked_mul(8)?,
                0 => return None,
                _ if kind <= TYPE_TAG => 0,
                _ => return None,
            };
            let (this, others) = rest.split_at_checked(more.checked_add(12)?)?;
            if kind == STRUCT {
                let at = wanted.iter().position(|name| self.is(this, name));
                if let Some(slot @ None) = at.and_then(|at| found.get_mut(at)) {
                    *slot = Some(Structure {
                        id,
                        members: &this[12..],
                        has_bitfields: info >> 31 == 1,
                    });
                }
            }
            rest = others;
        }
        Some(found)
    }

    fn layout(&self, operations: &Structure<'_>, value: &Structure<'_>) -> Option<Layout> {
        let data = self.offset(value, "data")?;
        let of = |member| data.checked_add(self.offset(operations, member)?);
        Some(Layout {
            value: value.id,
            name: of("name")?,
            sub_cgroup: of("sub_cgroup_id"),
        })
    }

    /// The offset in bytes of a member.
    fn offset(&self, structure: &Structure<'_>, name: &str) -> Option<usize> {
        let mut members = structure.members.chunks_exact(12);
        let member = members.find(|member| self.is(member, name))?;
        let bits = number(member, 8)?;
        let bits = if structure.has_bitfields {
            bits & 0xff_ffff
        } else {
            bits
        };
        Some(bits / 8)
    }

    /// Whether what begins with the offset of its name is called so.
    fn is(&self, what: &[u8], name: &str) -> bool {
        let text = number(what, 0).and_then(|at| self.names.get(at..));
        let rest = text.and_then(|text| text.strip_prefix(name.as_bytes()));
        rest.and_then(<[u8]>::first) == Some(&0)
    }
}

/// The number of 4 bytes at this place.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_ne_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of types being made.
    #[derive(Default)]
    struct Builder {
        types: Vec<u8>,
        names: Vec<u8>,
        count: u32,
    }

    impl Builder {
        fn name(&mut self, name: &str) -> u32 {
            let at = u32::try_from(self.names.len()).unwrap();
            self.names.extend(name.bytes().chain([0]));
            at
        }

        fn add(&mut self, numbers: &[u32]) -> u32 {
            let bytes = numbers.iter().flat_map(|number| number.to_ne_bytes());
            self.types.extend(bytes);
            self.count += 1;
            self.count
        }

        fn structure(&mut self, name: &str, members: &[(&str, u32)]) -> u32 {
            let count = u32::try_from(members.len()).unwrap();
            let mut numbers = vec![self.name(name), STRUCT << 24 | count, 0];
            for (member, bytes) in members {
                numbers.extend([self.name(member), 1, bytes * 8]);
            }
            self.add(&numbers)
        }

        fn file(&self) -> Vec<u8> {
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
            let (types, names) = (length(&self.types), length(&self.names));
            let mut file = MAGIC.to_ne_bytes().to_vec();
            file.extend([1, 0]);
            for number in [24, 0, types, types, names] {
                file.extend(u32::to_ne_bytes(number));
            }
            file.extend(self.types.iter().chain(&self.names));
            file
        }
    }

    fn kernel() -> (Builder, u32) {
        let mut types = Builder::default();
        let int = [types.name("int"), INT << 24, 4, 32];
        types.add(&int);
        types.add(&[0, 2 << 24, 1]);
        types.add(&[0, ARRAY << 24, 0, 1, 1, 128]);
        types.add(&[0, FUNC_PROTO << 24 | 1, 1, 0, 1]);
        types.structure("tcp_congestion_ops", &[("name", 96)]);
        types.structure("bpf_struct_ops_tcp_congestion_ops", &[("data", 64)]);
        let members = [("init", 0), ("sub_cgroup_id", 300), ("name", 308)];
        types.structure("sched_ext_ops", &members);
        let value = [("common", 0), ("data", 64)];
        let id = types.structure("bpf_struct_ops_sched_ext_ops", &value);
        types.structure("bpf_struct_ops_sched_ext_ops", &value);
        (types, id)
    }

    #[test]
    fn the_value_of_a_scheduler_and_what_is_in_it_are_found() {
        let (types, value) = kernel();
        let layout = Layout {
            value,
            name: 372,
            sub_cgroup: Some(364),
        };
        assert_eq!(layouts(&types.file()), Some(vec![layout]));
    }

    #[test]
    fn a_kernel_that_knows_no_sub_schedulers_has_no_place_for_their_cgroup() {
        let mut types = Builder::default();
        types.structure("sched_ext_ops", &[("name", 8)]);
        types.structure("bpf_struct_ops_sched_ext_ops", &[("data", 64)]);
        let found = layouts(&types.file()).unwrap();
        assert_eq!((found[0].name, found[0].sub_cgroup), (72, None));
    }

    #[test]
    fn a_kernel_without_schedulers_has_none_and_that_is_understood() {
        assert_eq!(layouts(&Builder::default().file()), Some(Vec::new()));
    }

    #[test]
    fn whatever_is_cut_off_or_unheard_of_is_not_understood() {
        let (types, _) = kernel();
        let file = types.file();
        for length in 0..file.len() {
            // What ends within the names may still have all types; it only must not panic.
            let _ = layouts(&file[..length]);
        }
        assert_eq!(layouts(&file[..30]), None);
        let mut types = Builder::default();
        types.add(&[0, 100 << 24, 0]);
        assert_eq!(layouts(&types.file()), None);
        assert_eq!(layouts(b"no types"), None);
    }
}
