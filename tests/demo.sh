#!/bin/sh
# The walk of README.md, with curl, against the services that run on their default ports.
#
# There is no second copy of the walk: its steps are read from the file. Accounts and keys get new
# ids, so that it can be walked again on the same databases; the positions in the text are those of a
# fresh one.
set -eu
cd "$(dirname "$0")/.."

fresh=$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
steps=$(mktemp)
trap 'rm -f "$steps"' EXIT
awk '/^```/ { console = ($0 == "```console") } /^## / { walk = 0 } /^### [0-9]/ { walk = 1; print } walk && console && /^\$ /' README.md |
    sed "s/aaaaaaaa/$fresh/g" >"$steps"

# From another descriptor, so that no command can read the steps to come.
while IFS= read -r line <&3; do
    command=${line#\$ }
    case $command in
    '### '*) printf '\n== %s\n' "${command#\#\#\# }" ;;
    'curl '*)
        printf '\n%s\n' "$line"
        eval "$command" || { echo 'no answer: start the services first, with `cargo run --release`' >&2; exit 1; }
        echo
        ;;
    # It would end what it walks through.
    *) printf '\n%s\n(left to you, in the terminal of the services)\n' "$line" ;;
    esac
done 3<"$steps"
