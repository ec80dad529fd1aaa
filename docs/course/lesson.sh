#!/usr/bin/env bash
# Runs the tests of a lesson against your file, and says what to do next.
#   docs/course/lesson.sh 3              copies the tests of lesson 3 into place, and runs them
#   docs/course/lesson.sh 3 --solution   shows what the solution changes, and runs the tests against it
#   docs/course/lesson.sh --check        for CI: the tests of all lessons pass with the solutions, and fail without
set -euo pipefail
cd "$(dirname "$0")"
# The messages of the tests are enough.
export RUST_BACKTRACE=0

usage() {
    sed -n '2,5s/^# \{0,1\}//p' lesson.sh >&2
    exit 2
}

# The file of a chapter, `03-versions-and-conflicts.md` for 03. Nothing if the chapter does not exist.
chapter() {
    local file=("$1"-*.md)
    [[ -f ${file[0]} ]] && echo "${file[0]}"
}

# Copies the tests of a lesson to the place where cargo looks for them, and runs them. Further arguments go to cargo.
run_tests() {
    local lesson=lesson_$1
    shift
    mkdir -p exercises/tests
    cp "exercises/lessons/$lesson.rs" exercises/tests/
    # In two steps: the first shows the progress and the errors of the compiler, the second only the tests.
    cargo test --no-run --package course --test "$lesson" "$@" || return
    cargo test --package course --test "$lesson" "$@" 2>/dev/null
}

try() {
    local number=$1 next
    if run_tests "$number"; then
        next=$(chapter "$(printf %02d $((10#$number + 1)))") || next=''
        echo "Lesson $((10#$number)) is done. ${next:+Next: docs/course/$next}"
        return
    fi
    cat <<END
Change docs/course/exercises/src/lesson_$number.rs until its tests pass.
The tests:  docs/course/exercises/lessons/lesson_$number.rs
A hint:     docs/course/$(chapter "$number"), in the part "Mend it"
A solution: just lesson $((10#$number)) --solution
END
    exit 1
}

# Shows what the solution changes. `diff` says with 1 that the files differ.
show_solution() {
    (cd exercises && diff -u "src/lesson_$1.rs" "solutions/lesson_$1.rs") || (($? == 1))
    run_tests "$1" --features solutions
}

# Fails for a lesson whose solution fails or whose starter passes, and for a block of Rust that fails in a chapter.
check() {
    local file number output wrong=0
    cargo test --quiet --package course --doc
    for file in exercises/lessons/lesson_*.rs; do
        number=$(basename "${file#*lesson_}" .rs)
        if ! output=$(run_tests "$number" --features solutions 2>&1); then
            echo "lesson $number: the tests fail with the solution:"
            echo "$output"
            wrong=1
        elif output=$(run_tests "$number" 2>&1); then
            echo "lesson $number: the tests pass before the learner has changed anything"
            wrong=1
        elif ! grep -q '^test result: FAILED' <<<"$output"; then
            echo "lesson $number: the learner's file or the tests do not build:"
            echo "$output"
            wrong=1
        else
            echo "lesson $number: $(grep -c '^test .* FAILED$' <<<"$output") tests fail until the learner has mended the file"
            sed -n 's/^test \(.*\) \.\.\. ok$/    passes at once: \1/p' <<<"$output"
        fi
    done
    return "$wrong"
}

case ${1:-} in
    --check) check ;;
    [1-9] | [1-9][0-9])
        number=$(printf %02d "$1")
        if [[ ! -f exercises/lessons/lesson_$number.rs ]]; then
            echo "There is no lesson $1." >&2
            exit 2
        fi
        case ${2:-} in
            '') try "$number" ;;
            --solution) show_solution "$number" ;;
            *) usage ;;
        esac
        ;;
    *) usage ;;
esac
