// Results to make reports of: real runs of `sim`, a small trace, and a thousand copies of a run.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SIM = process.env.SIM;

/** Runs `sim`, and returns what it printed. */
export function sim(...words) {
  return execFileSync(SIM, words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** An empty folder, which is removed when the tests end. */
export function folder() {
  const made = mkdtempSync(join(tmpdir(), "sim-report-"));
  process.on("exit", () => rmSync(made, { recursive: true, force: true }));
  return made;
}

/**
 * A trace in the form of `sim run --trace`: two hosts, a service, `messages` messages a millisecond
 * apart, each answered, and a crash.
 */
export function trace(messages) {
  const names = ["host worker-0", "host worker-1", "service queue"];
  const events = names.flatMap((name, n) => [
    { ph: "M", name: "process_name", pid: n + 1, args: { name } },
    { ph: "M", name: "thread_name", pid: n + 1, tid: 1, args: { name: n === 2 ? "serves queue" : "work items" } },
  ]);
  for (let n = 0; n < messages; n += 1) {
    const at = 2_000_000 + n * 1_000;
    const [from, to] = n % 2 === 0 ? [1, 2] : [2, 1];
    events.push(
      { ph: "X", ts: at, dur: 300, pid: from, tid: 1, cat: "step", name: "step of Hello" },
      { ph: "s", ts: at + 299.999, pid: from, tid: 1, cat: "ask", name: "queue.put", id: n },
      { ph: "f", ts: at + 400, pid: 3, tid: 1, cat: "ask", name: "queue.put", id: n, bp: "e" },
      { ph: "X", ts: at + 400, dur: 100, pid: 3, tid: 1, cat: "served", name: "put" },
      { ph: "s", ts: at + 499.999, pid: 3, tid: 1, cat: "message", name: "SayHello", id: n },
      { ph: "f", ts: at + 700, pid: to, tid: 1, cat: "message", name: "SayHello", id: n, bp: "e" },
      { ph: "X", ts: at + 700, dur: 250, pid: to, tid: 1, cat: "task", name: "SayHello" },
    );
  }
  events.push({ ph: "X", ts: 2_010_000, dur: 5_000, pid: 2, tid: 9, cat: "fault", name: "crash" },
    { ph: "M", name: "thread_name", pid: 2, tid: 9, args: { name: "faults" } });
  return JSON.stringify({ traceEvents: events });
}

/** Runs on several engines, one with a crash, one with a trace, and the result of an experiment. */
export function mixed() {
  const made = folder();
  const load = "open:rate=20,duration=10s";
  for (const engine of ["in-memory", "netherite", "sql-server"]) {
    for (const seed of ["1", "2"]) {
      sim("run", "--engine", engine, "--seed", seed, "--load", load, "--out", join(made, "runs", engine + "-" + seed));
    }
  }
  sim("run", "--host-event", "crash:host=1,at=3s,for=2s", "--load", load, "--out", join(made, "runs", "with-crash"));
  writeFileSync(join(made, "runs", "netherite-1", "trace.json"), trace(40));
  cpSync(join(import.meta.dirname, "../../results/six-engines"), join(made, "six-engines"), { recursive: true });
  return made;
}

/** A thousand runs: copies of a few, with seeds of their own. */
export function thousand() {
  const made = folder();
  const first = join(made, "runs", "0");
  const load = ["--load", "batch:2"];
  sim("run", "--engine", "netherite", ...load, "--out", first);
  const [spec, summary] = ["spec.toml", "summary.json"].map((name) => readFileSync(join(first, name), "utf8"));
  for (let seed = 2; seed <= 1000; seed += 1) {
    const copy = join(made, "runs", String(seed - 1));
    mkdirSync(copy);
    for (const name of ["latency.csv", "timeseries.csv", "operations.csv", "counters.csv", "provenance.json"]) {
      cpSync(join(first, name), join(copy, name));
    }
    writeFileSync(join(copy, "spec.toml"), spec.replace("seed = 1\n", "seed = " + seed + "\n"));
    writeFileSync(join(copy, "summary.json"), summary.replace('"seed": 1,', '"seed": ' + seed + ","));
  }
  return made;
}
