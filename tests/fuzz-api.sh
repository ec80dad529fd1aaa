#!/usr/bin/env bash
# Lets schemathesis send the three services, as released, whatever their OpenAPI documents allow and
# much that they do not, and check every answer against the documents. Stays on the loopback.
#
# tests/fuzz-api.sh [SECONDS]   so long for each service, 40 where nothing is said
#
# Needs cargo and python3 with its venv module; keeps what it installs under target/.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly SECONDS_EACH="${1:-40}"
readonly TOOLS="$PWD/target/fuzz-tools"
readonly RULES="$PWD/tests/fuzz"
readonly RELEASE="$PWD/target/release"

install_tools() {
    if ! cmp -s "$RULES/requirements.txt" "$TOOLS/installed.txt"; then
        python3 -m venv --clear "$TOOLS"
        "$TOOLS/bin/pip" install --quiet --disable-pip-version-check --requirement "$RULES/requirements.txt"
        cp "$RULES/requirements.txt" "$TOOLS/installed.txt"
    fi
}

# start NAME BINARY FLAG...: prints the address when the service listens.
start() {
    local name=$1 binary=$2
    shift 2
    "$RELEASE/$binary" --listen 127.0.0.1:0 "$@" >"$name.out" 2>"$name.log" &
    echo $! >>pids
    for _ in $(seq 200); do
        if grep -q ' listening on ' "$name.out"; then
            sed 's/.* listening on //' "$name.out"
            return
        fi
        sleep 0.05
    done
    cat "$name.log" >&2
    return 1
}

stop_all() {
    # Those that have ended already are no error.
    xargs --no-run-if-empty kill <pids 2>/dev/null || true
    wait
    rm -rf "$work"
}

fuzz() {
    local name=$1 url=$2
    curl --silent --fail "$url/openapi.json" >"$name.json"
    "$TOOLS/bin/openapi-spec-validator" "$name.json"
    PYTHONPATH="$RULES" SCHEMATHESIS_HOOKS=hooks "$TOOLS/bin/st" --config-file "$RULES/schemathesis.toml" \
        run "$url/openapi.json" --checks all --max-time "$SECONDS_EACH" --request-timeout 20 --no-color |
        tee "$name.report"
}

cargo build --locked --release
install_tools
work=$(mktemp -d)
cd "$work"
: >pids
trap stop_all EXIT

registry=$(start registry service-registry)
write=$(start write write-service --registry "$registry")
read=$(start read read-service --registry "$registry")

for account in 1 2; do
    id="01936d5e-8f2a-7000-8000-00000000000$account"
    post() { curl --silent --fail --output /dev/null --header 'Content-Type: application/json' --data "$2" "$write$1"; }
    post /accounts "{\"owner\": \"Ada Lovelace\", \"account_id\": \"$id\"}"
    post "/accounts/$id/deposit" '{"amount": 1000000000}'
done

failed=0
fuzz registry "$registry" || failed=1
fuzz write "$write" || failed=1
fuzz read "$read" || failed=1
if grep -H 'panicked' ./*.log; then
    failed=1
fi
awk '/ generated/ { total += $1 } END { print "\nrequests generated in all: " total }' ./*.report
exit $failed
