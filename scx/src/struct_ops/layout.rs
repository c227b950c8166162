//! Where in a map's value is what, if it is that of a scheduler's operations: as the kernel's own types say.

use auto_ext_service::kernel_types::KernelTypes;

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

/// One for each kind of scheduler that this kernel knows.
pub(super) fn layouts(types: &KernelTypes) -> Vec<Layout> {
    let layouts = SCHEDULERS.map(|operations| layout(types, operations));
    layouts.into_iter().flatten().collect()
}

fn layout(types: &KernelTypes, operations: &str) -> Option<Layout> {
    let value = format!("{VALUE}{operations}");
    let data = types.offset(&value, "data")?;
    let of = |member| {
        let offset = data.checked_add(types.offset(operations, member)?)?;
        usize::try_from(offset).ok()
    };
    Some(Layout {
        value: types.structure(&value)?,
        name: of("name")?,
        sub_cgroup: of("sub_cgroup_id"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Structures with their members and the offsets of these in bytes, as a kernel would show them.
    fn kernel(structures: &[(&str, &[(&str, u32)])]) -> KernelTypes {
        const STRUCT: u32 = 4;
        let (mut types, mut names) = (Vec::new(), vec![0]);
        let mut name = |text: &str| {
            let at = u32::try_from(names.len()).unwrap();
            names.extend(text.bytes().chain([0]));
            at
        };
        for (structure, members) in structures {
            let count = u32::try_from(members.len()).unwrap();
            types.extend([name(structure), STRUCT << 24 | count, 0]);
            for (member, bytes) in *members {
                types.extend([name(member), 1, bytes * 8]);
            }
        }
        let bytes = |numbers: &[u32]| -> Vec<u8> {
            numbers
                .iter()
                .flat_map(|number| number.to_ne_bytes())
                .collect()
        };
        let types = bytes(&types);
        let [types_length, names_length] =
            [types.len(), names.len()].map(|length| u32::try_from(length).unwrap());
        let header = [24, 0, types_length, types_length, names_length];
        let magic = 0xeb9f_u16.to_ne_bytes();
        let file = [&magic[..], &[1, 0], &bytes(&header), &types, &names].concat();
        KernelTypes::parse(file).unwrap()
    }

    #[test]
    fn the_value_of_a_scheduler_and_what_is_in_it_are_found() {
        let members = [("init", 0), ("sub_cgroup_id", 300), ("name", 308)];
        let value = [("common", 0), ("data", 64)];
        let types = kernel(&[
            ("tcp_congestion_ops", &[("name", 96)]),
            ("bpf_struct_ops_tcp_congestion_ops", &[("data", 64)]),
            ("sched_ext_ops", &members),
            ("bpf_struct_ops_sched_ext_ops", &value),
            ("bpf_struct_ops_sched_ext_ops", &value),
        ]);
        let layout = Layout {
            value: 4,
            name: 372,
            sub_cgroup: Some(364),
        };
        assert_eq!(layouts(&types), [layout]);
    }

    #[test]
    fn a_kernel_that_knows_no_sub_schedulers_has_no_place_for_their_cgroup() {
        let types = kernel(&[
            ("sched_ext_ops", &[("name", 8)]),
            ("bpf_struct_ops_sched_ext_ops", &[("data", 64)]),
        ]);
        let found = layouts(&types);
        assert_eq!((found[0].name, found[0].sub_cgroup), (72, None));
    }

    #[test]
    fn a_kernel_without_schedulers_has_none() {
        assert_eq!(layouts(&kernel(&[])), []);
    }
}
