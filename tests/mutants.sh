#!/usr/bin/env bash
# Shows that the suites of crashes and faults can fail: each patch in tests/mutants/ puts a bug into a copy
# of the code, and they must find it. Needs git and cargo; takes some minutes. Give names to run only those.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

readonly WORK=$PWD/target/mutants
readonly TREE=$WORK/tree
# A bug may show as a system that stands still: each wait of the suite ends by itself, all of them by this.
readonly LIMIT=300s
readonly RUNS=3
export CARGO_TARGET_DIR=$WORK/build RUST_BACKTRACE=0
# The copy lies in the repository and is none of its business.
export GIT_CEILING_DIRECTORIES=$WORK

rm -rf "$TREE"
mkdir -p "$TREE"
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --create | tar --extract --directory="$TREE"
# Copies are as old as what they were copied from; a build of former copies would pass for theirs.
find "$TREE/src" "$TREE/tests" "$TREE/schema.sql" -type f -exec touch {} +
cd "$TREE"

# What kills, what fails under the process, and what it must forget then.
readonly TESTS=(crashes:: disk_faults:: projection::tests::upstream::)
suite() {
    timeout "$LIMIT" cargo test --quiet --locked --features crash-points --lib --test spec "$@" -- "${TESTS[@]}"
}

echo '== without a bug, the suite passes'
suite >"$WORK/sound.log" 2>&1 || {
    tail -n 30 "$WORK/sound.log"
    exit 1
}

# Whether the bug shows: one that is a race may need another run, above all on a busy machine.
shows() {
    local run
    for ((run = 0; run < RUNS; run++)); do
        suite >>"$1" 2>&1 || return 0
    done
    return 1
}

missed=0
for patch in tests/mutants/*.patch; do
    name=$(basename "$patch" .patch)
    if (($# > 0)) && [[ " $* " != *" $name "* ]]; then continue; fi
    git apply -C1 "$patch"
    suite --no-run >"$WORK/$name.log" 2>&1 || {
        echo "$name does not build any more:"
        tail -n 30 "$WORK/$name.log"
        exit 1
    }
    if ! shows "$WORK/$name.log"; then
        echo "== $name: NOT FOUND"
        missed=$((missed + 1))
    else
        echo "== $name: found by"
        sed -n 's/^    \([a-z_]*::[a-z_:]*\)$/   \1/p' "$WORK/$name.log" | sort -u
        grep -A1 -m1 '^thread .* panicked' "$WORK/$name.log" | tail -n 1 | cut -c1-160 | sed 's/^/   /'
    fi
    git apply -R -C1 "$patch"
done
exit "$((missed > 0))"
