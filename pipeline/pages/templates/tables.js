// Tables: sort by a column, search by name, filter by method; the last two for galleries too.
function sortBy(head) {
  const row = head.parentElement, table = row.closest("table"), body = table.tBodies[0];
  const index = Array.prototype.indexOf.call(row.cells, head);
  const descending = head.getAttribute("aria-sort") === "descending" ? false
    : head.getAttribute("aria-sort") === "ascending" ? true : head.classList.contains("n");
  for (const other of row.cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const numeric = head.classList.contains("n"), sign = descending ? -1 : 1;
  const keyed = Array.from(body.rows, (line, order) => {
    const cell = line.cells[index];
    const key = numeric ? (cell.dataset.value ? parseFloat(cell.dataset.value) : NaN) : cell.textContent.trim();
    return { line, key, order };
  });
  keyed.sort((a, b) => {
    if (!numeric) return sign * a.key.localeCompare(b.key, undefined, { numeric: true }) || a.order - b.order;
    // What has no value goes last, whichever way.
    if (isNaN(a.key) || isNaN(b.key)) return isNaN(a.key) - isNaN(b.key) || a.order - b.order;
    return sign * (a.key - b.key) || a.order - b.order;
  });
  body.append(...keyed.map((one) => one.line));
}
for (const button of document.querySelectorAll("button.sort")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}
function filter(id) {
  const search = document.querySelector(`input[data-table="${id}"]`), select = document.querySelector(`select[data-table="${id}"]`);
  const wanted = search.value.trim().toLowerCase(), method = select ? select.value : "";
  let shown = 0;
  const listed = document.getElementById(id), lines = listed.tBodies ? listed.tBodies[0].rows : listed.children;
  for (const line of lines) {
    const hidden = (method && line.dataset.method !== method) || !line.dataset.name.includes(wanted);
    line.hidden = hidden;
    if (!hidden) shown += 1;
  }
  document.querySelector(`output[data-count="${id}"]`).textContent = `${shown} of ${lines.length} ${listed.tBodies ? "rows" : "shown"}`;
}
for (const control of document.querySelectorAll("[data-table]")) {
  for (const kind of ["input", "change"]) control.addEventListener(kind, () => filter(control.dataset.table));
}
for (const id of new Set(Array.from(document.querySelectorAll("[data-table]"), (one) => one.dataset.table))) filter(id);

// Explanations of columns: on hover, on focus and on a tap.
const tip = document.createElement("div");
tip.id = "tip"; tip.hidden = true; tip.setAttribute("aria-hidden", "true");
document.body.append(tip);
function showTip(event) {
  tipAt(event.target.closest && event.target.closest("[data-hint]"));
}
function tipAt(hint) {
  tip.hidden = !hint;
  if (!hint) return;
  tip.textContent = hint.dataset.hint;
  const at = hint.getBoundingClientRect(), size = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(16, Math.min(at.left, window.innerWidth - size.width - 16))}px`;
  tip.style.top = `${at.bottom + size.height + 8 < window.innerHeight ? at.bottom + 6 : at.top - size.height - 6}px`;
}
for (const kind of ["mouseover", "focusin", "click"]) document.addEventListener(kind, showTip);
// A page that scrolls to what gets the focus must not take its explanation away.
document.addEventListener("scroll", () => { if (!tip.hidden) tipAt(document.activeElement.closest("[data-hint]")); }, true);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
