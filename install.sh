#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds and installs auto-ext, or removes it; `./install.sh --help` tells the options. In a release that is unpacked,
# where there is nothing to build, it installs what is beside it. What a package has installed it leaves to the package manager.
#
# It touches what it installs, packages of the distribution's package manager and, to build, target/, components of the
# Rust toolchain and ~/.cache/auto-ext. The only downloads are those of the package manager, cargo and rustup. It never starts or enables the service: that is left to the administrator.
# What it has to remember for an upgrade or for --uninstall is in PREFIX/share/auto-ext:
#   policies.yaml      the policy as it was shipped, by which an edited /etc/auto-ext/policies.yaml is recognised
#   policies.schema.json  what a policy may contain, for editors; a policy's first line names it
#   schedulers/NAME    version and checksum of each scheduler it built, so that no other copy is ever replaced or removed
#   directories        the directories it had to create
set -eu
umask 022

src=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
default_schedulers=scx_bpfland,scx_cosmos # the ones policies.yaml uses first
default_binary=''
# A release is installed without a network and without a toolchain.
if [ ! -f "$src/Cargo.toml" ]; then default_schedulers='' default_binary=$src/auto-ext; fi

# The services beside auto-ext.
known_companions=smt,vm

# The scheduler whose sources are beside this; a release that is unpacked has none.
own_scheduler=scx_foresight

# The schedulers that can be built, each with the one version that was tried; of our own, what it is made of.
scheduler_version() {
    if [ "$1" != "$own_scheduler" ]; then
        sed -n "s/^scheduler $1 //p" "$src/packaging/needed" | grep .
    elif is_beside "$1"; then
        checksum "$beside/$1"
    else
        [ -d "$src/foresight" ] && own_sources | sha256sum | cut -d' ' -f1
    fi
}

own_sources() {
    (cd "$src" && find Cargo.toml Cargo.lock foresight foresight-model service -type f | LC_ALL=C sort | xargs cat)
}

known_schedulers() {
    {
        sed -n 's/^scheduler scx_\([^ ]*\) .*/\1/p' "$src/packaging/needed"
        if [ -d "$src/foresight" ]; then echo "${own_scheduler#scx_}"; fi
    } | paste -s -d , | sed 's/,/, /g'
}

usage() {
    cat <<EOF
Usage: ./install.sh [OPTION]...
Build auto-ext and install it on this machine (as root), or remove it.

  --schedulers LIST  schedulers to install if they are missing, separated by commas, or 'none'
                     (default: ${default_schedulers:-none}; with --destdir: none)
                     known: $(known_schedulers)
  --with LIST        services to install beside it, separated by commas, each a program of its own that is not started
                     either; known: $known_companions
  --binary FILE      install this auto-ext binary instead of building one, with the manual pages
                     and completions in the directory 'documents' beside it, where scx_foresight may be too
  --prefix DIR       install below DIR (default: /usr)
  --destdir DIR      stage the same files below DIR; the system stays untouched, root is not needed
  --uninstall        stop the service and remove what was installed (give the same --prefix); keep /etc/auto-ext
                     and /var/lib/auto-ext: your policy, and what is remembered of schedulers that failed
  --purge            with --uninstall: remove these two as well
  -h, --help         show this text

Exit status: 0 done, 1 failed, 2 bad usage.
EOF
}

say() { printf '%s\n' "$*"; }
warn() { printf 'install.sh: %s\n' "$*" >&2; }
die() {
    warn "$*"
    exit 1
}
usage_error() {
    warn "$*"
    warn "try './install.sh --help'"
    exit 2
}

# --- Options ---

absolute() {
    case $1 in
    /*) printf '%s\n' "${1%/}" ;;
    *) printf '%s\n' "$PWD/${1%/}" ;;
    esac
}

parse_options() {
    mode=install purge=no prefix=/usr destdir='' staged=no binary=$default_binary schedulers=default companions=''
    while [ $# -gt 0 ]; do
        case $1 in
        --*=*)
            option=${1%%=*} value=${1#*=}
            shift
            set -- "$option" "$value" "$@"
            takes_value "$option" || usage_error "$option takes no value"
            ;;
        esac
        if takes_value "$1"; then
            [ -n "${2:-}" ] || usage_error "$1 needs a value"
        fi
        case $1 in
        --schedulers) schedulers=$2 ;;
        --with) companions=$(printf '%s' "$2" | tr ',' ' ') ;;
        --binary) binary=$(absolute "$2") ;;
        --prefix) prefix=${2%/} ;;
        --destdir) destdir=$(absolute "$2") staged=yes ;;
        --uninstall) mode=uninstall ;;
        --purge) purge=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) usage_error "unknown argument '$1'" ;;
        esac
        if takes_value "$1"; then shift; fi
        shift
    done
    check_options
}

takes_value() {
    case $1 in
    --schedulers | --with | --binary | --prefix | --destdir) ;;
    *) return 1 ;;
    esac
}

check_options() {
    case $prefix in
    /home/* | /root/* | /root) usage_error "--prefix $prefix: the service does not see home directories" ;;
    /*) ;;
    *) usage_error "--prefix '$prefix': not an absolute path other than /" ;;
    esac
    case $prefix in
    *[!A-Za-z0-9/._+-]*) usage_error "--prefix '$prefix': only letters, digits and /._+- are allowed" ;;
    esac
    if [ "$purge" = yes ] && [ "$mode" = install ]; then usage_error "--purge goes with --uninstall"; fi
    if [ -n "$companions" ] && [ "$mode" = uninstall ]; then usage_error "--uninstall removes all: it takes no --with"; fi
    for name in $companions; do
        case ",$known_companions," in
        *",$name,"*) ;;
        *) usage_error "--with: '$name' is not one of those known here" ;;
        esac
    done

    case $schedulers-$staged in
    default-no) schedulers=$default_schedulers ;;
    none-* | default-yes) schedulers='' ;;
    esac
    beside=''
    if [ -n "$binary" ]; then beside=$(dirname -- "$binary"); fi
    wanted=''
    for name in $(printf '%s' "$schedulers" | tr ',' ' '); do
        name=scx_${name#scx_}
        scheduler_version "$name" >/dev/null || usage_error "--schedulers: '$name' is not one of those known here"
        wanted="$wanted $name"
    done
}

# --- Files: every path is as the installed system sees it; only these functions put $destdir before it ---

make_dir() {
    if [ -d "$destdir$1" ]; then return; fi
    if [ -z "$1" ]; then
        mkdir -p "$destdir"
        return
    fi
    make_dir "${1%/*}"
    mkdir "$destdir$1"
    printf '%s\n' "$1" >>"$work/directories"
}

# put MODE SOURCE TARGET: by rename, so that a target in use is never seen half written. What is there already stays.
put() {
    if [ ! -L "$destdir$3" ] && cmp -s "$2" "$destdir$3" && [ "$(stat -c %a "$destdir$3")" = "$1" ]; then return; fi
    make_dir "${3%/*}"
    install -m "$1" "$2" "$destdir$3.new$$" || return 1
    mv -f "$destdir$3.new$$" "$destdir$3"
}

put_if_present() {
    if [ -f "$2" ]; then put "$@"; fi
}

# put_unit WHOSE UNIT: the system's, or the users'.
put_unit() {
    sed "s|/usr/bin/auto-ext|$prefix/bin/auto-ext|" "$src/systemd/$2" >"$work/unit"
    put 644 "$work/unit" "$prefix/lib/systemd/$1/$2"
}

# put_policy FILE SHARE: an edited policy or configuration is the administrator's: it stays, and the new one goes beside
# it. So does one that is a link.
put_policy() {
    policy=/etc/auto-ext/$1
    shipped=$2/$1
    new=$work/$1
    sed "1s|/usr/share/auto-ext[a-z-]*/|$2/|" "$src/$1" >"$new"
    if [ -L "$destdir$policy" ] || { [ -e "$destdir$policy" ] &&
        ! cmp -s "$destdir$policy" "$new" && ! cmp -s "$destdir$policy" "$destdir$shipped"; }; then
        put 644 "$new" "$policy.new"
        say "Kept your $destdir$policy; the new one is beside it: $destdir$policy.new"
    else
        put 644 "$new" "$policy"
        rm -f "$destdir$policy.new"
    fi
    put 644 "$new" "$shipped"
}

# put_schema PROGRAM SCHEMA: only the program itself knows it. Nothing but editors wants it, so a binary that cannot run
# here, as one for another machine, is no reason to stop.
put_schema() {
    if "$destdir$prefix/bin/$1" check --schema >"$work/schema"; then
        put 644 "$work/schema" "$2"
    else
        rm -f "$destdir$2"
        warn "$destdir$prefix/bin/$1 does not run here: editors will not know what its file in /etc may contain"
    fi
}

# documents_of PROGRAM: manual pages and completions, as they are below share/. Debian's zsh does not look into
# site-functions, all others do.
documents_of() {
    cat <<EOF
man/man1/$1.1
bash-completion/completions/$1
fish/vendor_completions.d/$1.fish
zsh/site-functions/_$1
zsh/vendor-completions/_$1
EOF
    if [ "$1" = auto-ext ]; then echo man/man5/auto-ext-policies.5; fi
    if [ "$1" != "$own_scheduler" ]; then return; fi
    for subcommand in run collect train export stats why; do echo "man/man1/$1-$subcommand.1"; done
}

# put_documents PROGRAM: the build makes them beside the binary.
put_documents() {
    directory=$(dirname -- "$binary")/documents
    if [ ! -d "$directory" ]; then
        warn "there is no $directory: $1 is installed without manual pages and completions"
        return
    fi
    for file in $(documents_of "$1"); do
        put 644 "$directory/$file" "$prefix/share/$file" || return 1
    done
}

put_all() {
    put 755 "$binary" "$prefix/bin/auto-ext"
    put_documents auto-ext
    put_unit system auto-ext.service
    put_unit user auto-ext-notify.service
    put_unit user auto-ext-gamemode.service
    put 644 "$src/systemd/org.autoext.AutoExt1.conf" /usr/share/dbus-1/system.d/org.autoext.AutoExt1.conf
    put 644 "$src/systemd/org.autoext.AutoExt1.policy" /usr/share/polkit-1/actions/org.autoext.AutoExt1.policy
    put 644 "$src/systemd/scx_loader.conf" "$prefix/lib/systemd/system/scx_loader.service.d/50-auto-ext.conf"
    put_policy policies.yaml "$share"
    put_schema auto-ext "$share/policies.schema.json"
    put_if_present 644 "$src/README.md" "$prefix/share/doc/auto-ext/README.md"
    put_if_present 644 "$src/docs/manual.md" "$prefix/share/doc/auto-ext/manual.md"
    put_if_present 644 "$src/CHANGELOG.md" "$prefix/share/doc/auto-ext/CHANGELOG.md"
    put_if_present 644 "$src/LICENSE" "$prefix/share/doc/auto-ext/LICENSE"
    # Packages and archives have it, who builds from the sources gets them with their notices.
    notices=third-party-notices.txt
    put_if_present 644 "$(dirname -- "$binary")/$notices" "$prefix/share/doc/auto-ext/$notices"
    for name in $companions; do put_companion "$name"; done
}

# put_companion NAME: the program auto-ext-NAME, which is beside the binary.
put_companion() {
    program=auto-ext-$1
    bus=$(bus_name "$1")
    put 755 "$(dirname -- "$binary")/$program" "$prefix/bin/$program"
    put_documents "$program"
    put_unit system "$program.service"
    put 644 "$src/systemd/$bus.conf" "/usr/share/dbus-1/system.d/$bus.conf"
    put 644 "$src/systemd/$bus.policy" "/usr/share/polkit-1/actions/$bus.policy"
    put_policy "$1.yaml" "$prefix/share/$program"
    put_schema "$program" "$prefix/share/$program/$1.schema.json"
    put_if_present 644 "$(dirname -- "$binary")/$notices" "$prefix/share/doc/$program/$notices"
}

bus_name() {
    case $1 in
    smt) echo org.autoext.Smt1 ;;
    vm) echo org.autoext.Vm1 ;;
    esac
}

# Adds the directories created this time to those of earlier runs.
put_directories() {
    make_dir "$share"
    if [ ! -s "$work/directories" ]; then return; fi
    if [ -f "$destdir$share/directories" ]; then cat "$destdir$share/directories" >>"$work/directories"; fi
    sort -u "$work/directories" >"$work/directories.sorted"
    put 644 "$work/directories.sorted" "$share/directories"
}

# --- What a package has installed is the package's ---

# What only one of the two can have. Not the policy: a package that was removed still owns an edited one.
program_files() {
    cat <<END
$prefix/bin/auto-ext
$prefix/lib/systemd/system/auto-ext.service
/lib/systemd/system/auto-ext.service
$prefix/lib/systemd/user/auto-ext-notify.service
$prefix/lib/systemd/user/auto-ext-gamemode.service
/usr/share/dbus-1/system.d/org.autoext.AutoExt1.conf
/usr/share/polkit-1/actions/org.autoext.AutoExt1.policy
$prefix/lib/systemd/system/scx_loader.service.d/50-auto-ext.conf
$share/policies.yaml
END
    for name in $companions; do companion_files "$name"; done
}

# companion_files NAME: what only one of the two can have of it.
companion_files() {
    cat <<END
$prefix/bin/auto-ext-$1
$prefix/lib/systemd/system/auto-ext-$1.service
/usr/share/dbus-1/system.d/$(bus_name "$1").conf
/usr/share/polkit-1/actions/$(bus_name "$1").policy
END
}

# Those that were installed here, and not by a package of their own.
installed_companions() {
    for name in $(printf '%s' "$known_companions" | tr ',' ' '); do
        if ! [ -e "$destdir$prefix/bin/auto-ext-$name" ]; then continue; fi
        if [ "$staged" = yes ] || ! owner_of "$prefix/bin/auto-ext-$name" >/dev/null; then echo "$name"; fi
    done
}

# owner_of FILE: prints the package that owns it and the command that removes that, or fails. A system may have the
# tools of more than one package manager.
owner_of() {
    if command -v dpkg-query >/dev/null; then
        owner=$(LC_ALL=C dpkg-query --search "$1" 2>/dev/null | sed -n '/^diversion /d; s/[:,].*//p' | head -n 1)
        if [ -n "$owner" ]; then
            echo "$owner" "apt remove $owner"
            return
        fi
    fi
    if command -v rpm >/dev/null && owner=$(rpm --query --queryformat '%{NAME}\n' --file "$1" 2>/dev/null); then
        owner=$(printf '%s\n' "$owner" | head -n 1) remove='rpm --erase'
        if command -v zypper >/dev/null; then remove='zypper remove'; fi
        if command -v dnf >/dev/null; then remove='dnf remove'; fi
        echo "$owner" "$remove $owner"
        return
    fi
    if command -v pacman >/dev/null && owner=$(pacman -Qqo "$1" 2>/dev/null); then
        owner=$(printf '%s\n' "$owner" | head -n 1)
        echo "$owner" "pacman -R $owner"
        return
    fi
    return 1
}

# Ends this when a package owns any of the files: dpkg and rpm would overwrite or miss what is changed behind their back.
require_no_package() {
    if [ "$staged" = yes ]; then return; fi
    for file in $(program_files); do
        if ! [ -e "$file" ] || ! owner=$(owner_of "$file"); then continue; fi
        warn "$file belongs to the package ${owner%% *}; nothing was changed."
        case $mode in
        install) die "Upgrade that package, or remove it (${owner#* }) and run this again." ;;
        uninstall) die "Remove that package: ${owner#* }" ;;
        esac
    done
}

# --- The build: run by the user who called sudo if the sources are theirs, with their toolchain; nothing becomes root's ---

find_builder() {
    builder='' build_home=${HOME:-/root}
    if [ "$(id -u)" = 0 ] && [ "${SUDO_USER:-root}" != root ] && [ "$(stat -c %U "$src")" = "$SUDO_USER" ]; then
        builder=$SUDO_USER
        build_home=$(getent passwd "$builder" | cut -d: -f6)
        chown "$builder" "$work/build"
    fi
}

as_builder() {
    set -- env "HOME=$build_home" "PATH=$build_home/.cargo/bin:$PATH" "$@"
    if [ -n "$builder" ]; then set -- runuser -u "$builder" -- "$@"; fi
    "$@"
}

builder_has() { as_builder sh -c "command -v $1" >/dev/null 2>&1; }

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

require_rust() {
    needed=''
    if [ -f "$src/Cargo.toml" ]; then needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$src/Cargo.toml"); fi
    found=$(as_builder rustc --version 2>/dev/null | cut -d' ' -f2) || found=''
    if builder_has cargo && [ -n "$found" ] && at_least "$found" "$needed"; then return; fi
    warn "Rust${needed:+ $needed or newer} is needed to build, found: ${found:-none}."
    warn "Get it with rustup: install your distribution's package 'rustup' (Debian 13, Ubuntu 24.04 and later,"
    warn "Fedora, Arch, openSUSE), run 'rustup default ${needed:-stable}' (Fedora: rustup-init --default-toolchain ${needed:-stable}), then run this again."
    warn "Where there is no such package, the Rust project's site tells how to get rustup."
    die "nothing was changed. (--binary FILE and --schedulers none need no Rust.)"
}

build_auto_ext() {
    llvm=$(rustc_llvm)
    for dir in "/usr/lib/llvm-$llvm" "/usr/lib64/llvm$llvm" "/usr/lib/llvm$llvm"; do
        if [ -z "${LLVM_PREFIX:-}" ] && [ -d "$dir/lib" ]; then export LLVM_PREFIX="$dir"; fi
    done
    if builder_has bpf-linker; then AUTO_EXT_BPF_LINKER=$(as_builder sh -c 'command -v bpf-linker') && export AUTO_EXT_BPF_LINKER; fi
    say "Building auto-ext (a few minutes)..."
    (cd "$src" && as_builder env "CARGO_TARGET_DIR=$src/target" cargo xtask build) || die "the build failed; nothing was installed"
    binary=$src/target/release/auto-ext
    [ -f "$binary" ] || die "the build left no $binary; nothing was installed"
}

# The BPF programs' own copy of Rust's library is built. Where there is rustup, cargo xtask has it fetch the sources.
has_rust_src() {
    builder_has rustup || [ -d "$(as_builder rustc --print sysroot)/lib/rustlib/src/rust/library" ]
}

# bpf-linker must be built with the LLVM that rustc has.
rustc_llvm() { as_builder rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }

# --- Packages ---

find_package_manager() {
    pm=''
    # shellcheck source=/dev/null
    ids=$(. /etc/os-release 2>/dev/null && printf '%s' "${ID:-} ${ID_LIKE:-}") || ids=''
    case " $ids " in
    *debian* | *ubuntu*) pm=apt-get ;;
    *fedora* | *rhel*) pm=dnf ;;
    *suse*) pm=zypper ;;
    *arch*) pm=pacman ;;
    esac
    if ! command -v "${pm:-none}" >/dev/null; then pm=''; fi
}

# On a new system apt knows no package at all before its first update; the others fetch their lists by themselves.
refresh_package_lists() {
    if [ "$pm" = apt-get ]; then apt-get -qq update || warn "apt-get update failed; going on with the lists that are there"; fi
}

has_package() {
    case $pm in
    apt-get) apt-cache show "$1" ;;
    dnf) dnf --quiet repoquery "$1" | grep . ;;
    zypper) zypper --non-interactive --quiet search --match-exact "$1" ;;
    pacman) pacman -Si "$1" ;;
    *) false ;;
    esac >/dev/null 2>&1
}

first_package() {
    for candidate; do
        if has_package "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

install_packages() {
    if [ $# = 0 ]; then return; fi
    say "Installing packages: $*"
    case $pm in
    apt-get) DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" ;;
    dnf) dnf install -y "$@" ;;
    zypper) zypper --non-interactive install "$@" ;;
    pacman) pacman -S --needed --noconfirm "$@" ;;
    esac
}

# packages_for WHAT: as packaging/needed names them. Only those are looked up that this release may not have.
packages_for() {
    llvm=$(rustc_llvm)
    listed=$(sed -n "s/^packages $1 $pm //p" "$src/packaging/needed")
    for names in $listed; do
        case $names in
        *LLVM* | *'|'*)
            # shellcheck disable=SC2046 # a list of package names
            first_package $(printf '%s' "$names" | sed "s/LLVM/$llvm/g; s/|/ /g") || return 1
            ;;
        *) echo "$names" ;;
        esac
    done
}

packages_for_auto_ext() {
    packages_for auto-ext
    if ! has_rust_src; then first_package rust-src || true; fi
    if ! builder_has bpf-linker; then packages_for bpf-linker || no_package_of_llvm; fi
}

# Rust's newest release can be ahead of a distribution's LLVM.
no_package_of_llvm() {
    warn "bpf-linker needs LLVM $llvm with Rust $found, and this distribution has no package of it for development."
    warn "Run 'rustup toolchain install $needed', whose LLVM is older, and then this again with RUSTUP_TOOLCHAIN=$needed,"
    die "or install bpf-linker another way; nothing was installed."
}

# The distribution's package of the schedulers, where it is known to have one.
scheduler_package() {
    own=$(sed -n "s/^scx $pm //p" "$src/packaging/needed")
    [ -n "$own" ] && first_package "$own"
}

# --- Schedulers ---

# Looks where the service looks, not in the caller's PATH.
scheduler_path() {
    for dir in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin; do
        if [ -x "$destdir$dir/$1" ]; then
            printf '%s\n' "$dir/$1"
            return
        fi
    done
    return 1
}

checksum() { sha256sum <"$1" | cut -d' ' -f1; }

# Whether the program is the very file that an earlier run built.
scheduler_is_ours() {
    [ -f "$destdir$programs/$1" ] && [ -f "$destdir$share/schedulers/$1" ] &&
        [ "$(cut -d' ' -f2 "$destdir$share/schedulers/$1")" = "$(checksum "$destdir$programs/$1")" ]
}

# Whether it need not be built: it is beside the binary that is installed.
is_beside() { [ "$1" = "$own_scheduler" ] && [ -n "$beside" ] && [ -f "$beside/$1" ]; }

# needs_build SCHEDULER...: prints those that are not there to be copied.
needs_build() {
    for name in "$@"; do
        is_beside "$name" || echo "$name"
    done
}

# Prints those of the wanted schedulers that are not installed, or are ours and of another version.
missing_schedulers() {
    for name in $wanted; do
        version=$(scheduler_version "$name")
        if ! path=$(scheduler_path "$name"); then
            echo "$name"
        elif scheduler_is_ours "$name" && [ "$(cut -d' ' -f1 "$destdir$share/schedulers/$name")" != "$version" ]; then
            echo "$name"
        else
            say "$name is already installed: $path" >&2
        fi
    done
}

find_clang() {
    for clang in ${BPF_CLANG:-clang clang-22 clang-21 clang-20 clang-19 clang-18}; do
        version=$("$clang" --version 2>/dev/null | sed -n 's/.*clang version \([0-9.]*\).*/\1/p') || continue
        if [ -n "$version" ] && at_least "$version" 18; then
            echo "$clang"
            return
        fi
    done
    warn "no clang 18 or newer found"
    return 1
}

# Beside the schedulers of others, which are binaries alone, ours has manual pages, where it was built for a package.
install_scheduler() {
    version=$(scheduler_version "$1")
    if is_beside "$1"; then
        built=$beside/$1
        put_documents "$1" || return 1
        put_if_present 644 "$beside/$notices" "$prefix/share/doc/scx-foresight/$notices"
    else
        built=$work/build/root/bin/$1
        build_scheduler "$1" || return 1
    fi
    printf '%s %s\n' "$version" "$(checksum "$built")" >"$work/record"
    put 755 "$built" "$programs/$1" && put 644 "$work/record" "$share/schedulers/$1"
}

build_scheduler() {
    case $1 in
    "$own_scheduler") set -- "$1" --path "$src/foresight" ;;
    *) set -- "$1" "$1@$version" ;;
    esac
    say "Building $1 (a few minutes)..."
    shift
    clang=$(find_clang) || return 1
    (cd "$work/build" && as_builder env "BPF_CLANG=$clang" "CARGO_TARGET_DIR=$work/build/target" \
        cargo install --locked --root "$work/build/root" "$@")
}

# --- The whole ---

systemd_runs() { [ "$staged" = no ] && [ -d /run/systemd/system ]; }

# As systemd tells for ConditionVirtualization=!container, which the unit has; without it, by what containers leave.
in_container() {
    if command -v systemd-detect-virt >/dev/null; then
        systemd-detect-virt --container --quiet
    else
        [ -e /run/systemd/container ] || [ -e /run/.containerenv ] || [ -e /.dockerenv ] ||
            tr '\0' '\n' </proc/1/environ 2>/dev/null | grep -q '^container='
    fi
}

reload_system() {
    if ! systemd_runs; then return; fi
    systemctl daemon-reload
    systemctl reload dbus.service 2>/dev/null || warn "the D-Bus configuration could not be reloaded; it is read at the next boot"
}

require_root() {
    if [ "$staged" = no ] && [ "$(id -u)" != 0 ]; then die "needs root (or --destdir DIR to stage the files); nothing was changed"; fi
}

require_sources() {
    for file in policies.yaml systemd/auto-ext.service systemd/auto-ext-notify.service systemd/auto-ext-gamemode.service packaging/needed; do
        [ -f "$src/$file" ] || die "$src/$file is missing; nothing was changed"
    done
    if [ -n "$binary" ] && [ ! -f "$binary" ]; then die "there is no file $binary; nothing was changed"; fi
    for name in $companions; do
        for file in "$name.yaml" "systemd/auto-ext-$name.service"; do
            [ -f "$src/$file" ] || die "$src/$file is missing; nothing was changed"
        done
        beside=$(dirname -- "$binary")/auto-ext-$name
        if [ -n "$binary" ] && [ ! -f "$beside" ]; then die "there is no file $beside; nothing was changed"; fi
    done
}

install_all() {
    require_sources
    require_no_package
    missing=$(missing_schedulers)
    # shellcheck disable=SC2086 # a list of names
    build=$(needs_build $missing)
    pm=''
    if [ "$staged" = no ] && { [ -z "$binary" ] || [ -n "$build" ]; }; then find_package_manager; fi
    package=''
    # No distribution has ours.
    if [ -n "$build" ] && [ "$build" != "$own_scheduler" ]; then package=$(scheduler_package) || package=''; fi
    if [ -z "$binary" ] || { [ -n "$build" ] && [ -z "$package" ]; }; then require_rust; fi

    if [ -n "$pm" ]; then install_dependencies; fi
    if [ -z "$binary" ]; then build_auto_ext; fi
    put_all
    failed=''
    for name in $missing; do
        install_scheduler "$name" || failed="$failed $name"
    done
    put_directories
    reload_system
    report
    if [ -n "$failed" ]; then die "auto-ext is installed, but these schedulers could not be built:$failed"; fi
}

install_dependencies() {
    refresh_package_lists
    packages=''
    if [ -z "$binary" ]; then packages=$(packages_for_auto_ext); fi
    if [ -n "$package" ]; then
        install_packages "$package"
        missing=$(missing_schedulers)
        # shellcheck disable=SC2086 # a list of names
        build=$(needs_build $missing)
    fi
    if [ -n "$build" ]; then packages="$packages $(packages_for schedulers)"; fi
    # shellcheck disable=SC2086 # a list of package names
    install_packages $packages
}

report() {
    if [ "$staged" = yes ]; then
        say "auto-ext is staged in $destdir"
        return
    fi
    auto_ext=auto-ext unit=auto-ext
    case $prefix in
    /usr | /usr/local) ;;
    *) auto_ext=$prefix/bin/auto-ext unit=$prefix/lib/systemd/system/auto-ext.service ;;
    esac
    say "auto-ext is installed."
    if [ ! -d /sys/kernel/sched_ext ]; then
        say "This kernel ($(uname -r)) has no sched_ext (/sys/kernel/sched_ext is missing): no scheduler can be loaded and the kernel's own keeps running;" \
            "auto-ext can only watch. Switching needs a kernel with CONFIG_SCHED_CLASS_EXT; Linux 6.18 and newer are tried."
    fi
    if [ ! -e /sys/kernel/btf/vmlinux ]; then
        say "This kernel has no BTF (CONFIG_DEBUG_INFO_BTF): neither the profiler nor any scheduler can be loaded."
    fi
    if in_container; then
        say "This is a container, where the service does not start: the scheduler is that of the whole machine, so install" \
            "auto-ext on the host."
    elif ! systemd_runs; then
        say "systemd does not run here, so there is no service: let your init system run '$auto_ext daemon' as root."
    elif systemctl is-active --quiet auto-ext.service; then
        say "The service still runs as it was started; to use what was just installed: systemctl restart auto-ext"
    else
        say "Next, start it now and at every boot:  systemctl enable --now $unit"
    fi
    say "What may stop or weaken it here:       $auto_ext doctor"
    say "What the machine is doing:             $auto_ext levels"
    for name in $companions; do
        say "Beside it, auto-ext-$name is installed, which changes nothing before /etc/auto-ext/$name.yaml says so:" \
            "systemctl enable --now auto-ext-$name"
    done
}

# remove_companion NAME
remove_companion() {
    if systemd_runs && systemctl cat "auto-ext-$1.service" >/dev/null 2>&1; then
        systemctl disable --now "auto-ext-$1.service" || die "auto-ext-$1 could not be stopped; nothing was removed"
        systemctl reset-failed "auto-ext-$1.service" 2>/dev/null || true
    fi
    for file in $(companion_files "$1"); do rm -f "$destdir$file"; done
    for file in $(documents_of "auto-ext-$1"); do rm -f "$destdir$prefix/share/$file"; done
    rm -rf "$destdir$prefix/share/auto-ext-$1" "$destdir$prefix/share/doc/auto-ext-$1" "$destdir/run/auto-ext-$1"
    if [ "$purge" = yes ]; then rm -rf "$destdir/var/lib/auto-ext-$1"; fi
}

uninstall_all() {
    companions=$(installed_companions)
    require_no_package
    for name in $companions; do remove_companion "$name"; done
    if systemd_runs && systemctl cat auto-ext.service >/dev/null 2>&1; then
        systemctl disable --now auto-ext.service || die "the service could not be stopped; nothing was removed"
        systemctl reset-failed auto-ext.service 2>/dev/null || true
    fi
    for record in "$destdir$share/schedulers"/*; do
        name=${record##*/}
        if ! scheduler_is_ours "$name"; then continue; fi
        rm -f "$destdir$programs/$name"
        if [ "$name" = "$own_scheduler" ]; then
            for file in $(documents_of "$name"); do rm -f "$destdir$prefix/share/$file"; done
            rm -rf "$destdir$prefix/share/doc/scx-foresight"
        fi
    done
    if [ -f "$destdir$share/directories" ]; then cp "$destdir$share/directories" "$work/directories"; fi
    rm -f "$destdir$prefix/bin/auto-ext" \
        "$destdir$prefix/lib/systemd/system/auto-ext.service" \
        "$destdir$prefix/lib/systemd/system/scx_loader.service.d/50-auto-ext.conf" \
        "$destdir$prefix/lib/systemd/user/auto-ext-notify.service" \
        "$destdir$prefix/lib/systemd/user/auto-ext-gamemode.service" \
        "$destdir/usr/share/dbus-1/system.d/org.autoext.AutoExt1.conf" \
        "$destdir/usr/share/polkit-1/actions/org.autoext.AutoExt1.policy"
    for file in $(documents_of auto-ext); do rm -f "$destdir$prefix/share/$file"; done
    rm -rf "$destdir$share" "$destdir$prefix/share/doc/auto-ext" "$destdir/run/auto-ext"
    if [ "$purge" = yes ]; then rm -rf "$destdir/etc/auto-ext" "$destdir/var/lib/auto-ext"; fi
    # The schedulers' statistics sockets, unless one of somebody else's is running.
    case $(cat "$destdir/sys/kernel/sched_ext/state" 2>/dev/null) in
    disabled | '') rm -rf "$destdir/run/scx" ;;
    esac
    remove_directories
    reload_system
    say "auto-ext is removed."
    for dir in /etc/auto-ext /var/lib/auto-ext; do
        if [ -d "$destdir$dir" ]; then say "Kept: $destdir$dir (--uninstall --purge removes it)"; fi
    done
    if [ "$staged" = no ]; then say "Packages that were installed to build or run it stay; your package manager removes them."; fi
}

# Deepest first; those that others use by now are not empty and stay.
remove_directories() {
    if [ ! -f "$work/directories" ]; then return; fi
    sort -r "$work/directories" | while IFS= read -r dir; do
        rmdir "$destdir$dir" 2>/dev/null || true
    done
}

main() {
    parse_options "$@"
    share=$prefix/share/auto-ext
    # Where the service looks for schedulers.
    case $prefix in
    /usr | /usr/local) programs=$prefix/bin ;;
    *) programs=/usr/local/bin ;;
    esac
    require_root
    # Not in /tmp: the schedulers' build takes gigabytes, and /tmp may be memory.
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/auto-ext.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$work/build"
    chmod 711 "$work"
    find_builder
    case $mode in
    install) install_all ;;
    uninstall) uninstall_all ;;
    esac
}

main "$@"
