# Install the named programs if they are missing: `program`, or `program=package` where the names differ. Called by the Makefile.
# No service of theirs is started, neither now nor with the next start of the machine.
set -eu

missing=""
for program in "$@"; do
    command -v "${program%%=*}" >/dev/null || missing="$missing ${program#*=}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing:$missing; there is no apt-get here, so install them yourself and try again" >&2
    exit 1
elif [ "$(id -u)" = 0 ]; then
    as=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as="sudo -n"
else
    echo "missing:$missing; run as root or with sudo: apt-get install$missing" >&2
    exit 1
fi
echo "installing:$missing"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    # Debian's packages ask this file before they start anything; 101 means no.
    trap '$as rm -f -- "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' | $as tee "$policy" >/dev/null
    $as chmod 755 "$policy"
fi
# The words of $as and $missing are meant to be split.
$as apt-get update -qq </dev/null || echo "apt-get update failed; trying with the lists that are here" >&2
$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null
if command -v systemctl >/dev/null; then
    for package in $missing; do
        if [ -e "/lib/systemd/system/$package.service" ]; then
            $as systemctl disable --quiet "$package.service" </dev/null || echo "$package.service may start with the machine" >&2
        fi
    done
fi
