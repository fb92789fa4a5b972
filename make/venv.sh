# Make .venv with the first Python here that is new enough. Called by the Makefile.
set -eu

for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        if "$python" -m venv .venv; then
            exit 0
        fi
        echo "$python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
done
echo "no Python 3.11 or newer was found; name one with: make PYTHON=/path/to/python3 ..." >&2
exit 1
