#!/usr/bin/env bash
# How much of a sweep's time is spent in runs, and how much faster it is on two threads than on one.
#
#   scripts/sweep-speed.sh        1,000 runs of 100 orchestrations, twice
#
# The speed-up by wall time means something only on a machine that does nothing else. What it would be
# there follows from two numbers that do not depend on other work: how many threads are busy with runs on
# average, and how much more core time the runs take on two threads than on one.
# Takes the program from SIM, or target/debug/sim.
set -euo pipefail
cd "$(dirname "$0")/.."
sim="$(realpath "${SIM:-target/debug/sim}")"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/sweep.toml" <<'TOML'
kind = "sweep"
name = "speed"
seeds = "1..250"
base = { workload = "hello:length=3", hosts = 2, partitions = 4, load = "batch:100" }
axes = [{ name = "engine", values = ["in-memory", "azure-storage", "netherite", "sql-server"] }]
TOML
for threads in 1 2; do
    out="$scratch/$threads"
    TIMEFORMAT="%R %U"
    { time "$sim" sweep "$scratch/sweep.toml" --threads "$threads" --out "$out" >"$out.txt" 2>/dev/null; } 2>"$out.time"
    cat "$out"/runs/*/provenance.json | sed -n 's/.*"wall_seconds": \([0-9.]*\).*/\1/p' |
        awk '{ sum += $1 } END { print sum }' >"$out.runs"
done
diff "$scratch/1.txt" "$scratch/2.txt"
paste -d' ' "$scratch/1.time" "$scratch/1.runs" "$scratch/2.time" "$scratch/2.runs" | awk '{
    printf "one thread:  %.1f s, %.1f s of core time, %.1f %% of the time in runs\n", $1, $2, 100 * $3 / $1
    printf "two threads: %.1f s, %.1f s of core time, %.2f threads busy with runs\n", $4, $5, $6 / $4
    printf "speed-up by wall time %.2f; on a machine that does nothing else %.2f\n", $1 / $4, $6 / $4 * $2 / $5
}'
cat /proc/loadavg
