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
    wait_for "$PEER_DIR/up.out" '"issuer"' || { cat "$PEER_DIR/up.err"; exit 1; }
}

# start NAME COMMAND...: starts a program that ends with the test; its output is in
# $PEER_DIR/NAME.out.
start() {
    local name=$1
    shift
    "$@" >"$PEER_DIR/$name.out" 2>&1 &
    STARTED+=($!)
}

# wait_for FILE TEXT: until the file has the text, for at most 20 s.
wait_for() {
    local turn
    for ((turn = 0; turn < 200; turn++)); do
        grep -qF -- "$2" "$1" 2>/dev/null && return 0
        sleep 0.1
    done
    echo "no \`$2\` in \`$1\` after 20 s"
    return 1
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
