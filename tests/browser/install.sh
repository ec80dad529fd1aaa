#!/bin/sh
# Installs what the browser tests need and what is missing: Debian's chromium with its driver, npm, and axe-core.
# axe-core goes to target/browser; the lock file has its hash and no address, so any registry will do.
set -eu
cd "$(dirname "$0")/../.."

missing=''
command -v chromium >/dev/null || missing="$missing chromium"
command -v chromedriver >/dev/null || missing="$missing chromium-driver"
command -v npm >/dev/null || missing="$missing npm"
if [ -n "$missing" ]; then
    sudo=''
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -q
    # Unquoted: a list of packages.
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $missing
fi

mkdir -p target/browser
if ! cmp -s tests/browser/package-lock.json target/browser/installed; then
    cp tests/browser/package.json tests/browser/package-lock.json target/browser/
    npm ci --prefix target/browser --ignore-scripts --no-audit --no-fund
    # Last: an installation that was cut off begins anew.
    cp tests/browser/package-lock.json target/browser/installed
fi
