//! Owns what small virtual machines are made of, whether libvirt runs them or QEMU alone.

/// What each has, in MiB.
pub(super) const MEMORY: u64 = 320;

/// The CPUs that any of them may run on, so that as many pins are needed on whatever machine this is.
pub(super) const CPUS: &str = "0-1";

/// What all are started with: a kernel that boots fast where it is emulated.
const KERNEL: &str = "console=ttyS0 quiet panic=-1 no_timer_check nokaslr mitigations=off";

/// A virtual machine.
#[derive(Clone, Copy)]
pub(super) struct Guest {
    pub(super) name: &'static str,
    /// libvirt runs it.
    pub(super) is_libvirts: bool,
    /// It has a balloon.
    balloon: bool,
    /// Its kernel has a driver for that.
    driver: bool,
    /// How many vCPUs can be plugged into it beside its first.
    spare_vcpus: u32,
}

impl Guest {
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            is_libvirts: true,
            balloon: true,
            driver: true,
            spare_vcpus: 0,
        }
    }

    pub(super) const fn of_qemu_alone(name: &'static str) -> Self {
        Self {
            is_libvirts: false,
            ..Self::new(name)
        }
    }

    pub(super) const fn without_balloon(name: &'static str) -> Self {
        Self {
            balloon: false,
            ..Self::new(name)
        }
    }

    pub(super) const fn without_driver(name: &'static str) -> Self {
        Self {
            driver: false,
            ..Self::new(name)
        }
    }

    pub(super) const fn with_spare_vcpu(name: &'static str) -> Self {
        Self {
            spare_vcpus: 1,
            ..Self::new(name)
        }
    }

    fn kernel_command(&self) -> String {
        let driver = if self.driver {
            ""
        } else {
            " without_balloon_driver"
        };
        format!("{KERNEL}{driver}")
    }

    /// As libvirt takes it.
    pub(super) fn definition(&self) -> String {
        let Self { name, .. } = self;
        let vcpus = 1 + self.spare_vcpus;
        let balloon = if self.balloon { "virtio" } else { "none" };
        let command = self.kernel_command();
        format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>{MEMORY}</memory>
<vcpu cpuset='{CPUS}' current='1'>{vcpus}</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type>
<kernel>/guests/vmlinuz</kernel><initrd>/guests/initramfs</initrd><cmdline>{command}</cmdline></os>
<features><acpi/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features>
<on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
<devices><controller type='usb' model='none'/><memballoon model='{balloon}'/>
<serial type='unix'><source mode='bind' path='/run/{name}.sock'/><log file='/guests/{name}.log'/></serial>
</devices></domain>
"
        )
    }

    /// As QEMU alone takes it: the same, as important as those of libvirt, with a QMP socket in /guests/qmp. It was given no UUID, and its
    /// threads have their usual names.
    pub(super) fn command(&self) -> String {
        let Self { name, .. } = self;
        let command = self.kernel_command();
        format!(
            "renice -n 0 -p $$ >/dev/null && taskset --cpu-list {CPUS} qemu-system-x86_64 -name guest={name},debug-threads=on -machine pc -nodefaults -no-user-config \
             -display none -no-reboot -accel tcg,thread=multi,tb-size=32 -m {MEMORY} -smp 1 \
             -kernel /guests/vmlinuz -initrd /guests/initramfs -append '{command}' -device virtio-balloon-pci \
             -chardev socket,id=serial,path=/run/{name}.sock,server=on,wait=off,logfile=/guests/{name}.log -serial chardev:serial \
             -qmp unix:/guests/qmp/{name}.sock,server=on,wait=off -pidfile /guests/{name}.pid -daemonize"
        )
    }
}
