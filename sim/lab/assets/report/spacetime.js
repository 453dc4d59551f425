"use strict";
/*
 * The space-time view of a traced run: lanes for hosts, partitions and services, time to the right,
 * bars for what took a while, arrows for messages, shades for faults. Zoomed like a plot (drag,
 * buttons, + - arrows 0); processes with many lanes are folded into one until they are opened; a
 * press on a bar or an arrow tells what it is; the table below has the same as text. Only what is in
 * sight is drawn, and never more than DRAWN_MAX.
 */
(function () {
  const { make, draw, text, data, duration } = report;
  const ROW = 22;
  const BAR = 12;
  const TOP = 26;
  const DRAWN_MAX = 2500;
  /** At first, so many events are in sight. */
  const FIRST_EVENTS = 120;
  /** A process with more lanes is folded at first. */
  const LANES_OPEN = 12;
  const ROWS_OF_TABLE = 200;

  const absent = () => [
    make("p", {}, "This run was not traced. A traced run has what each host, partition and service did and which messages went where; then this view shows it:"),
    report.copyable("sim run --trace --out traced", "Command that traces a run"),
    make("p", { class: "note" }, "Add --trace and --out to the command that repeats the run, and make the report again."),
  ];

  /** The rows of the view: a lane or, of a folded process, all of its lanes; without idle lanes. */
  function rowsOf(trace, folded, busy) {
    const rows = [];
    const rowOf = [];
    trace.lanes.forEach(function ([process, thread], lane) {
      if (!busy.has(lane)) return;
      const last = rows[rows.length - 1];
      if (folded.has(process) && last && last.process === process) {
        last.lanes += 1;
      } else {
        rows.push({ process, name: folded.has(process) ? text(process) : text(thread), first: !last || last.process !== process, lanes: 1 });
      }
      rowOf[lane] = rows.length - 1;
    });
    return { rows, rowOf };
  }

  function processes(trace) {
    const lanes = new Map();
    trace.lanes.forEach(([process]) => lanes.set(process, (lanes.get(process) || 0) + 1));
    return lanes;
  }

  /** A colour for each name of spans, the same in every view. */
  function colorOf(name) {
    let hash = 0;
    for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
    return "var(--curve-" + (hash % 10) + ")";
  }

  class View {
    constructor(trace, place) {
      this.trace = trace;
      this.place = place;
      const spans = trace.spans.map((span) => span[1] + span[2]);
      const arrows = trace.arrows.map((arrow) => arrow[3]);
      const last = Math.max(1, ...spans, ...arrows);
      this.all = [0, Math.min(trace.to - trace.from, last)];
      this.folded = new Set([...processes(trace)].filter(([, lanes]) => lanes > LANES_OPEN).map(([process]) => process));
      const starts = [...trace.spans.map((span) => span[1]), ...trace.arrows.map((arrow) => arrow[1])].sort((a, b) => a - b);
      const end = starts[FIRST_EVENTS];
      this.sight = [0, end === undefined ? this.all[1] : Math.max(end, 1)];
      this.build();
    }

    build() {
      const keys = { "+": [0.5, 0], "=": [0.5, 0], "-": [2, 0], ArrowLeft: [1, -0.25], ArrowRight: [1, 0.25], "0": [Infinity, 0], Escape: [Infinity, 0] };
      const act = (factor, shift) => this.zoom(factor, shift);
      this.drawing = make("div", { class: "space-time", tabindex: "0", role: "application", "aria-label": "Space-time view. Keys: plus and minus zoom, arrows move, 0 shows everything." });
      this.told = make("p", { class: "told", "aria-live": "polite" }, "Press a bar or an arrow to see what it is.");
      this.sightTold = make("span", { class: "note" });
      this.table = make("div", {});
      const folds = [...processes(this.trace)].filter(([, lanes]) => lanes > 1).map(([process, lanes]) => {
        const box = make("input", { type: "checkbox" });
        box.checked = !this.folded.has(process);
        box.addEventListener("change", () => {
          if (box.checked) this.folded.delete(process); else this.folded.add(process);
          this.redraw();
        });
        return make("label", { class: "choice" }, box, " " + text(process) + " (" + lanes + " lanes)");
      });
      this.idle = make("input", { type: "checkbox", onchange: () => this.redraw() });
      report.zoomKeys(this.drawing, act, keys);
      this.drag();
      this.place.replaceChildren(
        make("div", { class: "picker" }, report.zoomButtons(act, keys), this.sightTold),
        make("details", {}, make("summary", {}, "Lanes"),
          make("label", { class: "choice" }, this.idle, " lanes without anything in sight, too"), folds),
        this.drawing, this.told,
        make("ul", { class: "legend" },
          make("li", {}, make("span", { class: "swatch", style: "background:var(--curve-0)" }), "something that took a while"),
          make("li", {}, "→ a message"),
          make("li", {}, make("span", { class: "swatch", style: "background:var(--fault)" }), "a fault")),
        make("details", {}, make("summary", {}, "The same as a table"), this.table));
      new ResizeObserver(() => {
        if (this.drawing.clientWidth !== this.width) this.redraw();
      }).observe(this.drawing);
      this.table.parentNode.addEventListener("toggle", () => this.list());
      this.redraw();
    }

    zoom(factor, shift) {
      const [from, to] = this.sight;
      const width = Math.min((to - from) * factor, this.all[1]);
      const centre = (from + to) / 2 + shift * (to - from);
      const start = Math.min(Math.max(centre - width / 2, 0), this.all[1] - width);
      this.sight = [start, start + Math.max(width, 100)];
      this.redraw();
    }

    /** A drag with a mouse or a pen shows what lies under it; fingers scroll the page. */
    drag() {
      let began = null;
      let box = null;
      const at = (event) => event.clientX - this.drawing.getBoundingClientRect().left;
      this.drawing.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "touch" || event.button !== 0) return;
        began = at(event);
        box = draw("rect", { class: "selected", y: 0, height: this.height, x: began, width: 0 });
        this.drawing.firstChild.append(box);
      });
      window.addEventListener("pointermove", (event) => {
        if (began === null) return;
        box.setAttribute("x", Math.min(began, at(event)));
        box.setAttribute("width", Math.abs(at(event) - began));
      });
      window.addEventListener("pointerup", (event) => {
        if (began === null) return;
        const [from, to] = [Math.min(began, at(event)), Math.max(began, at(event))].map((x) => this.instant(x));
        began = null;
        box.remove();
        if (this.place_of(to) - this.place_of(from) > 6) {
          this.sight = [Math.max(from, 0), Math.min(Math.max(to, from + 100), this.all[1])];
          this.redraw();
        }
      });
    }

    place_of(instant) {
      return this.left + ((instant - this.sight[0]) / (this.sight[1] - this.sight[0])) * (this.width - this.left - 8);
    }

    instant(x) {
      return this.sight[0] + ((x - this.left) / (this.width - this.left - 8)) * (this.sight[1] - this.sight[0]);
    }

    inSight(at, end) {
      return at <= this.sight[1] && end >= this.sight[0];
    }

    redraw() {
      this.width = this.drawing.clientWidth;
      if (this.width === 0) return;
      this.left = Math.min(190, this.width * 0.3);
      const spans = this.trace.spans.filter((span) => this.inSight(span[1], span[1] + span[2]));
      const arrows = this.trace.arrows.filter((arrow) => this.inSight(arrow[1], arrow[3]));
      const { rows, rowOf } = rowsOf(this.trace, this.folded, this.busy(spans, arrows));
      Object.assign(this, { rows, rowOf });
      this.height = TOP + rows.length * ROW + 6;
      const drawn = [spans.slice(0, DRAWN_MAX), arrows.slice(0, DRAWN_MAX)];
      const svg = draw("svg", { width: this.width, height: this.height, role: "img", "aria-label": "Space-time view" },
        this.faults(), this.lanes(), this.axis(),
        draw("g", { class: "spans" }, drawn[0].map((span) => this.span(span))),
        draw("g", { class: "arrows" }, drawn[1].map((arrow) => this.arrow(arrow))));
      this.drawing.replaceChildren(svg);
      const from = this.trace.from;
      const left = spans.length + arrows.length - drawn[0].length - drawn[1].length;
      const of_file = "Here from " + duration(from) + " to " + duration(from + this.all[1]) + " of a trace that goes to " + duration(this.trace.traceTo) +
        (this.trace.cutAt === null ? "" : ", where it was cut") + (this.trace.leftOut > 0 ? " (" + this.trace.leftOut + " later events left out; sim report --trace-window FROM..UNTIL shows others). " : ". ");
      this.sightTold.textContent = of_file + "In sight: " + duration(this.sight[1] - this.sight[0]) + " from " + duration(from + this.sight[0]) + " on, " +
        spans.length + " bars, " + arrows.length + " messages" + (left > 0 ? ", of which " + left + " are not drawn: zoom in." : ".");
      this.list();
    }

    /** Lanes with anything in sight, or all of them if that is wanted. */
    busy(spans, arrows) {
      if (this.idle.checked) return new Set(this.trace.lanes.keys());
      const faults = this.trace.faults.filter((fault) => fault[0] !== null && this.inSight(fault[1], fault[1] + fault[2]));
      return new Set([...spans, ...faults].map((found) => found[0]).concat(arrows.flatMap((arrow) => [arrow[0], arrow[2]])));
    }

    lanes() {
      return this.rows.map((row, n) => {
        const y = TOP + n * ROW;
        const label = row.first ? text(row.process) : "";
        const name = row.lanes > 1 ? row.name + " (" + row.lanes + ")" : label && label !== row.name ? label + " · " + row.name : row.name;
        const most = Math.max(4, Math.floor(this.left / 6.4));
        return [
          draw("line", { class: row.first ? "lane first" : "lane", x1: 0, x2: this.width, y1: y, y2: y }),
          draw("text", { x: 2, y: y + ROW - 7 }, draw("title", {}, text(row.process) + " · " + row.name), name.length > most ? name.slice(0, most - 1) + "…" : name),
        ];
      });
    }

    axis() {
      const span = this.sight[1] - this.sight[0];
      const rough = span / Math.max(2, Math.floor((this.width - this.left) / 110));
      const power = Math.pow(10, Math.floor(Math.log10(rough)));
      const step = [1, 2, 5, 10].map((n) => n * power).find((size) => size >= rough);
      const first = Math.ceil((this.sight[0] + this.trace.from) / step) * step - this.trace.from;
      const ticks = [];
      for (let at = first; at <= this.sight[1]; at += step) {
        const x = this.place_of(at);
        ticks.push(draw("line", { class: "tick", x1: x, x2: x, y1: TOP - 6, y2: this.height }),
          draw("text", { class: "time", x, y: TOP - 11, "text-anchor": "middle" }, duration(this.trace.from + at)));
      }
      return ticks;
    }

    clip(at) {
      return Math.min(Math.max(this.place_of(at), this.left), this.width);
    }

    faults() {
      return this.trace.faults.filter((fault) => this.inSight(fault[1], fault[1] + fault[2])).map(([lane, at, lasting, name]) => {
        const [y, height] = lane === null ? [TOP, this.height - TOP] : this.ofProcess(this.trace.lanes[lane][0]);
        const x = this.clip(at);
        return draw("rect", { class: "fault", x, y, height, width: Math.max(2, this.clip(at + lasting) - x), onclick: () => this.tell("Fault " + text(name) + ": from " + duration(this.trace.from + at) + " for " + duration(lasting)) },
          draw("title", {}, text(name)));
      });
    }

    /** Where the rows of a process begin, and how high they are. */
    ofProcess(process) {
      const first = this.rows.findIndex((row) => row.process === process);
      const rows = this.rows.filter((row) => row.process === process).length;
      return [TOP + first * ROW, rows * ROW];
    }

    span([lane, at, lasting, name, category]) {
      const x = this.clip(at);
      const width = Math.max(1.5, this.clip(at + lasting) - x);
      const said = text(name) + (text(category) ? " (" + text(category) + ")" : "") + " on " + this.lane(lane) + ": from " + duration(this.trace.from + at) + " for " + duration(lasting);
      const y = TOP + this.rowOf[lane] * ROW + (ROW - BAR) / 2;
      return draw("rect", { x, y, width, height: BAR, rx: 2, style: "fill:" + colorOf(text(name)), onclick: () => this.tell(said) }, draw("title", {}, said));
    }

    lane(lane) {
      const [process, thread] = this.trace.lanes[lane];
      return process === thread ? text(process) : text(process) + " · " + text(thread);
    }

    arrow([from, sent, to, arrived, name]) {
      const middle = (lane) => TOP + this.rowOf[lane] * ROW + ROW / 2;
      const [x1, y1, x2, y2] = [this.place_of(sent), middle(from), this.place_of(arrived), middle(to)];
      const [bounded1, bounded2] = [Math.max(x1, this.left), Math.max(x2, this.left)];
      const said = text(name) + " from " + this.lane(from) + " to " + this.lane(to) + ": sent at " + duration(this.trace.from + sent) + ", under way for " + duration(arrived - sent);
      const same = y1 === y2;
      const path = same
        ? "M" + bounded1 + " " + y1 + " Q" + (bounded1 + bounded2) / 2 + " " + (y1 - ROW * 0.9) + " " + bounded2 + " " + y2
        : "M" + bounded1 + " " + y1 + " L" + bounded2 + " " + y2;
      const angle = same ? Math.atan2(ROW * 0.9, (bounded2 - bounded1) / 2) : Math.atan2(y2 - y1, bounded2 - bounded1);
      const wing = (turn) => (bounded2 - 7 * Math.cos(angle + turn)) + " " + (y2 - 7 * Math.sin(angle + turn));
      return draw("g", { class: "arrow", onclick: () => this.tell("Message " + said) },
        draw("title", {}, said),
        draw("path", { class: "hit", d: path }), draw("path", { d: path }),
        draw("path", { class: "head", d: "M" + bounded2 + " " + y2 + " L" + wing(0.4) + " L" + wing(-0.4) + " Z" }));
    }

    tell(said) {
      this.told.textContent = said;
    }

    /** The table has what is in sight, if it is open. */
    list() {
      if (!this.table.parentNode.open) return;
      const of_spans = this.trace.spans.filter((span) => this.inSight(span[1], span[1] + span[2]))
        .map(([lane, at, lasting, name]) => [at, text(name), this.lane(lane), "", lasting]);
      const of_arrows = this.trace.arrows.filter((arrow) => this.inSight(arrow[1], arrow[3]))
        .map(([from, sent, to, arrived, name]) => [sent, "message " + text(name), this.lane(from), this.lane(to), arrived - sent]);
      const rows = [...of_spans, ...of_arrows].sort((one, other) => one[0] - other[0]).slice(0, ROWS_OF_TABLE)
        .map(([at, name, lane, to, lasting]) => [name, lane, to, ((this.trace.from + at) / 1e6).toFixed(3), (lasting / 1e6).toFixed(3)]);
      this.table.replaceChildren(
        report.table("Events in sight", ["what", "on", "to", "at, ms", "lasting, ms"], rows, [false, false, false, true, true]),
        make("p", { class: "note" }, "At most the first " + ROWS_OF_TABLE + " in sight."));
    }
  }

  report.startSpaceTime = function () {
    const place = document.getElementById("space-time-view");
    const show = function (index) {
      const { trace } = data.runs[index];
      place.replaceChildren();
      if (trace) return void new View(trace, place);
      const traced = data.runs.map((run, n) => [run, n]).filter(([run]) => run.trace);
      place.replaceChildren(...(traced.length === 0 ? absent() : [
        make("p", {}, "There is no view of this run. Runs with one:"),
        make("ul", {}, traced.map(([run, n]) => make("li", {}, make("a", { href: "#run-" + n }, run.label + " — " + run.name)))),
      ]));
    };
    report.onRun(show);
    show(report.shownRun());
  };
})();
