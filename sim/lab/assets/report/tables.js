"use strict";
/*
 * Sortable tables: every heading of a table of class `sortable` becomes a button. The first press
 * sorts upwards, the next one downwards; equal rows keep their order. Columns of class `number` are
 * compared as numbers, with empty cells last; others as people write them ("run 9" before "run 10").
 */
(function () {
  const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function value(row, column, isNumber) {
    const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
    if (!isNumber) return text;
    return text === "" ? null : Number(text);
  }

  function compare(one, other, isNumber) {
    if (!isNumber) return order.compare(one, other);
    return one - other;
  }

  function sort(table, column, upwards) {
    const isNumber = table.tHead.rows[0].cells[column].classList.contains("number");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => [value(row, column, isNumber), row]);
    rows.sort(function ([one], [other]) {
      if (one === null || other === null) return (one === null) - (other === null);
      const difference = compare(one, other, isNumber);
      return upwards ? difference : -difference;
    });
    body.append(...rows.map(([, row]) => row));
    for (const heading of table.tHead.rows[0].cells) heading.removeAttribute("aria-sort");
    table.tHead.rows[0].cells[column].setAttribute("aria-sort", upwards ? "ascending" : "descending");
  }

  /** Makes a table sortable. */
  report.sortable = function (table) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = report.make("button", { type: "button", title: heading.title || null });
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", function () {
        sort(table, heading.cellIndex, heading.getAttribute("aria-sort") !== "ascending");
      });
    }
    return table;
  };

  report.sortTables = () =>
    document.querySelectorAll("table.sortable").forEach((table) => report.sortable(table));
})();
