"use strict";
/*
 * What all scripts of a report share: the data of the page, texts by their index, numbers for
 * people, elements, colours. The data is described in sim/lab/src/report/data.rs. Text from results
 * becomes text nodes, never markup.
 */
const report = {};

(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  report.data = data;

  /** The text with this index. */
  report.text = (index) => data.strings[index];

  /** A cell of a table: a number, or the index of a text in a list. */
  report.cell = (cell) => (Array.isArray(cell) ? report.text(cell[0]) : cell);

  /** A number for a person; nothing for nothing. */
  report.number = function (value, digits) {
    if (value === null || value === undefined) return "";
    if (typeof value !== "number") return String(value);
    if (digits !== undefined) return value.toFixed(digits);
    if (Number.isInteger(value)) return String(value);
    return Math.abs(value) < 0.001 ? value.toPrecision(4) : String(Number(value.toPrecision(6)));
  };

  const holder = document.createElement("div");
  holder.innerHTML = "<svg></svg>";
  const drawing = holder.firstChild.namespaceURI;

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== "") element.append(child);
    }
    return element;
  }

  /** An element with attributes (those that begin with "on" are listeners) and children. */
  report.make = (tag, attributes, ...children) =>
    fill(document.createElement(tag), attributes, children);

  /** The same for an element of a drawing. */
  report.draw = (tag, attributes, ...children) =>
    fill(document.createElementNS(drawing, tag), attributes, children);

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const redraws = new Set();
  dark.addEventListener("change", () => redraws.forEach((redraw) => redraw()));

  /** Calls `redraw` whenever the page goes dark or light, until the returned function is called. */
  report.onScheme = function (redraw) {
    redraws.add(redraw);
    return () => redraws.delete(redraw);
  };

  /** The value of a variable of the style sheet. */
  report.style = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** The colour of an engine on the present background: black is not seen on black. */
  report.ink = (color) => (dark.matches && color === "#000000" ? "#E6E6E6" : color);

  /** The colour and the dashes of the n-th curve that is of no engine. */
  report.curve = (n) => ({
    color: report.style("--curve-" + (n % 10)),
    dash: n < 10 ? [] : [6, 4],
  });

  /** A duration in nanoseconds for a person. */
  report.duration = function (nanos) {
    const units = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]];
    for (const [size, unit] of units) {
      if (Math.abs(nanos) >= size) return Number((nanos / size).toPrecision(6)) + " " + unit;
    }
    return nanos + " ns";
  };
})();
