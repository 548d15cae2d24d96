#!/usr/bin/env bash
# Which rows of docs/requirements.md a test claims to prove: whole, in part, or not at all.
#
#   tests/requirements.sh           a line a row that no test proves whole, and the sums
#   tests/requirements.sh ID        where that row is proved
set -euo pipefail
cd "$(dirname "$0")/.."

# Lines `FILE:LINE:req: ID, ID (part)` of Rust files and of the peers' scripts.
claims() {
    grep -rnE --include='*.rs' --include='*.sh' --include='*.py' --include='*.mjs' \
        --exclude-dir=target --exclude-dir=node_modules --exclude-dir=law \
        '^[[:space:]]*(///|//|#) req: ' . || true
}

if [[ $# -eq 1 ]]; then
    claims | grep -E "req: (.*, *)?$1( \(part\))?(,|$)"
    exit
fi

claims | awk '
    FNR == NR {
        sub(/.*req: */, "")
        count = split($0, ids, / *, */)
        for (at = 1; at <= count; at++) {
            id = ids[at]
            if (sub(/ *\(part\) *$/, "", id)) part[id]++; else whole[id]++
        }
        next
    }
    /^\| [A-Z]+-[0-9]+ \|/ {
        split($0, cells, / *\| */)
        id = cells[2]
        rows++
        if (whole[id]) { proved++; next }
        if (part[id]) { partly++; state = part[id] " in part" } else { state = "none" }
        printf "%-9s %-2s %-11s %s\n", id, cells[3], state, substr(cells[4], 1, 70)
    }
    END { printf "%d rows: %d proved, %d in part, %d by no test\n", rows, proved, partly, rows - proved - partly }
' - docs/requirements.md
