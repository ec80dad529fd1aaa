# What one does here. Every line of a recipe is a shell command that works without `just`, too.

# Show this menu
default:
    @just --list --unsorted

# Build and run the three services as three processes; Ctrl-C stops all
run:
    cargo build --release && sh -c 'trap : INT; for service in service-registry write-service read-service; do target/release/$service & done; wait; wait'

# Run the tests
test:
    cargo test

# Run everything that must hold before a change lands
check:
    .ci/run

# Measure the services beside what this machine can do: two minutes; --help lists groups, --quick, --json
bench *ARGUMENTS:
    cargo bench --bench system -- {{ARGUMENTS}}

# Compare two files that `just bench --json` wrote
bench-compare OLD NEW:
    cargo bench --bench system -- --compare {{OLD}} {{NEW}}

# Count the instructions of each operation and compare them with the record; --record writes it anew
cost *ARGUMENTS:
    tests/cost.sh {{ARGUMENTS}}

# Send the three services what their OpenAPI documents allow and what not, for so many seconds each
[positional-arguments]
fuzz-api seconds="40":
    tests/fuzz-api.sh "${1:-40}"

# Walk through README.md with curl, against the services that are running
demo:
    sh tests/demo.sh

# Show the event feed of the running write service, from the event after $AFTER
events:
    curl -s "http://127.0.0.1:7001/events?after=${AFTER:-0}&limit=100"

# Forget everything: remove the databases of this directory (stop the services first)
reset:
    rm -f write_db.sqlite3 write_db.sqlite3-* read_db.sqlite3 read_db.sqlite3-*

# Kill processes (built apart: they can be told to crash) for so many seconds, then look up every promise; a failure prints its seed
[positional-arguments]
crash-test seconds="60":
    TALLY_CRASH_SECONDS="${1:-60}" CARGO_TARGET_DIR=target/crash-points cargo test --release --features crash-points --test spec crashes -- --include-ignored --nocapture --test-threads=1

# Show that the crash suite finds each of the bugs in tests/mutants/ that are put into a copy of the code
mutants:
    tests/mutants.sh

# Show that a command costs the same on a stream of a million events, and that clients share a sync
flat-cost:
    cargo test --release --test spec flat_cost -- --ignored --nocapture --test-threads=1

# Rebuild 200 000 events while commands and queries go on, and compare the rows
rebuild-test:
    cargo test --release --test spec rebuild_under_load -- --ignored --nocapture

# Attack the HTTP engine in eleven ways, and watch its other clients
attack-test:
    cargo test --release --test spec http_attacks -- --ignored --nocapture --test-threads=1

# Send mutated input to every reader of input for so many seconds each; a failure prints its seed
[positional-arguments]
fuzz seconds="30":
    TALLY_FUZZ_SECONDS="${1:-30}" cargo test --release --test spec fuzz -- --include-ignored --nocapture --test-threads=1

# Send the write service four times more than it can take, for half a minute
overload-test:
    cargo test --release --test spec overload -- --ignored --nocapture --test-threads=1

# Try what people point at SQLite files, with the waits that take seconds
tools-test:
    cargo test --release --test spec tools_of_the_trade -- --include-ignored

# Follow a write side over a line of 20 kB/s: half a minute
slow-line-test:
    cargo test --release --test spec slow_line -- --ignored --nocapture

# Read the feed slowly, not at all, and without a pause, and watch memory and the write-ahead log
readers-test:
    cargo test --release --test spec readers:: -- --include-ignored --nocapture --test-threads=1

# Delete the read database of a long log under load, and look for answers that are wrong meanwhile
refill-test:
    cargo test --release --test spec refill -- --include-ignored --nocapture
