#!/usr/bin/env bash
# Counts the instructions of each operation of benches/cost, as released, and compares them with
# benches/cost/record.txt: an operation that grew by more than GROWTH_PERCENT fails.
#
# tests/cost.sh            compare
# tests/cost.sh --record   write the record anew; it belongs into the commit that changes the cost
#
# Every operation is carried out N times in one process and 2N times in another, each under callgrind;
# the difference is the operation alone, without the start. Takes half a minute once it is built. Needs
# cargo and valgrind (which root gets by apt-get); without valgrind it says so and is content.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly RECORD=benches/cost/record.txt
readonly GROWTH_PERCENT=10
# One run takes some seconds.
readonly RUN_LIMIT=60s

case "$*" in
'' | --record) ;;
*)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 2
    ;;
esac

has_valgrind() { command -v valgrind >/dev/null; }

if ! has_valgrind && ((EUID == 0)) && command -v apt-get >/dev/null; then
    timeout 120 apt-get install --yes --quiet valgrind >/dev/null 2>&1 || true
fi
if ! has_valgrind; then
    echo 'skipped: instructions are counted with valgrind, which is not here'
    exit 0
fi

# The instructions of one process: an operation, carried out `once` (N times) or `twice` (2N times).
instructions() {
    local log
    log=$(timeout "$RUN_LIMIT" valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$executable" --run "$1" "$2" 2>&1) || {
        echo "$log" >&2
        return 1
    }
    sed -n 's/^==[0-9]*== Collected : //p' <<<"$log"
}

# Name and instructions of each operation.
measure() {
    local name times once twice
    while read -r name times; do
        once=$(instructions "$name" once </dev/null)
        twice=$(instructions "$name" twice </dev/null)
        echo "$name $(((twice - once) / times))"
    done
}

header() {
    cat <<HEADER
# Instructions of one operation; \`cargo bench --bench cost\` says what each operation is.
# tests/cost.sh compares with this, tests/cost.sh --record writes it.
#
# The counts are those of one compiler and one virtual processor. Another compiler inlines otherwise, and
# libraries choose their code by what the processor has: valgrind shows the host's AVX2 but has no
# SHA instructions, so that hashing is the portable code here and some times cheaper in service. Where
# counts differ though the code is the same, compare with a record of the commit before.
#
# $(rustc --version)
# $(valgrind --version), $(uname -m)
HEADER
}

# Shows recorded and measured counts side by side; fails where one grew too much or has no record.
compare() {
    awk -v limit="$GROWTH_PERCENT" '
        BEGIN { printf "%-20s %12s %12s %8s\n", "operation", "recorded", "now", "change" }
        /^#/ || NF == 0 { next }
        FILENAME == ARGV[1] { recorded[$1] = $2; next }
        !($1 in recorded) { printf "%-20s %12s %12d  NOT RECORDED\n", $1, "-", $2; bad = 1; next }
        {
            change = 100 * ($2 / recorded[$1] - 1)
            grew = change > limit
            printf "%-20s %12d %12d %+7.1f%%%s\n", $1, recorded[$1], $2, change, grew ? "  GREW" : ""
            bad = bad || grew
            delete recorded[$1]
        }
        END {
            for (name in recorded) { printf "%-20s is recorded, but was not measured\n", name; bad = 1 }
            exit bad
        }' "$RECORD" -
}

executable=$(cargo bench --locked --quiet --bench cost --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/cost-[^"]*\)".*/\1/p')
measured=$("$executable" --list | measure)

if [[ ${1-} == --record ]]; then
    { header; printf '%s\n' "$measured"; } >"$RECORD"
    cat "$RECORD"
elif ! compare <<<"$measured"; then
    echo "an operation costs more than $RECORD says: make it cheaper, or record why it may (tests/cost.sh --record)"
    exit 1
fi
