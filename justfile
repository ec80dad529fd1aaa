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

# Walk through README.md with curl, against the services that are running
demo:
    sh tests/demo.sh

# Show the event feed of the running write service, from the event after $AFTER
events:
    curl -s "http://127.0.0.1:7001/events?after=${AFTER:-0}&limit=100"

# Forget everything: remove the databases of this directory (stop the services first)
reset:
    rm -f write_db.sqlite3 write_db.sqlite3-* read_db.sqlite3 read_db.sqlite3-*
