# A D-Bus daemon that is not ours, and behind it a manager in somebody else's bytes: a process is told
# by its unit, and is refused when its cgroup is not that unit's or the bus is away.
# req: ATT-02 (part)
set -euo pipefail
. "$PEERS/need.bash"
. "$PEERS/up.bash"
need_command dbus-daemon
need_command python3

readonly DOMAIN=systemd.example
readonly UNIT=aims-peer.service
TREE=$(awk '$0 ~ / - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
PLACE="$TREE/aims-peer-$$.slice/$UNIT"
mkdir -p "$PLACE" 2>/dev/null || missing "a cgroup tree of version 2 that may be changed"

fail() {
    echo "$*"
    cat "$PEER_DIR"/*.out "$PEER_DIR/up.err"
    exit 1
}

# in_unit COMMAND...: in the cgroup of the unit.
in_unit() {
    (echo "$BASHPID" >"$PLACE/cgroup.procs" && exec "$@")
}

is_recorded() {
    aims audit tail --last 100 --output json >"$PEER_DIR/audit"
    grep -F measure::Systemd "$PEER_DIR/audit" | grep -qF -- "$1"
}

cat >"$PEER_DIR/bus.conf" <<XML
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path=$PEER_DIR/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="org.freedesktop.systemd1"/>
  </policy>
</busconfig>
XML
start bus dbus-daemon --config-file "$PEER_DIR/bus.conf" --nofork --nopidfile --nosyslog
BUS=${STARTED[-1]}
eventually test -S "$PEER_DIR/bus"
start manager python3 "$PEERS/manager.py" "$PEER_DIR/bus" "$UNIT" "/etc/systemd/system/$UNIT"
wait_for "$PEER_DIR/manager.out" ready

new_policy "$DOMAIN"
cat >>"$POLICY/attestation.toml" <<'TOML'

[class.unit]
demands = ["systemd:id"]
issues = ["x509"]
TOML
cat >"$PEER_DIR/data/aims.toml" <<TOML
trust_domain = "$DOMAIN"
port_base = $AIMS_PORT_BASE
[workloads.systemd]
bus = "$PEER_DIR/bus"
TOML
start_up "$DOMAIN"
aims agent register --name nightly --kind service --owner peers --class unit \
    --selector "systemd:id:$UNIT" --selector "systemd:fragment_path:/etc/systemd/system/$UNIT" \
    >"$PEER_DIR/registered"
eventually in_unit "$AIMS_BIN" --dir "$DATA" svid x509 --output json
in_unit "$AIMS_BIN" --dir "$DATA" svid x509 >"$PEER_DIR/asked" 2>&1 || fail "$(cat "$PEER_DIR/asked")"
grep -qF "spiffe://$DOMAIN/service/nightly" "$PEER_DIR/asked" || fail "$(cat "$PEER_DIR/asked")"
aims agent explain nightly --output json >"$PEER_DIR/explained"
grep -qF "/etc/systemd/system/$UNIT" "$PEER_DIR/explained" || fail "the unit is not explained"
grep -q "asked [0-9]" "$PEER_DIR/manager.out" || fail "the manager was not asked"

! aims svid x509 >"$PEER_DIR/asked" 2>&1 || fail "a process of another cgroup got the unit's identity"
is_recorded "and its cgroup does not" || fail "not recorded: another cgroup"

kill "$BUS"
! in_unit timeout 20 "$AIMS_BIN" --dir "$DATA" svid x509 >"$PEER_DIR/asked" 2>&1 \
    || fail "without a bus, and an identity"
is_recorded "cannot be reached" || fail "not recorded: the bus is away"
stop_all
eventually rmdir "$PLACE" "$TREE/aims-peer-$$.slice"
