#!/usr/bin/env bash
# Runs the tests against programs of others: every `tests/peers/NAME.sh` but this one and the
# installer, or those that are named.
#
#   tests/peers/run.sh [NAME...]
#
# A test is a script. It gets, in its environment:
#   AIMS_BIN         the binary under test (set it yourself to try another one)
#   AIMS_PORT_BASE   first of 20 ports that no other peer test uses
#   PEER_DIR         an empty folder of its own, removed when it passes
#   PEERS            this folder; `. "$PEERS/need.bash"` gives the functions that look for a peer
# and says by its exit code how it went: 0 it holds, 77 its peer is missing, 78 this machine cannot have
# its peer, else it does not hold.
# With CI=true a missing peer is a failure. A test whose peer the installer does not install runs only
# when it is named.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2

readonly TEST_SECONDS_MAX=300
readonly MISSING=77
readonly NOT_HERE=78
readonly PORT_FIRST=21000
readonly PORTS_EACH=20
readonly WHEN_NAMED=" spire nested "
readonly TARGET="${CARGO_TARGET_DIR:-target}"

main() {
    local names=("$@") name port=$PORT_FIRST failed=() missing=() elsewhere=() passed=0 code
    [[ ${#names[@]} -gt 0 ]] || mapfile -t names < <(all_tests)
    AIMS_BIN=$(realpath "${AIMS_BIN:-$TARGET/debug/aims}") && [[ -x "$AIMS_BIN" ]] || {
        echo "peers: no binary at \`${AIMS_BIN:-$TARGET/debug/aims}\`: cargo build --bin aims, or set AIMS_BIN" >&2
        exit 2
    }
    PEERS=$(realpath tests/peers) PEERS_VENV=$(realpath -m "$TARGET/peers/venv")
    export AIMS_BIN PEERS PEERS_VENV
    for name in "${names[@]}"; do
        run_one "$name" "$port"
        code=$?
        port=$((port + PORTS_EACH))
        case $code in
            0) passed=$((passed + 1)) ;;
            "$MISSING") missing+=("$name") ;;
            "$NOT_HERE") elsewhere+=("$name") ;;
            *) failed+=("$name") ;;
        esac
    done
    echo "peers: $passed passed, ${#failed[@]} failed (${failed[*]}), ${#missing[@]} without their peer (${missing[*]}), ${#elsewhere[@]} not on this machine (${elsewhere[*]})"
    [[ ${#failed[@]} -eq 0 ]] || exit 1
    if [[ ${#missing[@]} -gt 0 && "${CI:-}" == "true" ]]; then
        echo "peers: CI=true, so a missing peer is a failure" >&2
        exit 1
    fi
    if [[ $passed -eq 0 && ${#missing[@]} -eq 0 ]]; then
        echo "peers: no test was run" >&2
        exit 1
    fi
}

all_tests() {
    local path name
    for path in tests/peers/*.sh; do
        name=$(basename "$path" .sh)
        [[ "$name" == run || "$name" == install || "$WHEN_NAMED" == *" $name "* ]] || echo "$name"
    done
}

# Runs one test in a folder of its own and prints what it said if it did not pass.
run_one() {
    local name=$1 port=$2 folder started=$SECONDS code
    if [[ ! -f "tests/peers/$name.sh" ]]; then
        echo "FAILED  $name: no such test"
        return 1
    fi
    folder=$(mktemp -d "${TMPDIR:-/tmp}/aims-peer-$name.XXXXXX") || return 1
    mkdir "$folder/own"
    PEER_DIR="$folder/own" AIMS_PORT_BASE=$port \
        timeout --kill-after=10 "$TEST_SECONDS_MAX" bash "tests/peers/$name.sh" \
        >"$folder/output" 2>&1 </dev/null
    code=$?
    case $code in
        0) echo "ok      $name ($((SECONDS - started)) s)" && rm -rf "$folder" ;;
        "$MISSING") echo "missing $name: $(tail -n 1 "$folder/output")" && rm -rf "$folder" ;;
        "$NOT_HERE") echo "not here $name: $(tail -n 1 "$folder/output")" && rm -rf "$folder" ;;
        124 | 137) echo "FAILED  $name: more than $TEST_SECONDS_MAX s; kept $folder" ;;
        *) echo "FAILED  $name: exit code $code; kept $folder" ;;
    esac
    [[ $code -eq 0 || $code -eq $MISSING || $code -eq $NOT_HERE ]] || tail -n 60 "$folder/output" | sed 's/^/    /'
    return $code
}

main "$@"
