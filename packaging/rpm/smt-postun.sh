# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-only
# $1: how many versions of the package are left; an upgrade leaves one.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    # Only what is running.
    if [ "$1" != 0 ]; then systemctl try-restart auto-ext-smt.service || :; fi
fi
if [ "$1" = 0 ]; then
    # /var/lib/auto-ext-smt stays, as the configuration does when it was edited: rpm has no way to say that they are to go too.
    rm -rf /run/auto-ext-smt
    # rpm removes the files only: cargo-generate-rpm gives it no directories. The last is Debian's, others have none.
    for directory in /etc/auto-ext /usr/share/auto-ext-smt /usr/share/doc/auto-ext-smt /usr/share/zsh/vendor-completions; do
        rmdir "$directory" 2>/dev/null || :
    done
fi
