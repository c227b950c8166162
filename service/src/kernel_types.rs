//! The few numbers that are needed of the kernel's type information (BTF): where members of structures are, and which
//! number a type has.
//!
//! The file is walked through as it lies there. What makes an object of each of its hundred thousand types takes 60 MB and
//! a second of a slow machine. The format is that of linux/btf.h and Documentation/bpf/btf.rst; what does not keep to it
//! is not understood.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel shows its types.
pub const FILE: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// The length of the header that is written here; one that is read may be longer.
const HEADER: usize = 24;
/// What every type begins with: its name, its kind with a count, its size or another type.
const RECORD: usize = 12;

/// The kinds of types of linux/btf.h.
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FORWARD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// How deep structures are nested in each other, and types are made of others, at most; the kernel's need six.
const MAX_DEPTH: u32 = 32;

/// Why the kernel's types are not known.
#[derive(Debug, thiserror::Error)]
pub enum TypesError {
    /// The file cannot be read; without CONFIG_DEBUG_INFO_BTF there is none.
    #[error("{path}: {error}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        error: std::io::Error,
    },
    /// It is not in a form that is known.
    #[error("{path}: not in a form that is known", path = .0.display())]
    NotUnderstood(PathBuf),
}

/// The types of a kernel.
pub struct KernelTypes {
    file: Vec<u8>,
    /// Where the names begin.
    names: usize,
    /// Where each type begins, in the order of their numbers, which are from 1.
    types: Vec<u32>,
}

/// A type as it lies in the file.
#[derive(Clone, Copy)]
struct Type<'t> {
    kind: u32,
    /// Its members' offsets share their number with a width.
    has_bitfields: bool,
    /// What begins with the record.
    bytes: &'t [u8],
}

impl KernelTypes {
    /// Reads those of the running kernel.
    ///
    /// # Errors
    /// When the kernel shows none or they are not understood.
    pub fn of_the_kernel() -> Result<Self, TypesError> {
        Self::read(Path::new(FILE))
    }

    /// Reads those in this file.
    ///
    /// # Errors
    /// As [`Self::of_the_kernel`].
    pub fn read(path: &Path) -> Result<Self, TypesError> {
        let file = fs::read(path).map_err(|error| TypesError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(file).ok_or_else(|| TypesError::NotUnderstood(path.to_owned()))
    }

    /// Takes the contents of such a file; `None` when they are not understood.
    #[must_use]
    pub fn parse(file: Vec<u8>) -> Option<Self> {
        let understood = file.get(..2)? == MAGIC.to_ne_bytes();
        let header = number(&file, 4)?;
        if !understood || header < HEADER {
            return None;
        }
        let section = |at: usize| {
            let begin = header.checked_add(number(&file, at)?)?;
            let end = begin.checked_add(number(&file, at + 4)?)?;
            file.get(begin..end).map(|_| begin..end)
        };
        let (all, names) = (section(8)?, section(16)?);
        let mut types = Vec::new();
        let mut at = all.start;
        while at < all.end {
            types.push(u32::try_from(at).ok()?);
            at = at.checked_add(length(file.get(at..all.end)?)?)?;
        }
        types.shrink_to_fit();
        (at == all.end).then_some(Self {
            names: names.start,
            file,
            types,
        })
    }

    /// The number of the first structure of this name.
    #[must_use]
    pub fn structure(&self, name: &str) -> Option<u32> {
        (1..=self.last()).find(|id| {
            let found = self.get(*id);
            found.is_some_and(|found| found.kind == STRUCT && self.is(found.bytes, name))
        })
    }

    /// The offset in bytes of a member such as `se.cfs_rq` in the first structure of this name, looking through anonymous
    /// structures and unions on the way. `None` when there is none of that name.
    #[must_use]
    pub fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = self.structure(structure)?;
        let mut bits = 0_u32;
        for name in path.split('.') {
            let (offset, of) = self.member(self.aggregate(id)?, name, MAX_DEPTH)?;
            bits = bits.checked_add(offset)?;
            id = of;
        }
        Some(bits / 8)
    }

    /// A file of types in which every type has its number, and only those typedefs are left whose names begin with
    /// `prefix`, and the functions with these names: for who needs no more than their numbers, and would keep all others.
    #[must_use]
    pub fn only(&self, prefix: &str, functions: &[&str]) -> Vec<u8> {
        let is_kept = |kind: u32, name: &[u8]| match kind {
            TYPEDEF => name.starts_with(prefix.as_bytes()),
            FUNC => functions.iter().any(|function| function.as_bytes() == name),
            _ => false,
        };
        let mut names = vec![0];
        let mut records = Vec::with_capacity(self.types.len() * RECORD);
        for id in 1..=self.last() {
            let found = self.get(id);
            let found = found.and_then(|found| Some((found.kind, self.name(found.bytes)?)));
            let (name, kind) = match found.filter(|(kind, name)| is_kept(*kind, name)) {
                Some((kind, name)) => {
                    let at = names.len();
                    names.extend(name);
                    names.push(0);
                    (at, kind)
                }
                None => (0, FORWARD),
            };
            let name = u32::try_from(name).unwrap_or_default();
            records.extend([name, kind << 24, 0].iter().flat_map(|n| n.to_ne_bytes()));
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or_default();
        let header = [24, 0, length(&records), length(&records), length(&names)];
        let mut file = MAGIC.to_ne_bytes().to_vec();
        file.extend([1, 0]);
        file.extend(header.iter().flat_map(|n: &u32| n.to_ne_bytes()));
        file.extend(records);
        file.extend(names);
        file
    }

    fn last(&self) -> u32 {
        u32::try_from(self.types.len()).unwrap_or(u32::MAX)
    }

    fn get(&self, id: u32) -> Option<Type<'_>> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        let begin = usize::try_from(*self.types.get(index)?).ok()?;
        let bytes = self.file.get(begin..)?;
        let info = info(bytes)?;
        Some(Type {
            kind: kind(info),
            has_bitfields: info >> 31 == 1,
            bytes: bytes.get(..length(bytes)?)?,
        })
    }

    /// The structure or union that this type is, behind qualifiers and typedefs.
    fn aggregate(&self, mut id: u32) -> Option<Type<'_>> {
        for _ in 0..MAX_DEPTH {
            let found = self.get(id)?;
            match found.kind {
                STRUCT | UNION => return Some(found),
                TYPEDEF | VOLATILE | CONST | TYPE_TAG => {
                    id = u32::try_from(number(found.bytes, 8)?).ok()?;
                }
                _ => return None,
            }
        }
        None
    }

    /// The bit offset and the type of the member called `name`.
    fn member(&self, of: Type<'_>, name: &str, depth: u32) -> Option<(u32, u32)> {
        let depth = depth.checked_sub(1)?;
        for member in of.bytes.get(RECORD..)?.chunks_exact(12) {
            let id = u32::try_from(number(member, 4)?).ok()?;
            let bits = u32::try_from(number(member, 8)?).ok()?;
            let bits = if of.has_bitfields {
                bits & 0xff_ffff
            } else {
                bits
            };
            if self.is(member, name) {
                return Some((bits, id));
            }
            if self.is(member, "")
                && let Some(inner) = self.aggregate(id)
                && let Some((offset, id)) = self.member(inner, name, depth)
            {
                return Some((bits.checked_add(offset)?, id));
            }
        }
        None
    }

    /// The name of what begins with the offset of its name.
    fn name(&self, what: &[u8]) -> Option<&[u8]> {
        let text = self.file.get(self.names.checked_add(number(what, 0)?)?..)?;
        text.split(|byte| *byte == 0).next()
    }

    fn is(&self, what: &[u8], name: &str) -> bool {
        self.name(what) == Some(name.as_bytes())
    }
}

fn info(bytes: &[u8]) -> Option<u32> {
    u32::try_from(number(bytes, 4)?).ok()
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x7f
}

/// How many bytes the type has with which `bytes` begins.
fn length(bytes: &[u8]) -> Option<usize> {
    let info = info(bytes)?;
    let count = usize::try_from(info & 0xff_ffff).ok()?;
    let more = match kind(info) {
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => count.checked_mul(12)?,
        ENUM | FUNC_PROTO => count.checked_mul(8)?,
        0 => return None,
        kind if kind <= TYPE_TAG => 0,
        _ => return None,
    };
    let length = RECORD.checked_add(more)?;
    (length <= bytes.len()).then_some(length)
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

        /// Members: their names, types and offsets in bytes.
        fn structure(&mut self, name: &str, members: &[(&str, u32, u32)]) -> u32 {
            let count = u32::try_from(members.len()).unwrap();
            let mut numbers = vec![self.name(name), STRUCT << 24 | count, 0];
            for (member, of, bytes) in members {
                numbers.extend([self.name(member), *of, bytes * 8]);
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

    /// Types of every kind whose length is not that of most, and a structure with another in it that has no name, behind
    /// a typedef.
    fn kernel() -> Builder {
        let mut types = Builder::default();
        types.name("");
        let int = [types.name("int"), INT << 24, 4, 32];
        types.add(&int);
        types.add(&[0, 2 << 24, 1]);
        types.add(&[0, ARRAY << 24, 0, 1, 1, 128]);
        types.add(&[0, FUNC_PROTO << 24 | 1, 1, 0, 1]);
        let inner = types.structure("", &[("a", 1, 0), ("b", 1, 4)]);
        let typedef = [types.name("btf_trace_it"), TYPEDEF << 24, inner];
        let typedef = types.add(&typedef);
        let other = [types.name("another"), TYPEDEF << 24, inner];
        types.add(&other);
        types.structure(
            "outer",
            &[("first", 1, 0), ("", typedef, 8), ("named", typedef, 24)],
        );
        types.structure("outer", &[("second", 1, 100)]);
        for function in ["bpf_iter_it", "bpf_iter_another"] {
            let function = [types.name(function), FUNC << 24, 4];
            types.add(&function);
        }
        types
    }

    #[test]
    fn members_are_found_by_name_also_in_what_has_none() {
        let types = KernelTypes::parse(kernel().file()).unwrap();
        assert_eq!(types.structure("outer"), Some(8));
        for (path, offset) in [
            ("first", Some(0)),
            ("b", Some(12)),
            ("named.b", Some(28)),
            ("second", None),
            ("first.b", None),
        ] {
            assert_eq!(types.offset("outer", path), offset, "{path}");
        }
        assert_eq!(types.offset("nothing", "first"), None);
    }

    #[test]
    fn only_what_is_asked_for_is_left_and_keeps_its_number() {
        let types = KernelTypes::parse(kernel().file()).unwrap();
        let less = KernelTypes::parse(types.only("btf_trace_", &["bpf_iter_it"])).unwrap();
        assert_eq!(less.types.len(), types.types.len());
        let named: Vec<u32> = (1..=less.last())
            .filter(|id| !less.is(less.get(*id).unwrap().bytes, ""))
            .collect();
        assert_eq!(named, [6, 10]);
        assert!(less.is(less.get(6).unwrap().bytes, "btf_trace_it"));
        let function = less.get(10).unwrap();
        assert!(function.kind == FUNC && less.is(function.bytes, "bpf_iter_it"));
    }

    #[test]
    fn whatever_is_cut_off_or_unheard_of_is_not_understood() {
        let file = kernel().file();
        for length in 0..file.len() {
            // What ends within the names may still have all types; it only must not panic.
            if let Some(types) = KernelTypes::parse(file[..length].to_vec()) {
                let _ = types.offset("outer", "named.b");
                let _ = types.only("btf_trace_", &["bpf_iter_it"]);
            }
        }
        assert!(KernelTypes::parse(file[..30].to_vec()).is_none());
        let mut types = Builder::default();
        types.add(&[0, 100 << 24, 0]);
        assert!(KernelTypes::parse(types.file()).is_none());
        assert!(KernelTypes::parse(b"no types".to_vec()).is_none());
    }

    #[test]
    fn types_that_are_made_of_themselves_have_no_members() {
        let mut types = Builder::default();
        types.name("");
        types.structure("it", &[("", 1, 0)]);
        let itself = [types.name("t"), TYPEDEF << 24, 2];
        types.add(&itself);
        let types = KernelTypes::parse(types.file()).unwrap();
        assert_eq!(types.offset("it", "a"), None);
        assert_eq!(types.offset("it", "a.b"), None);
    }
}
