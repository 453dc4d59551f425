"use strict";
/*
 * Plots that can be zoomed: with the mouse (drag over a span, double click for all of it), with
 * buttons, and with the keyboard when the plot has the focus (+ and - zoom, arrows move, 0 shows
 * everything). Plots of one set show the same span. What went wrong on purpose is shaded.
 */
(function () {
  const HEIGHT = 220;
  const FAULT_SHADE = "--fault";

  /** Plots that show the same span; `null` for one by itself. */
  report.plotSet = () => ({ plots: [], range: null });

  function shade(faults) {
    return function (plot) {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.fillStyle = report.style(FAULT_SHADE);
      for (const [, from, to] of faults) {
        const left = plot.valToPos(from, "x", true);
        const width = Math.max(plot.valToPos(to, "x", true) - left, 2 * devicePixelRatio);
        ctx.fillRect(left, bbox.top, width, bbox.height);
      }
      ctx.restore();
    };
  }

  function axes(asked) {
    const common = {
      stroke: report.style("--soft"),
      grid: { stroke: report.style("--line"), width: 1 },
      ticks: { stroke: report.style("--line"), width: 1 },
    };
    const x = Object.assign({ label: asked.xLabel, labelSize: 18 }, common, asked.xAxis || {});
    const y = Object.assign({ size: 62 }, common);
    if (asked.log) y.values = (_, splits) => splits.map((at) => (at === null ? "" : report.number(at)));
    return [x, y];
  }

  /** Dots where a value has no neighbour, which no line would show. */
  function alone(values) {
    const isThere = (n) => values[n] !== null && values[n] !== undefined;
    const found = values.map((_, n) => n).filter((n) => isThere(n) && !isThere(n - 1) && !isThere(n + 1));
    return found.length === 0 ? { show: false } : { show: true, size: 5, filter: () => found };
  }

  function options(asked, width, set) {
    const series = asked.curves.map((curve) => ({
      label: curve.name,
      stroke: report.ink(curve.color),
      dash: curve.dash,
      width: 1.6,
      spanGaps: asked.spanGaps || false,
      points: alone(curve.values),
      value: (_, at) => report.number(at === null ? null : Number(at.toPrecision(4))) || "–",
    }));
    const xValue = asked.xValue || ((at) => report.number(at));
    return {
      width,
      height: asked.height || HEIGHT,
      scales: { x: { time: false }, y: asked.log ? { distr: 3 } : { range: (_, low, high) => [Math.min(0, low), high * 1.05 || 1] } },
      axes: axes(asked),
      series: [{ label: asked.xName, value: (_, at) => (at === null ? "–" : xValue(at)) }, ...series],
      legend: { live: true },
      cursor: { drag: { x: true, y: false, setScale: true } },
      hooks: {
        drawClear: [shade(asked.faults || [])],
        setScale: [function (plot, scale) {
          if (scale === "x" && set) share(set, plot);
        }],
      },
    };
  }

  /** Shows the span of one plot in all others of its set. */
  function share(set, plot) {
    const { min, max } = plot.scales.x;
    if (set.sharing || min === undefined || min === null) return;
    set.sharing = true;
    set.range = [min, max];
    for (const other of set.plots) {
      if (other.plot !== plot && other.plot) other.plot.setScale("x", { min, max });
    }
    set.sharing = false;
  }

  function zoom(view, factor, shift) {
    const all = view.asked.x;
    const [first, last] = [all[0], all[all.length - 1]];
    const { min, max } = view.plot.scales.x;
    const half = ((max - min) / 2) * factor;
    const centre = (min + max) / 2 + shift * (max - min);
    const width = Math.min(half, (last - first) / 2);
    const middle = Math.min(Math.max(centre, first + width), last - width);
    view.plot.setScale("x", { min: middle - width, max: middle + width });
  }

  const KEYS = {
    "+": [0.5, 0], "=": [0.5, 0], "-": [2, 0],
    ArrowLeft: [1, -0.25], ArrowRight: [1, 0.25], "0": [Infinity, 0], Escape: [Infinity, 0],
  };
  const BUTTONS = [
    ["+", "Zoom in", "+"], ["−", "Zoom out", "-"], ["←", "Earlier", "ArrowLeft"],
    ["→", "Later", "ArrowRight"], ["all", "Show everything", "0"],
  ];

  /** Buttons for what the keys do; `act` is given the arguments of a key. */
  report.zoomButtons = (act, keys) =>
    report.make("span", { class: "zoom", role: "group", "aria-label": "Zoom" },
      BUTTONS.map(([sign, name, key]) => report.make("button",
        { type: "button", title: name, "aria-label": name, onclick: () => act(...keys[key]) }, sign)));

  /** Lets keys act on an element that has the focus. */
  report.zoomKeys = (element, act, keys) => element.addEventListener("keydown", function (event) {
    const found = keys[event.key];
    if (!found || event.ctrlKey || event.metaKey || event.altKey || event.target !== element) return;
    event.preventDefault();
    act(...found);
  });

  /**
   * A plot. `asked`: title, x, xName, xLabel, curves (name, color, dash, values), faults, log,
   * xAxis, xValue. Returns its element; `set` is the set it belongs to.
   */
  report.plot = function (asked, set) {
    const view = { asked, plot: null };
    const act = (factor, shift) => zoom(view, factor, shift);
    const names = asked.curves.map((curve) => curve.name).join(", ");
    const place = report.make("div", {
      class: "plot", tabindex: "0", role: "application",
      "aria-label": asked.title + ": " + names + ". Keys: plus and minus zoom, arrows move, 0 shows everything.",
    });
    const figure = report.make("figure", { class: "plotted" },
      report.make("figcaption", {}, report.make("span", {}, asked.title), report.zoomButtons(act, KEYS)), place);
    report.zoomKeys(place, act, KEYS);
    if (set) set.plots.push(view);
    function redraw() {
      if (!place.isConnected || place.clientWidth === 0) return;
      const range = view.plot && [view.plot.scales.x.min, view.plot.scales.x.max];
      if (view.plot) view.plot.destroy();
      const table = [asked.x, ...asked.curves.map((curve) => curve.values)];
      view.plot = new uPlot(options(asked, place.clientWidth, set), table, place);
      view.plot.root.querySelectorAll("canvas").forEach((canvas) => canvas.setAttribute("aria-hidden", "true"));
      if (range) view.plot.setScale("x", { min: range[0], max: range[1] });
    }
    const forget = report.onScheme(redraw);
    let width = 0;
    const observer = new ResizeObserver(function () {
      if (!place.isConnected) {
        forget();
        observer.disconnect();
      } else if (place.clientWidth !== width) {
        width = place.clientWidth;
        redraw();
      }
    });
    observer.observe(place);
    figure.zoomed = () => (view.plot ? [view.plot.scales.x.min, view.plot.scales.x.max] : null);
    return figure;
  };

  /** Percentiles so that each further nine takes the same room; the maximum stands at the end. */
  const MAXIMUM_AT = 3.5;
  const nines = (fraction) => (fraction >= 1 ? MAXIMUM_AT : Math.log10(1 / (1 - fraction)));
  const TICKS = [[0, "0"], [0.5, "50 %"], [0.9, "90 %"], [0.99, "99 %"], [0.999, "99.9 %"], [1, "max"]];

  /** A plot of latency by percentile; each curve has the quantiles of a distribution. */
  report.percentilePlot = (title, curves) => report.plot({
    title,
    x: report.data.fractions.map(nines),
    xName: "percentile",
    xLabel: "percentile (each nine takes the same room)",
    xAxis: {
      splits: () => TICKS.map(([at]) => nines(at)),
      values: (_, splits) => splits.map((at) => (TICKS.find(([of]) => Math.abs(nines(of) - at) < 1e-9) || [0, ""])[1]),
    },
    xValue: (at) => (at >= MAXIMUM_AT ? "max" : report.number(Number((100 * (1 - Math.pow(10, -at))).toFixed(2))) + " %"),
    spanGaps: true,
    log: curves.every((curve) => curve.values.every((value) => value === null || value > 0)),
    curves,
  }, null);
})();
