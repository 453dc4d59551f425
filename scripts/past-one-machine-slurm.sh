#!/usr/bin/env bash
# A sweep of 200 shards on a Slurm of one node, of which the node and the controller are killed on the way;
# what is merged must be the same bytes as the sweep carried out locally.
#
#   apt-get install slurm-wlm munge        what it needs; it starts the daemons itself, as root
#   scripts/past-one-machine-slurm.sh
#
# Takes the program from SIM, or target/debug/sim. Works in a temporary folder, which it removes; ends only
# the processes it has started.
set -euo pipefail
cd "$(dirname "$0")/.."
sim="$(realpath "${SIM:-target/debug/sim}")"
shards="${SHARDS:-200}"
for program in munged slurmctld slurmd sbatch squeue; do
    command -v "$program" >/dev/null || { echo "$program is missing: apt-get install slurm-wlm munge" >&2; exit 2; }
done
scratch="$(mktemp -d)"
chmod 755 "$scratch"
mkdir -p "$scratch"/{munge,state,spool,log}
host="$(hostname -s)"

pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap cleanup EXIT

dd if=/dev/urandom of="$scratch/munge/key" bs=1024 count=1 status=none
chmod 400 "$scratch/munge/key"
chmod 755 "$scratch/munge"
munged --foreground --force --key-file="$scratch/munge/key" --socket="$scratch/munge/socket" \
    --pid-file="$scratch/munge/pid" --log-file="$scratch/munge/log" --seed-file="$scratch/munge/seed" \
    >"$scratch/log/munged" 2>&1 &
pids+=($!)
disown

cat >"$scratch/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$scratch/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
MaxArraySize=10001
ReturnToService=2
SlurmdTimeout=10
KillWait=2
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.pid
SlurmctldLogFile=$scratch/log/slurmctld
SlurmdLogFile=$scratch/log/slurmd
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$scratch/slurm.conf"

controller() { slurmctld -D >"$scratch/log/slurmctld.out" 2>&1 & controller_pid=$!; pids+=("$controller_pid"); disown; }
node() { slurmd -D >"$scratch/log/slurmd.out" 2>&1 & node_pid=$!; pids+=("$node_pid"); disown; }
controller
node
for _ in $(seq 60); do sinfo -h -o %t 2>/dev/null | grep -q idle && break; sleep 1; done
sinfo -h -o 'node %n: %t, %c CPUs' || { cat "$scratch"/log/*; exit 1; }

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
queued() { squeue -h -r -t PENDING,RUNNING,COMPLETING,CONFIGURING 2>/dev/null | wc -l; }
started=$SECONDS
"$sim" submit slurm "$scratch/sweep.toml" --shards "$shards" --time 10m --out "$out"
until [ "$(records)" -ge 100 ]; do sleep 1; done
echo "killing the node and its tasks after $(records) runs, $((SECONDS - started)) s"
# What runs on the node: the tasks, known by the folder they write to, and the daemons of their steps, which
# are no children of the node's.
lost=0
until pgrep -f "sweep $out/sweep.toml" >/dev/null; do sleep 0.1; done
for task in $(pgrep -f "sweep $out/sweep.toml" || true); do
    step="$(ps -o ppid= -p "$task" | tr -d ' ' || true)"
    kill -9 "$task" 2>/dev/null && lost=$((lost + 1))
    case "$(cat "/proc/$step/comm" 2>/dev/null)" in
    slurmstepd*) kill -9 "$step" 2>/dev/null || true ;;
    esac
done
kill -9 "$node_pid"
echo "$lost tasks are lost; killing the controller"
kill -9 "$controller_pid"
sleep 2
controller
node
while true; do
    # While the controller is away, nothing is known.
    squeue -h >/dev/null 2>&1 && [ "$(queued)" -eq 0 ] && break
    [ $((SECONDS - started)) -lt "${PATIENCE:-1500}" ] || { echo "too slow" >&2; squeue || true; exit 1; }
    sleep 2
done
echo "the queue is empty after $((SECONDS - started)) s; $(records) runs"
"$sim" submit slurm "$scratch/sweep.toml" --shards "$shards" --time 10m --out "$out" --failed
until [ "$(queued)" -eq 0 ]; do sleep 2; done
cat "$out/log/merge.txt" 2>/dev/null || true
"$sim" merge "$out" >"$scratch/merged.txt" 2>/dev/null
diff "$scratch/local.txt" "$scratch/merged.txt"
diff --recursive --brief --exclude=provenance.json --exclude=shards --exclude=log --exclude=submit \
    "$scratch/local" "$out"
echo "same bytes: $(sha256sum "$out/runs.csv" | cut -c1-32), $shards shards, $((SECONDS - started)) s"
