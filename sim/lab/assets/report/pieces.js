"use strict";
/*
 * Pieces of which the views of a run and of a comparison are made: tables, bars of latency, checks,
 * specifications, commands.
 */
(function () {
  const { data, make, number, text } = report;
  const NAMED_FROM = 0.09;

  /** A table that scrolls by itself. Cells are texts, numbers or elements. */
  report.table = function (name, heading, rows, numeric) {
    const cell = (column, content) => (column === 0
      ? make("th", { scope: "row" }, content)
      : make("td", { class: numeric[column] ? "number" : null }, content));
    const table = make("table", { class: "sortable" },
      make("thead", {}, make("tr", {}, heading.map((title, column) =>
        make("th", { scope: "col", class: numeric[column] ? "number" : null }, title)))),
      make("tbody", {}, rows.map((row) => make("tr", {}, row.map((content, column) =>
        cell(column, typeof content === "number" ? number(content) : content))))));
    report.sortable(table);
    return make("div", { class: rows.length > 14 ? "scroll tall" : "scroll", tabindex: "0", role: "region", "aria-label": name }, table);
  };

  /** A table of the data: a heading of texts and rows of cells. */
  report.dataTable = function (name, table) {
    const rows = table.rows.map((row) => row.map(report.cell));
    const heading = table.heading.map((index) => text(index).replaceAll("_", " "));
    const numeric = heading.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === "number"));
    return report.table(name, heading, rows, numeric);
  };

  report.folded = (title, ...content) =>
    make("details", {}, make("summary", {}, title), ...content);

  /** A command or a text that can be copied. */
  report.copyable = function (content, label) {
    const button = make("button", { type: "button", class: "copy" }, "Copy");
    button.addEventListener("click", function () {
      const range = document.createRange();
      range.selectNodeContents(block);
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      // Pages from a disk have no clipboard in some browsers; the text is then selected.
      const copied = navigator.clipboard ? navigator.clipboard.writeText(content) : Promise.reject();
      copied.then(() => { button.textContent = "Copied"; }, () => { button.textContent = "Selected"; });
    });
    const block = make("pre", { tabindex: "0", "aria-label": label }, content);
    return make("div", { class: "copyable" }, block, button);
  };

  /** Which of black and white can be read on a colour. */
  function inkOn(color) {
    const part = (at) => parseInt(color.slice(at, at + 2), 16);
    return 299 * part(1) + 587 * part(3) + 114 * part(5) > 130000 ? "#111" : "#fff";
  }

  function bar(label, color, parts, longest) {
    const sum = parts.reduce((all, part) => all + part, 0);
    const whole = longest > 0 ? sum / longest : 0;
    const used = report.data.categories.map((category, n) => [category, parts[n]]).filter(([, part]) => part > 0);
    const said = used.map(([category, part]) => category.name + " " + part.toFixed(2) + " ms").join(", ");
    const spans = used.map(([category, part]) => make("span", {
      style: "width:" + (100 * part / sum).toFixed(2) + "%;background:" + category.color + ";color:" + inkOn(category.color),
      title: category.name + " " + part.toFixed(3) + " ms, " + (100 * part / sum).toFixed(1) + " %",
    }, whole * part / sum > NAMED_FROM ? category.name : ""));
    return make("div", { class: "row" },
      make("div", { class: "name" }, make("span", { class: "swatch", style: "background:" + color }), label),
      make("div", { class: "track" },
        make("div", { class: "bar", role: "img", "aria-label": label + ": " + said, style: "--share:" + (100 * whole).toFixed(2) + "%" }, spans),
        make("span", { class: "value" }, number(sum, sum >= 1000 ? 0 : sum >= 10 ? 1 : 2) + " ms")));
  }

  /** Bars of the breakdown of these runs (label, colour, parts), with a legend. */
  report.bars = function (rows) {
    const given = rows.filter(([, , parts]) => parts);
    if (given.length === 0) return make("p", { class: "note" }, "There is no breakdown: the load runs jobs, or nothing completed.");
    const longest = Math.max(...given.map(([, , parts]) => parts.reduce((all, part) => all + part, 0)));
    const used = report.data.categories.filter((_, n) => given.some(([, , parts]) => parts[n] > 0));
    return make("div", {},
      make("ul", { class: "legend" }, used.map((category) =>
        make("li", {}, make("span", { class: "swatch", style: "background:" + category.color }), category.name))),
      make("div", { class: "bars" }, given.map(([label, color, parts]) => bar(label, color, parts, longest))));
  };

  report.checks = function (run) {
    const rows = run.checks.map(([name, verdict, detail, history]) => [
      text(name),
      verdict === "fail" ? make("strong", { class: "bad" }, "FAIL") : verdict,
      make("span", {}, text(detail), history.map((line) => [make("br"), text(line)])),
    ]);
    return report.table("Checks", ["check", "verdict", "detail"], rows, [false, false, false]);
  };

  /** The text of a specification. */
  report.spec = (run) => run.spec.map(text).join("\n") + "\n";

  report.repeat = (run) => [
    make("p", {}, "In the folder of this report, this repeats the run and has to print the digest ", make("code", {}, run.digest), ":"),
    report.copyable(run.command, "Command that repeats the run"),
  ];

  const PERCENTILES = {
    latency: [["p50 ms", 0.5], ["p90 ms", 0.9], ["p99 ms", 0.99], ["p99.9 ms", 0.999], ["max ms", 1]],
    client: [["client p50 ms", 0.5], ["client p99 ms", 0.99]],
  };

  /**
   * The distribution `key` (latency or client) of a run at the fractions of the data: its quantiles,
   * or, if only its summary was kept, the percentiles of that with gaps between them; null if there
   * are none.
   */
  report.quantiles = function (run, key) {
    if (run[key]) return run[key];
    const values = data.fractions.map(() => null);
    for (const [name, fraction] of PERCENTILES[key]) {
      const metric = data.metrics.findIndex((metric) => metric.name === name);
      values[data.fractions.indexOf(fraction)] = run.metrics[metric];
    }
    return values.some((value) => value !== null) ? values : null;
  };

  /** The instants of a run's series: the middles of their spans. */
  report.instants = function (run) {
    const points = run.plots.length === 0 ? 0 : Math.max(...run.plots.map((plot) => Math.max(0, ...plot.curves.map((curve) => curve[1].length))));
    return Array.from({ length: points }, (_, n) => (n + 0.5) * run.width);
  };
})();
