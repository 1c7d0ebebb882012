"use strict";

// A click on a column's head sorts by it, another click the other way round; rows without a value stay at the end.
for (const table of document.querySelectorAll("table.board")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const isNumber = head.classList.contains("number");
      const before = head.getAttribute("aria-sort");
      const sign = before === null ? (isNumber && head.textContent !== "rank" ? -1 : 1) : before === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const keyOf = (row) => {
        const cell = row.cells[column];
        if (!isNumber) return cell.dataset.key ?? cell.textContent;
        return cell.dataset.key === undefined ? null : Number(cell.dataset.key);
      };
      const compare = (one, other) => {
        const [a, b] = [keyOf(one), keyOf(other)];
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (isNumber ? a - b : a.localeCompare(b));
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}

// The field above a table keeps the rows, and the submissions below it, that hold every word.
for (const section of document.querySelectorAll("section")) {
  const search = section.querySelector(".search");
  if (search === null) continue;
  search.hidden = false;
  search.querySelector("input").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const entry of section.querySelectorAll("[data-words]")) {
      entry.hidden = !words.every((word) => entry.dataset.words.includes(word));
      shown += entry.tagName === "TR" && !entry.hidden;
    }
    search.querySelector("[role=status]").textContent = words.length ? `${shown} shown` : "";
  });
}

// A link to a submission opens its card, in browsers that do not do so by themselves.
const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const card = target?.closest("details");
  if (card) {
    card.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", open);
open();
