#!/usr/bin/env bash
# Kills a sweep with kill -9 at random moments, again and again, and compares what comes out in the end
# with the same sweep undisturbed: every file but provenance.json must be the same bytes.
#
#   scripts/interrupted-sweep.sh [KILLS] [SEED]      default: 20 kills, seed 1
#
# Takes the program from SIM, or target/debug/sim. Works in a temporary folder, which it removes.
set -euo pipefail
cd "$(dirname "$0")/.."
kills="${1:-20}"
RANDOM="${2:-1}"
sim="$(realpath "${SIM:-target/debug/sim}")"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/sweep.toml" <<'TOML'
kind = "sweep"
name = "interrupted"
keep = "tables"
seeds = "1..60"
base = { workload = "hello:length=3", hosts = 2, partitions = 4, load = "batch:40" }
axes = [{ name = "engine", values = ["in-memory", "azure-storage", "netherite", "sql-server"] }]
TOML

"$sim" sweep "$scratch/sweep.toml" --out "$scratch/undisturbed" >"$scratch/undisturbed.txt" 2>/dev/null

records() { find "$scratch/killed/records" -name '[0-9a-f]*.json' 2>/dev/null | wc -l; }
killed=0
while [ "$killed" -lt "$kills" ]; do
    "$sim" sweep "$scratch/sweep.toml" --out "$scratch/killed" >/dev/null 2>&1 &
    process=$!
    # Somewhere in the first half second: in the plan, in a run, or in the writing of one.
    sleep "0.$(printf '%03d' $((RANDOM % 500)))"
    if kill -9 "$process" 2>/dev/null; then
        killed=$((killed + 1))
    else
        # It had come to its end: take records away, so that there is something to interrupt.
        find "$scratch/killed/records" -name '*[0-7].json' -delete
    fi
    wait "$process" 2>/dev/null || true
    printf 'kill %d: %d records\n' "$killed" "$(records)"
done
"$sim" sweep "$scratch/sweep.toml" --out "$scratch/killed" >"$scratch/killed.txt" 2>/dev/null
diff --recursive --brief --exclude=provenance.json "$scratch/undisturbed" "$scratch/killed"
diff "$scratch/undisturbed.txt" "$scratch/killed.txt"
printf 'same bytes after %d kills: %s\n' "$killed" "$(b3sum "$scratch/killed/runs.csv" 2>/dev/null ||
    sha256sum "$scratch/killed/runs.csv" | cut -c1-32)"
