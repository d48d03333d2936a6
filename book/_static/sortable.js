// Tables of class "sortable": a click on a heading sorts the rows by it, a second click turns the
// order round, a third restores it. Without scripts the table stays as it was printed.
(function () {
  "use strict";

  // A number, or an estimate with its interval in brackets; "< 0.001" counts as its limit, and
  // text that only begins with digits, such as a date, is no number.
  const SIZE = "[+-]?(?:\\d[\\d,]*\\.?\\d*|\\.\\d+)(?:e[+-]?\\d+)?";
  const NUMBER = new RegExp("^[<>≤≥≈]?\\s*(" + SIZE + ")(?:\\s*%)?(?:\\s*[(\\[].*[)\\]])?$", "i");

  function number(text) {
    const found = text.replace(/\u2212/g, "-").match(NUMBER);
    return found ? parseFloat(found[1].replace(/,/g, "")) : NaN;
  }

  // Numbers by size, text by the alphabet, cells without a value last in either direction.
  function compare(a, b, direction) {
    const x = number(a), y = number(b);
    if (isNaN(x) && isNaN(y)) return direction * a.localeCompare(b);
    if (isNaN(x)) return 1;
    if (isNaN(y)) return -1;
    return direction * (x - y);
  }

  function makeSortable(table) {
    const body = table.tBodies[0];
    const headings = Array.from(table.querySelectorAll("thead th"));
    const printed = Array.from(body.rows);
    headings.forEach(function (heading, column) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort-button";
      while (heading.firstChild) button.appendChild(heading.firstChild);
      heading.appendChild(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", function () {
        const next = { none: "ascending", ascending: "descending", descending: "none" };
        const order = next[heading.getAttribute("aria-sort")];
        headings.forEach(function (other) { other.setAttribute("aria-sort", "none"); });
        heading.setAttribute("aria-sort", order);
        const direction = order === "descending" ? -1 : 1;
        const rows = order === "none" ? printed : printed.slice().sort(function (a, b) {
          return compare(a.cells[column].textContent.trim(), b.cells[column].textContent.trim(), direction);
        });
        rows.forEach(function (row) { body.appendChild(row); });
      });
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("table.sortable").forEach(makeSortable);
  });
})();
