// The table of layers: a heading sorts, the text field filters.

const layerTable = byId("layer-table");
const layerRows = [...layerTable.tBodies[0].rows];

function keyOf(row, column) {
  const text = row.cells[column].dataset.key;
  const value = Number(text);
  return text === "" ? null : Number.isNaN(value) ? text : value;
}

function compareKeys(one, other) {
  if (one === null || other === null) return (one === null) - (other === null); // what is missing comes last
  return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other), "en");
}

function sortBy(button) {
  const heading = button.closest("th");
  const ascending = heading.getAttribute("aria-sort") === "descending";
  for (const other of layerTable.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const column = Number(button.dataset.column);
  const keys = new Map(layerRows.map((row) => [row, keyOf(row, column)]));
  layerRows.sort((one, other) => {
    const [first, second] = [keys.get(one), keys.get(other)];
    const missing = first === null || second === null;
    return ascending || missing ? compareKeys(first, second) : compareKeys(second, first);
  });
  layerTable.tBodies[0].append(...layerRows);
}

layerTable.tHead.addEventListener("click", (event) => {
  const button = event.target.closest("button.sort");
  if (button) sortBy(button);
});

byId("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of layerRows) {
    row.hidden = !words.every((word) => row.dataset.filter.includes(word));
    shown += !row.hidden;
  }
  byId("filtered").textContent = shown === layerRows.length ? `${shown} layers` : `${shown} of ${layerRows.length} layers`;
});
