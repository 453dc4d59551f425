"use strict";
/*
 * Two runs side by side: what differs in their specifications, every number with its difference,
 * where the latency of each goes, both distributions, and both over time. Two runs with one seed are
 * a paired comparison: arrivals and inputs are the same.
 */
(function () {
  const { make, text, number, data } = report;
  /** Differences below this share are no difference to speak of. */
  const SAME_BELOW = 0.005;

  function verdict(metric, a, b) {
    if (a === null || b === null || metric.better === 0 || a === b) return "";
    const change = a === 0 ? Infinity : Math.abs(b - a) / Math.abs(a);
    if (change < SAME_BELOW) return "about the same";
    return (b - a) * metric.better > 0 ? "B is better" : "A is better";
  }

  function numbers(a, b) {
    const rows = data.metrics.map(function (metric, n) {
      const [left, right] = [a.metrics[n], b.metrics[n]];
      const both = left !== null && right !== null;
      const sign = both && right > left ? "+" : "";
      return [metric.name, number(left, metric.digits), number(right, metric.digits),
        both ? sign + number(right - left, metric.digits) : "",
        both && left !== 0 ? number(right / left, 3) : "", verdict(metric, left, right)];
    }).filter((row) => row[1] !== "" || row[2] !== "");
    return report.table("Numbers of both runs", ["number", "A", "B", "B − A", "B / A", "verdict"], rows, [false, true, true, true, true, false]);
  }

  function specification(a, b) {
    const lines = (run) => new Map(run.spec.map(text).filter((line) => line.includes(" = ")).map(function (line) {
      const at = line.indexOf(" = ");
      return [line.slice(0, at), line.slice(at + 3)];
    }));
    const [left, right] = [lines(a), lines(b)];
    const keys = [...new Set([...left.keys(), ...right.keys()])].filter((key) => left.get(key) !== right.get(key));
    if (keys.length === 0) return make("p", {}, "Both specifications are the same.");
    const plain = (word) => word.replace(/^"(.*)"$/, "$1");
    const value = (side, key) => (side.has(key) ? plain(side.get(key)) : "–");
    const table = (name, keys) => report.table(name, ["key", "A", "B"],
      keys.map((key) => [plain(key), value(left, key), value(right, key)]), [false, false, false]);
    // Settings of one engine are none of the other.
    const isOfOne = (key) => key.startsWith('"') && !(left.has(key) && right.has(key));
    const [ofOne, ofBoth] = [keys.filter(isOfOne), keys.filter((key) => !isOfOne(key))];
    return [
      ofBoth.length > 0 ? table("What differs", ofBoth) : "",
      ofOne.length > 0 ? report.folded("Settings that only one of the engines has, " + ofOne.length, table("Settings of one engine", ofOne)) : "",
    ];
  }

  /** Colours of two runs: those of the engines; dashes tell B if both are of one engine. */
  function looks(a, b) {
    return [{ color: a.color, dash: [] }, { color: b.color, dash: a.color === b.color ? [6, 4] : [] }];
  }

  function distributions(a, b) {
    const [ofA, ofB] = looks(a, b);
    const plots = [["latency", "Latency as the engines report it, by percentile, ms"], ["client", "Latency as clients see it, by percentile, ms"]];
    return plots.map(function ([key, title]) {
      const curves = [];
      for (const [run, name, look] of [[a, "A", ofA], [b, "B", ofB]]) {
        const values = report.quantiles(run, key);
        if (values) curves.push(Object.assign({ name, values }, look));
      }
      return curves.length === 0 ? "" : report.percentilePlot(title, curves);
    });
  }

  /** The value of a curve of a run at an instant. */
  const at = (run, values, instant) => {
    const value = values[Math.floor(instant / run.width)];
    return value === undefined ? null : value;
  };

  function curves(a, b, title, x) {
    const [ofA, ofB] = looks(a, b);
    const all = [];
    for (const [run, sign, look] of [[a, "A", ofA], [b, "B", ofB]]) {
      const plot = run.plots.find((plot) => plot.title === title);
      const wanted = plot ? plot.curves.filter(([name]) => ["ended", "median"].includes(text(name))) : [];
      for (const [name, values] of wanted) {
        all.push(Object.assign({ name: sign + " " + text(name), values: x.map((instant) => at(run, values, instant)) }, look));
      }
    }
    return all;
  }

  function overTime(a, b) {
    const length = (run) => report.instants(run).length * run.width;
    const x = report.instants(length(a) < length(b) ? b : a);
    const set = report.plotSet();
    const titles = [...new Set([...a.plots, ...b.plots].map((plot) => plot.title))];
    const plots = titles.map(function (title) {
      const found = curves(a, b, title, x);
      if (found.length === 0) return "";
      return report.plot({ title, x, xName: "s", xLabel: "virtual time, s", faults: [...a.faults, ...b.faults], curves: found }, set);
    }).filter(Boolean);
    return plots.length > 0 ? plots : make("p", { class: "note" }, "The folders of these runs have no timeseries.csv.");
  }

  function view(a, b) {
    const swatch = (run) => make("span", { class: "swatch", style: "background:" + run.color });
    const paired = a.seed === b.seed && text(a.workload) === text(b.workload);
    return [
      make("p", {}, make("strong", {}, "A"), " ", swatch(a), a.label, make("br"), make("strong", {}, "B"), " ", swatch(b), b.label),
      make("p", { class: "note" }, paired
        ? "Same workload and seed: a paired comparison. Arrivals and inputs are the same where the loads are."
        : "Different seeds or workloads: differences are those of chance as well. Compare several seeds."),
      make("h4", {}, "What differs in the specification"), specification(a, b),
      make("h4", {}, "Numbers"), numbers(a, b),
      make("h4", {}, "Where the latency goes"), report.bars([["A · " + a.label, a.color, a.breakdown], ["B · " + b.label, b.color, b.breakdown]]),
      make("h4", {}, "Latency"), make("div", { class: "columns" }, distributions(a, b).filter(Boolean).map((plot) => make("div", {}, plot))),
      make("h4", {}, "Over time"), make("div", {}, overTime(a, b)),
    ];
  }

  report.startCompare = function () {
    const pickers = ["a", "b"].map((side) => document.getElementById("compare-" + side));
    pickers.forEach((picker) => report.fillPicker(picker, ""));
    const show = function () {
      const [a, b] = pickers.map((picker) => data.runs[Number(picker.value)]);
      document.getElementById("compare-view").replaceChildren(...view(a, b).flat().filter(Boolean));
    };
    // The first two groups, with the same seed if there is such a run.
    const first = data.runs[0];
    const other = data.groups.length > 1 ? data.groups[1].runs : data.groups[0].runs.slice(1);
    const b = other.find((index) => data.runs[index].seed === first.seed);
    pickers[0].value = "0";
    pickers[1].value = String(b !== undefined ? b : other.length > 0 ? other[0] : 0);
    pickers.forEach((picker) => picker.addEventListener("change", show));
    document.getElementById("compare-swap").addEventListener("click", function () {
      [pickers[0].value, pickers[1].value] = [pickers[1].value, pickers[0].value];
      show();
    });
    show();
  };
})();
