# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-only
# Starting and enabling it is left to the administrator.
if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
