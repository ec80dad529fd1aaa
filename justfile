# The tasks of this repository. Each line of a recipe is a shell command that works without `just`.

# Show this menu
default:
    @just --list --unsorted

# Build and run the three services as three processes; Ctrl-C stops all
run:
    cargo build --release && sh -c 'trap : INT; for service in service-registry write-service read-service; do target/release/$service & done; wait; wait'

# Run the tests
test:
    cargo test

# Run all checks that a change must pass
check:
    .ci/run

# Measure the services beside the machine's own limits: two minutes; --help lists groups, --quick, --json
bench *ARGUMENTS:
    cargo bench --bench system -- {{ARGUMENTS}}

# Compare two files that `just bench --json` wrote
bench-compare OLD NEW:
    cargo bench --bench system -- --compare {{OLD}} {{NEW}}

# Count the instructions of each operation and compare them with the record; --record writes a new record
cost *ARGUMENTS:
    tests/cost.sh {{ARGUMENTS}}

# Send each service valid and invalid requests made from its OpenAPI document, for the given seconds
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

# Kill processes for the given seconds, then check every promise; uses a separate build with crash points; a failure prints its seed
[positional-arguments]
crash-test seconds="60":
    TALLY_CRASH_SECONDS="${1:-60}" CARGO_TARGET_DIR=target/crash-points cargo test --release --features crash-points --test spec crashes -- --include-ignored --nocapture --test-threads=1

# Put each bug of tests/mutants/ into a copy of the code, and check that the crash suite finds it
mutants:
    tests/mutants.sh

# Check that a command costs the same on a stream of a million events, and that clients share a sync
flat-cost:
    cargo test --release --test spec flat_cost -- --ignored --nocapture --test-threads=1

# Rebuild from 200 000 events during commands and queries, and compare the rows
rebuild-test:
    cargo test --release --test spec rebuild_under_load -- --ignored --nocapture

# Attack the HTTP engine in eleven ways, and measure its other clients
attack-test:
    cargo test --release --test spec http_attacks -- --ignored --nocapture --test-threads=1

# Send mutated input to every parser, for the given seconds each; a failure prints its seed
[positional-arguments]
fuzz seconds="30":
    TALLY_FUZZ_SECONDS="${1:-30}" cargo test --release --test spec fuzz -- --include-ignored --nocapture --test-threads=1

# Send the write service four times its capacity, for half a minute
overload-test:
    cargo test --release --test spec overload -- --ignored --nocapture --test-threads=1

# Use common SQLite tools beside a running service, with the waits that take seconds
tools-test:
    cargo test --release --test spec tools_of_the_trade -- --include-ignored

# Follow a write side over a line of 20 kB/s, for half a minute
slow-line-test:
    cargo test --release --test spec slow_line -- --ignored --nocapture

# Read the feed slowly, never, and without a pause, and measure memory and the write-ahead log
readers-test:
    cargo test --release --test spec readers:: -- --include-ignored --nocapture --test-threads=1

# Delete the read database of a long log under load, and look for wrong answers during the refill
refill-test:
    cargo test --release --test spec refill -- --include-ignored --nocapture

# Apply the diffs of docs/how-to/ to a copy of the tree, build the copy, test it and run it
how-to-test:
    cargo test --test spec how_to -- --include-ignored --nocapture --test-threads=1

# Use the console in a headless chromium, with keyboard and axe-core, while services die; installs what is missing
console-test:
    tests/browser/install.sh && cargo test --release --test spec browser -- --ignored --test-threads=1

# Check ops/ with promtool, systemd-analyze and a real Prometheus; needs Debian's prometheus and systemd
ops-test:
    cargo test --release --test spec ops:: -- --include-ignored && cargo test --release --test spec prometheus:: -- --include-ignored
