//! Byte offsets of structure members, from the running kernel's BTF.

use std::path::Path;

use btf_rs::{Btf, Struct, Type};

/// Why an offset could not be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OffsetError {
    /// The kernel's type information cannot be read.
    #[error("{path}: {message}")]
    Unreadable { path: String, message: String },
    /// The structure has no such member in this kernel.
    #[error("this kernel's BTF has no `{path}` in struct {structure}")]
    Missing { structure: String, path: String },
}

/// The types of the running kernel.
pub(crate) struct KernelTypes(Btf);

impl KernelTypes {
    pub(crate) fn load(path: &Path) -> Result<Self, OffsetError> {
        Btf::from_file(path)
            .map(Self)
            .map_err(|error| OffsetError::Unreadable {
                path: path.display().to_string(),
                message: error.to_string(),
            })
    }

    /// The offset in bytes of a member such as `se.cfs_rq` in `structure`, looking through anonymous
    /// structures and unions on the way.
    pub(crate) fn offset(&self, structure: &str, path: &str) -> Result<u64, OffsetError> {
        let missing = || OffsetError::Missing {
            structure: structure.to_owned(),
            path: path.to_owned(),
        };
        let types = self
            .0
            .resolve_types_by_name(structure)
            .map_err(|_| missing())?;
        let mut current = types
            .into_iter()
            .find_map(|ty| match ty {
                Type::Struct(found) => Some(found),
                _ => None,
            })
            .ok_or_else(missing)?;
        let mut bits = 0;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let (offset, ty) = self.member(&current, name).ok_or_else(missing)?;
            bits += offset;
            if names.peek().is_some() {
                current = self.aggregate(ty).ok_or_else(missing)?;
            }
        }
        Ok(u64::from(bits) / 8)
    }

    /// The bit offset and the type of the member called `name`.
    fn member(&self, structure: &Struct, name: &str) -> Option<(u32, Type)> {
        for member in &structure.members {
            let ty = self.0.resolve_chained_type(member).ok()?;
            let member_name = self.0.resolve_name(member).unwrap_or_default();
            if member_name == name {
                return Some((member.bit_offset(), ty));
            }
            if member_name.is_empty()
                && let Some(inner) = self.aggregate(ty)
                && let Some((offset, ty)) = self.member(&inner, name)
            {
                return Some((member.bit_offset() + offset, ty));
            }
        }
        None
    }

    /// The structure or union that `ty` is, behind qualifiers and typedefs.
    fn aggregate(&self, mut ty: Type) -> Option<Struct> {
        loop {
            ty = match ty {
                Type::Struct(found) | Type::Union(found) => return Some(found),
                Type::Typedef(inner) => self.0.resolve_chained_type(&inner).ok()?,
                Type::Const(inner) | Type::Volatile(inner) => {
                    self.0.resolve_chained_type(&inner).ok()?
                }
                _ => return None,
            }
        }
    }
}
