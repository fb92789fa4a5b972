# Install the named programs if they are missing: `program`, or `program=package` where the names differ. Called by the Makefile.
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
# The words of $as and $missing are meant to be split.
$as apt-get update -qq </dev/null || echo "apt-get update failed; trying with the lists that are here" >&2
$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null
