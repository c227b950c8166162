//! Each fact by itself, and what is found out from a given root.

use std::fs;

use auto_ext_core::{CoreScheduling, KernelState};
use auto_ext_policy::Policy;
use auto_ext_scx::process::executable::ProgramError;
use auto_ext_service::file_access::Reader;

use super::facts::{Facts, Tracer, out_of_reach};
use super::findings::shell_word;
use super::*;

#[test]
fn what_is_to_be_typed_is_one_word() {
    assert_eq!(shell_word("lavd-performance"), "lavd-performance");
    assert_eq!(shell_word("scx_flash -m a"), "'scx_flash -m a'");
    assert_eq!(shell_word("it's"), r"'it'\''s'");
}

fn sound() -> Facts {
    Facts {
        root: true,
        kernel: KernelState::Disabled,
        btf: true,
        kernel_config: true,
        release: "7.2.13".into(),
        pressure: true,
        missing_limits: Vec::new(),
        realtime: false,
        core_scheduling: CoreScheduling::Unused,
        isolated_cpus: String::new(),
        isolated_partitions: String::new(),
        function_tracer: Tracer::Ready,
        stolen: 0.0,
        not_built: Vec::new(),
        out_of_reach: Vec::new(),
        policy: Ok(()),
        missing_programs: Vec::new(),
        some_program: true,
        tries: false,
        limited_cgroups: Vec::new(),
        conflicts: Vec::new(),
        daemon: Ok(DaemonFacts::default()),
    }
}

fn weights(facts: &Facts) -> Vec<Weight> {
    judge(facts)
        .into_iter()
        .map(|f| f.weight)
        .filter(|w| *w != Weight::Fine)
        .collect()
}

#[test]
fn a_sound_machine_has_nothing_to_mend() {
    assert_eq!(weights(&sound()), []);
}

#[test]
fn limits_of_cgroups_are_named_and_are_trouble_where_something_is_tried() {
    let named = ["a.slice", "b.slice", "c.slice", "d.slice"].map(str::to_owned);
    let limited = |tries| Facts {
        tries,
        limited_cgroups: named.to_vec(),
        ..sound()
    };
    assert_eq!(weights(&limited(false)), []);
    assert_eq!(weights(&limited(true)), [Weight::Weakens]);
    let findings = judge(&limited(true));
    let says = |text: &str| findings.iter().any(|finding| finding.text.contains(text));
    assert!(says(
        "a.slice, b.slice, c.slice and 1 more; nothing is tried"
    ));
}

#[test]
fn each_missing_capability_is_named_by_itself() {
    let stops: [fn(&mut Facts); 8] = [
        |facts| facts.kernel = KernelState::Unsupported,
        |facts| facts.kernel = KernelState::Unknown("odd".into()),
        |facts| facts.btf = false,
        |facts| facts.realtime = true,
        |facts| facts.core_scheduling = CoreScheduling::Used("vm (process 7)".into()),
        |facts| facts.core_scheduling = CoreScheduling::Unknown("odd".into()),
        |facts| facts.isolated_cpus = "2-3".into(),
        |facts| facts.policy = Err("bad".into()),
    ];
    let weakens: [fn(&mut Facts); 14] = [
        |facts| facts.missing_limits = vec!["no limit for memory".into()],
        |facts| facts.function_tracer = Tracer::Off,
        |facts| facts.function_tracer = Tracer::NotBuilt,
        |facts| facts.not_built = vec!["no CONFIG_A"],
        |facts| facts.out_of_reach = vec!["the service cannot read it".into()],
        |facts| {
            facts.isolated_partitions = "3".into();
            facts.release = "7.0.4-arch1".into();
        },
        |facts| facts.conflicts = vec!["ananicy-cpp runs".into()],
        |facts| facts.kernel_config = false,
        |facts| facts.pressure = false,
        |facts| facts.root = false,
        |facts| facts.daemon = Err("not there".into()),
        |facts| facts.daemon.as_mut().unwrap().foreign = Some("scx_rusty".into()),
        |facts| facts.daemon.as_mut().unwrap().last_error = "bpfland: is gone".into(),
        |facts| facts.missing_programs = vec![ProgramError::NotFound("scx_a".into())],
    ];
    for (changes, weight) in [(&stops[..], Weight::Stops), (&weakens[..], Weight::Weakens)] {
        for (index, change) in changes.iter().enumerate() {
            let mut facts = sound();
            change(&mut facts);
            assert_eq!(weights(&facts), [weight], "{weight:?} {index}");
        }
    }
}

#[test]
fn without_any_scheduler_nothing_can_be_switched() {
    let mut facts = sound();
    facts.some_program = false;
    facts.missing_programs = vec![ProgramError::NotFound("scx_a".into())];
    assert_eq!(weights(&facts), [Weight::Stops, Weight::Weakens]);
}

#[test]
fn facts_come_from_the_given_root() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/sys/kernel/osrelease", "6.18.15\n");
    write("boot/config-6.18.15", "");
    write("sys/kernel/sched_ext/state", "disabled\n");
    write("sys/devices/system/cpu/isolated", "2\n");
    write("sys/fs/cgroup/cpuset.cpus.isolated", "3\n");
    write("proc/sys/kernel/ftrace_enabled", "0\n");
    let facts = gather(
        root.path(),
        &root.path().join("none.yaml"),
        &Reader::service(),
        Ok(DaemonFacts::default()),
    );
    assert_eq!(facts.kernel, KernelState::Disabled);
    assert!(facts.kernel_config && !facts.btf && !facts.pressure && !facts.realtime);
    assert_eq!(facts.isolated_cpus, "2");
    assert_eq!(facts.isolated_partitions, "3");
    assert_eq!(facts.function_tracer, Tracer::Off);
    assert!(facts.policy.is_err());
}

#[test]
fn isolated_partitions_matter_only_to_kernels_that_refuse_schedulers_then() {
    for (release, refuses) in [
        ("6.18.15+deb13-cloud-amd64", false),
        ("7.0.0", true),
        ("7.0-rc4", true),
        ("7.1.0", false),
        ("7.2.13", false),
    ] {
        let mut facts = sound();
        facts.release = release.into();
        facts.isolated_partitions = "3".into();
        assert_eq!(weights(&facts).len(), usize::from(refuses), "{release}");
    }
}

#[test]
fn what_the_service_cannot_reach_is_found_whoever_asks() {
    let text = "version: 1
rules: [{class: idle, use: [kernel]}]
metrics: {textfile: /home/me/auto-ext.prom, listen: /run/auto-ext/metrics.sock}
";
    let policy = Policy::parse("F", text).unwrap();
    let found = out_of_reach(&["/root/p.yaml".into()], Some(&policy), &Reader::service());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("the service cannot read /root/p.yaml"),
        "{found:?}"
    );
    assert!(found[1].contains("/home/me/auto-ext.prom"), "{found:?}");
    assert!(
        found.iter().all(|why| why.contains("ProtectHome")),
        "{found:?}"
    );
}
