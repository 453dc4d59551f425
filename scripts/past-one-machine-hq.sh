#!/usr/bin/env bash
# A sweep of 200 shards on HyperQueue, whose tasks, worker and server are killed on the way; what is merged
# must be the same bytes as the sweep carried out locally.
#
#   python3 -m venv venv && venv/bin/pip install hyperqueue==0.27.0
#   PYTHON=venv/bin/python scripts/past-one-machine-hq.sh
#
# The package has HyperQueue itself and no command `hq`: hq-embedded.py stands in for it. Takes the program
# from SIM, or target/debug/sim. Works in a temporary folder, which it removes; ends only the processes it
# has started.
set -euo pipefail
cd "$(dirname "$0")/.."
sim="$(realpath "${SIM:-target/debug/sim}")"
python="$(realpath -s "${PYTHON:-python3}")"
shards="${SHARDS:-200}"
"$python" -c 'import hyperqueue' || { echo "hyperqueue is missing: pip install hyperqueue" >&2; exit 2; }
scratch="$(mktemp -d)"
mkdir -p "$scratch/bin"
printf '#!/bin/sh\nexec %s %s "$@"\n' "$python" "$PWD/scripts/hq-embedded.py" >"$scratch/bin/hq"
chmod +x "$scratch/bin/hq"
export PATH="$scratch/bin:$PATH"

server=0
cleanup() {
    [ "$server" -eq 0 ] || kill -9 "$server" 2>/dev/null || true
    rm -rf "$scratch"
}
trap cleanup EXIT

# A server that is killed leaves its folder behind: each has one of its own.
serve() {
    export HQ_SERVER_DIR="$scratch/server-$1"
    mkdir -p "$HQ_SERVER_DIR"
    : >"$HQ_SERVER_DIR.log"
    "$python" scripts/hq-embedded.py serve "$(nproc)" >"$HQ_SERVER_DIR.log" 2>&1 &
    server=$!
    disown
    for _ in $(seq 60); do grep -q serving "$HQ_SERVER_DIR.log" && return; sleep 0.5; done
    cat "$HQ_SERVER_DIR.log"
    exit 1
}

cat >"$scratch/sweep.toml" <<'TOML'
kind = "sweep"
name = "past-one-machine"
seeds = "1..100"
base = { workload = "hello:length=3", hosts = 2, partitions = 4, load = "batch:100" }
axes = [{ name = "engine", values = ["in-memory", "azure-storage", "netherite", "sql-server"] }]
TOML
"$sim" sweep "$scratch/sweep.toml" --out "$scratch/local" >"$scratch/local.txt" 2>/dev/null

out="$scratch/all"
records() { find "$out/shards" -path '*/records/*' -name '[0-9a-f]*.json' 2>/dev/null | wc -l; }
submit() {
    local said
    said="$("$sim" submit hq "$scratch/sweep.toml" --shards "$shards" --time 10m --out "$out" "$@" 2>/dev/null)"
    echo "$said"
    job="$(printf '%s' "$said" | sed -n 's/^job \([0-9]*\):.*/\1/p')"
}
started=$SECONDS
serve 1
submit
until [ "$(records)" -ge 50 ]; do sleep 0.5; done
lost=0
for task in $(pgrep -P "$server" || true); do kill -9 "$task" 2>/dev/null && lost=$((lost + 1)); done
echo "$lost tasks are killed"
until [ "$(records)" -ge 100 ]; do sleep 0.5; done
orphans="$(pgrep -P "$server" || true)"
kill -9 "$server"
for task in $orphans; do kill -9 "$task" 2>/dev/null || true; done
echo "server and worker are killed after $(records) runs, $((SECONDS - started)) s"
serve 2
submit --failed
hq wait "$job" && echo "all of its tasks have succeeded" || echo "some of its tasks have failed"
submit --failed
if [ -n "$job" ]; then hq wait "$job" || true; fi
"$sim" merge "$out" >"$scratch/merged.txt" 2>/dev/null
diff "$scratch/local.txt" "$scratch/merged.txt"
diff --recursive --brief --exclude=provenance.json --exclude=shards --exclude=log --exclude=submit \
    "$scratch/local" "$out"
echo "same bytes: $(sha256sum "$out/runs.csv" | cut -c1-32), $shards shards, $((SECONDS - started)) s"
