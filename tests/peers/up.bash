# Sourced by peer tests that need a running installation: `aims up` on the test's own ports, in the
# test's own folder, under the test's own policy.

# What the test started; ended with it.
STARTED=()

# start_up TRUST_DOMAIN: starts `aims up` with the policy in $PEER_DIR/data/policy and waits until
# it is ready. Sets DATA, ISSUER, GATEWAY, CA.
start_up() {
    DATA="$PEER_DIR/data"
    ISSUER="https://localhost:$AIMS_PORT_BASE"
    GATEWAY="https://localhost:$((AIMS_PORT_BASE + 3))"
    CA="$DATA/ca.pem"
    export DATA ISSUER GATEWAY CA
    trap stop_all EXIT
    "$AIMS_BIN" up --dir "$DATA" --trust-domain "$1" --port-base "$AIMS_PORT_BASE" \
        >"$PEER_DIR/up.out" 2>"$PEER_DIR/up.err" &
    STARTED+=($!)
    wait_for "$PEER_DIR/up.out" '"issuer"' "$PEER_DIR/up.err"
}

# start NAME COMMAND...: starts a program that ends with the test; its output is in
# $PEER_DIR/NAME.out. It is the program that the next `wait_for` waits for.
start() {
    local name=$1
    shift
    "$@" >"$PEER_DIR/$name.out" 2>&1 &
    STARTED+=($!)
}

# The turns of a wait, a tenth of a second each.
readonly WAIT_TURNS_MAX=200

# wait_for FILE TEXT [LOG]: until the file has the text, for at most 20 s and for as long as the
# program that was started last runs. Else the test ends here and says what the program said, in the
# file and in LOG.
wait_for() {
    local turn why="not within $((WAIT_TURNS_MAX / 10)) s"
    for ((turn = 0; turn < WAIT_TURNS_MAX; turn++)); do
        grep -qF -- "$2" "$1" 2>/dev/null && return 0
        if ! kill -0 "${STARTED[-1]}" 2>/dev/null; then
            why="and its program has ended"
            break
        fi
        sleep 0.1
    done
    echo "no \`$2\` in \`$1\`, $why:"
    cat "$1" ${3:+"$3"}
    exit 1
}

# eventually COMMAND...: again and again until it succeeds, for at most 20 s. Else the test ends
# here and says what the command said at last.
eventually() {
    local turn said
    for ((turn = 0; turn < WAIT_TURNS_MAX; turn++)); do
        said=$("$@" 2>&1) && return 0
        sleep 0.1
    done
    echo "\`$*\` did not succeed within $((WAIT_TURNS_MAX / 10)) s:"
    echo "$said"
    exit 1
}

stop_all() {
    local id
    for id in "${STARTED[@]}"; do kill "$id" 2>/dev/null || true; done
    for id in "${STARTED[@]}"; do wait "$id" 2>/dev/null || true; done
}

# aims ARGUMENTS...: an operator's or a workload's command on this installation.
aims() {
    "$AIMS_BIN" --dir "$DATA" "$@"
}

# new_policy TRUST_DOMAIN: a starter set, for the test to add its rules to. Sets POLICY.
new_policy() {
    POLICY="$PEER_DIR/data/policy"
    mkdir -m 700 "$PEER_DIR/data"
    "$AIMS_BIN" policy init "$POLICY" --trust-domain "$1" >/dev/null
}
