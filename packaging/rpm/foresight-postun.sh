# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-only
# $1: how many versions of the package are left; an upgrade leaves one.
if [ "$1" = 0 ]; then
    # rpm removes the files only: cargo-generate-rpm gives it no directories. The last is Debian's, others have none.
    for directory in /usr/share/doc/scx-foresight /usr/share/zsh/vendor-completions; do
        rmdir "$directory" 2>/dev/null || :
    done
fi
