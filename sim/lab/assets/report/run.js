"use strict";
/*
 * One run: picked from all of them, with everything that is known of it. The address of the page
 * says which (#run-3), so that a run can be linked to and the browser's back button works.
 */
(function () {
  const { make, text, data } = report;
  let shown = -1;
  const listeners = [];

  /** Calls `listener` with the number of each run that is picked. */
  report.onRun = (listener) => listeners.push(listener);

  function option(index) {
    const run = data.runs[index];
    return make("option", { value: String(index) }, run.label + " — " + run.name);
  }

  /** Fills a picker with the runs that have all words of a filter; returns their numbers. */
  report.fillPicker = function (select, filter) {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (run) => {
      const all = (run.label + " " + run.name + " " + text(run.workload)).toLowerCase();
      return words.every((word) => all.includes(word));
    };
    const found = data.runs.map((_, index) => index).filter((index) => has(data.runs[index]));
    select.replaceChildren(...found.map(option));
    return found;
  };

  function latency(run) {
    const curves = [];
    for (const [key, name, dash] of [["latency", "engine", []], ["client", "client", [6, 4]]]) {
      const values = report.quantiles(run, key);
      if (values) curves.push({ name, color: run.color, dash, values });
    }
    if (curves.length === 0) return make("p", { class: "note" }, "Nothing completed: there are no latencies.");
    const few = run.latency ? "" : " (those of the summary: there is no latency.csv)";
    return report.percentilePlot("Latency by percentile, ms" + few, curves);
  }

  function series(run) {
    const x = report.instants(run);
    const set = report.plotSet();
    const over = run.width > 1 ? "means over " + run.width + " s" : "by second";
    const plots = run.plots.map((plot) => report.plot({
      title: plot.title + ", " + over,
      x, xName: "s", xLabel: "virtual time, s", faults: run.faults,
      curves: plot.curves.map(([name, values], n) => Object.assign({ name: text(name), values }, report.curve(n))),
    }, set));
    const faults = run.faults.length === 0 ? "" : report.folded("What went wrong on purpose (shaded), " + run.faults.length,
      report.table("Faults", ["fault", "from, s", "to, s"], run.faults.map(([name, from, to]) => [text(name), from, to]), [false, true, true]));
    return make("div", {}, plots, faults);
  }

  function metrics(run) {
    const rows = data.metrics.map((metric, n) => [metric, run.metrics[n]]).filter(([, value]) => value !== null);
    const named = (metric) => make("span", { title: metric.meaning }, metric.name);
    return report.table("Numbers of the run", ["number", "value"],
      rows.map(([metric, value]) => [named(metric), report.number(value, metric.digits)]), [false, true]);
  }

  function view(run) {
    const made = [run.versions === null ? "" : text(run.versions), run.wall === null ? "" : "took " + report.number(run.wall, 2) + " s"];
    return [
      make("h3", {}, make("span", { class: "swatch", style: "background:" + run.color }), run.label),
      make("p", { class: "note" }, "In ", make("code", {}, run.name), ", ", text(run.workload), ". ", made.filter(Boolean).join("; ")),
      make("div", { class: "columns numbers" }, make("div", {}, metrics(run)), make("div", {}, latency(run))),
      make("h4", {}, "Where the latency goes"), report.bars([[run.label, run.color, run.breakdown]]),
      make("h4", {}, "Over time"), run.plots.length > 0 ? series(run) : make("p", { class: "note" }, "The folder of this run has no timeseries.csv."),
      make("h4", {}, "Checks"), report.checks(run),
      run.operations ? report.folded("Operations", report.dataTable("Operations", run.operations)) : "",
      run.counters ? report.folded("Counters", report.dataTable("Counters", run.counters)) : "",
      run.stuck ? make("p", { class: "bad" }, run.stuck + " orchestrations or jobs have not ended: see stuck.csv in the folder of the run.") : "",
      make("h4", {}, "Repeat it"), report.repeat(run),
      report.folded("Specification (spec.toml)", report.copyable(report.spec(run), "Specification")),
    ];
  }

  function show(index) {
    if (index === shown || !data.runs[index]) return;
    shown = index;
    document.getElementById("run-view").replaceChildren(...view(data.runs[index]).filter(Boolean).flat());
    const select = document.getElementById("run-pick");
    select.value = String(index);
    listeners.forEach((listener) => listener(index));
  }

  /** The run that is shown. */
  report.shownRun = () => shown;

  function ofAddress() {
    const found = /^#run-(\d+)$/.exec(location.hash);
    return found && data.runs[Number(found[1])] ? Number(found[1]) : null;
  }

  function follow() {
    const index = ofAddress();
    if (index === null) return;
    show(index);
    document.getElementById("run").scrollIntoView();
    document.getElementById("run-pick").focus({ preventScroll: true });
  }

  function pick(index) {
    history.replaceState(null, "", "#run-" + index);
    show(index);
  }

  report.startRun = function () {
    const select = document.getElementById("run-pick");
    const filter = document.getElementById("run-filter");
    let found = report.fillPicker(select, "");
    select.addEventListener("change", () => pick(Number(select.value)));
    filter.addEventListener("input", function () {
      found = report.fillPicker(select, filter.value);
      if (found.includes(shown)) select.value = String(shown);
      else if (found.length > 0) pick(found[0]);
    });
    const step = (by) => function () {
      const at = found.indexOf(shown);
      const next = found[Math.min(Math.max(at + by, 0), found.length - 1)];
      if (next !== undefined) pick(next);
    };
    document.getElementById("run-previous").addEventListener("click", step(-1));
    document.getElementById("run-next").addEventListener("click", step(1));
    window.addEventListener("hashchange", follow);
    show(ofAddress() || 0);
    if (ofAddress() !== null) follow();
  };
})();
