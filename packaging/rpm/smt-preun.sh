# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-only
# $1: how many versions of the package are left; an upgrade leaves one.
if [ "$1" = 0 ] && [ -d /run/systemd/system ]; then systemctl --no-reload disable --now auto-ext-smt.service || :; fi
