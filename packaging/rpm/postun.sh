# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-only
# $1: how many versions of the package are left; an upgrade leaves one.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # Only what is running.
    if [ "$1" != 0 ]; then systemctl try-restart auto-ext.service || :; fi
fi
if [ "$1" = 0 ]; then
    # /var/lib/auto-ext stays, as the policy does when it was edited: rpm has no way to say that they are to go too.
    # In affinity the services beside it say whose processes are.
    if [ -d /run/auto-ext ]; then
        find /run/auto-ext -mindepth 1 -maxdepth 1 ! -name affinity -exec rm -rf {} +
        rmdir --ignore-fail-on-non-empty /run/auto-ext
    fi
    # The schedulers' statistics sockets, unless one of somebody else's is running.
    case $(cat /sys/kernel/sched_ext/state 2>/dev/null) in
    disabled | '') rm -rf /run/scx ;;
    esac
    # rpm removes the files only: cargo-generate-rpm gives it no directories. The last is Debian's, others have none.
    for directory in /etc/auto-ext /usr/share/auto-ext /usr/share/doc/auto-ext /usr/share/zsh/vendor-completions \
        /usr/lib/systemd/system/scx_loader.service.d; do
        rmdir "$directory" 2>/dev/null || :
    done
fi
