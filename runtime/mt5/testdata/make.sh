#!/bin/sh
# Makes the fixtures of this folder again, in a virtual environment of its own (Python 3.11).
#
#   make.sh [--out DIR] [VARIANT ...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/valence/fixtures-venv
if ! cmp -s "$here/requirements.txt" "$venv/requirements.ok"; then
	python3 -m venv --clear "$venv"
	"$venv/bin/pip" install --quiet -r "$here/requirements.txt"
	cp "$here/requirements.txt" "$venv/requirements.ok"
fi
exec "$venv/bin/python" "$here/make.py" "$@"
