#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (60 if not said). New inputs gather outside the committed
# corpora; a crash leaves its input in fuzz/artifacts and stops the run.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly FOR="${1:-60}"
readonly GATHERED="${CARGO_TARGET_DIR:-target}/fuzz-corpus"
for file in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$file" .rs)
    mkdir -p "$GATHERED/$target"
    printf '== %s\n' "$target"
    cargo +nightly fuzz run "$target" "$GATHERED/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$FOR" -max_len=8192 -print_final_stats=1
done
