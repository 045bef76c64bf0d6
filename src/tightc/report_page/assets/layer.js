// The chosen layer: its sentence, its matrix and its tiles, and what the pictures say of a weight.

const LISTED = 16;
const loaded = new Map();
let current = null;
let listedPage = -1;

const matrixView = new MatrixView(byId("matrix"), reportCell, gotoTile);
const tilesView = new TilesView(byId("tiles"), reportSlot, gotoCell);

async function load(record) {
  if (!loaded.has(record)) {
    const counts = await decode(record.matrix.counts);
    loaded.set(record, { record, counts, tiles: record.tiles && (await Tiles.of(record.tiles)) });
  }
  return loaded.get(record);
}

function chosenLetter() { return byId("pick-subject")?.value ?? ""; }

async function showLayer(layer) {
  byId("pick").value = layer;
  for (const article of document.querySelectorAll("#layer article")) article.hidden = article.id !== `layer-${layer}`;
  const letter = chosenLetter();
  const record = records.find((one) => one.layer === Number(layer) && one.letter === letter);
  byId("absent").hidden = Boolean(record);
  byId("pictures").hidden = !record;
  if (!record) return;
  current = await load(record);
  if (byId("pick").value !== String(layer)) return; // another was chosen meanwhile
  const { matrix, filters, inputs, groups, tiles } = record;
  const blocks = matrix.filtersOfCell * matrix.inputsOfCell > 1
    ? `; a cell is ${matrix.filtersOfCell} × ${matrix.inputsOfCell} weights` : "";
  byId("matrix-title").textContent =
    `Before: ${number(filters)} filters × ${number(inputs)} inputs${groups > 1 ? ` in ${groups} groups` : ""}${blocks}`;
  matrixView.show(matrix, current.counts);
  byId("tiles-picture").hidden = !tiles;
  byId("status").textContent = tiles ? "" : "The layer has no tiles: it runs dense.";
  if (!tiles) {
    redraw();
    return;
  }
  const part = current.tiles.shown < tiles.count ? `the first ${number(current.tiles.shown)} of ` : "";
  byId("tiles-title").textContent = `After: ${part}${number(tiles.count)} ${tiles.count === 1 ? "tile" : "tiles"} of ${tiles.rows} lanes × ${tiles.columns} columns`;
  tilesView.show(current.tiles);
  redraw();
}

function nameOfInput(input) {
  const { kernel } = current.record;
  if (!kernel) return `input ${input}`;
  const [high, wide] = kernel;
  const [channel, position] = [Math.floor(input / (high * wide)), input % (high * wide)];
  return `input ${input} (channel ${channel}, dy ${Math.floor(position / wide)}, dx ${position % wide})`;
}

function listed(values) {
  const texts = Array.from(values.subarray(0, LISTED));
  return texts.join(", ") + (values.length > LISTED ? ` and ${values.length - LISTED} more` : "");
}

function firstInputOf(filter) {
  const { filters, inputs, groups } = current.record;
  return Math.floor(filter / (filters / groups)) * inputs;
}

function reportSlot({ tile, lane, column }) {
  const { tiles, record } = current;
  if (tilesView.page !== listedPage) showPages();
  const place = `Tile ${tile}, lane ${lane}, column ${column}`;
  if (!tiles.isInside(tile, lane, column)) {
    byId("status").textContent = `${place}: array outside the tile`;
    return;
  }
  const [filter, input] = [tiles.filterOf(tile, column), tiles.inputAt(tile, lane, column)];
  const carried = tiles.carriedBy(tile, lane);
  const content = input < 0 ? `empty slot of filter ${filter}`
    : `${tiles.subwords > 1 ? "subword" : "weight"} of filter ${filter}, ${nameOfInput(input)}`;
  byId("status").textContent =
    `${place}: ${content}. The lane carries ${carried.length} ${carried.length === 1 ? "input" : "inputs"}: ${listed(carried)}.`;
  if (input >= 0) {
    const { filtersOfCell, inputsOfCell } = record.matrix;
    matrixView.mark(Math.floor((input - firstInputOf(filter)) / inputsOfCell), Math.floor(filter / filtersOfCell));
  }
}

function reportCell(x, y) {
  const { matrix } = current.record;
  const count = current.counts[y * matrix.width + x];
  const [filter, input] = [y * matrix.filtersOfCell, x * matrix.inputsOfCell];
  if (matrix.filtersOfCell * matrix.inputsOfCell > 1) {
    byId("status").textContent = `From filter ${filter}, input ${input}: ${count} nonzeros in the cell`;
    return;
  }
  const numbered = firstInputOf(filter) + input;
  const place = count && current.tiles?.placeOf(filter, numbered);
  const where = place ? `, in tile ${place.tile}, lane ${place.lane}, column ${place.column}` : "";
  byId("status").textContent = `Filter ${filter}, ${nameOfInput(numbered)}: ${count ? "a weight" : "zero"}${where}`;
}

function gotoTile(x, y) {
  const { matrix } = current.record;
  const filter = y * matrix.filtersOfCell;
  const place = current.tiles?.placeOf(filter, firstInputOf(filter) + x * matrix.inputsOfCell);
  if (!place) return;
  byId("tiles").focus();
  tilesView.moveTo(place);
}

function gotoCell({ tile, lane, column }) {
  const { tiles } = current;
  if (!tiles.isInside(tile, lane, column) || tiles.inputAt(tile, lane, column) < 0) return;
  byId("matrix").focus();
  const { x, y } = matrixView;
  matrixView.moveTo(x, y);
}

function showPages() {
  listedPage = tilesView.page;
  const [first, end] = tilesView.onPage;
  byId("pages").textContent =
    `Page ${tilesView.page + 1} of ${tilesView.pages}: ${end - first === 1 ? `tile ${first}` : `tiles ${first} to ${end - 1}`} of ${number(current.tiles.count)}`;
  byId("previous").disabled = tilesView.page === 0;
  byId("next").disabled = tilesView.page === tilesView.pages - 1;
  const { tiles } = current;
  const rows = [];
  for (let tile = first; tile < end; tile++) {
    const [lanes, columns, weights] = [tiles.lanesOf[tile], tiles.columnsOf[tile], tiles.weightsIn(tile)];
    const filters = tiles.filters.subarray(tiles.columnStarts[tile], tiles.columnStarts[tile + 1]);
    const cells = [tile, lanes, columns, weights, `${((100 * weights) / (lanes * columns)).toFixed(1)} %`, tiles.fanInOf(tile)];
    const row = document.createElement("tr");
    for (const text of [...cells, listed(filters)]) row.insertCell().textContent = text;
    rows.push(row);
  }
  byId("tile-table").tBodies[0].replaceChildren(...rows);
}

function redraw() {
  if (!current || byId("pictures").hidden) return;
  const weights = color(current.record.letter === "B" ? "--b" : "--a");
  matrixView.paint(weights);
  if (!current.tiles) return;
  tilesView.paint(weights);
  showPages();
}

byId("pick").addEventListener("change", (event) => showLayer(event.target.value));
byId("pick-subject")?.addEventListener("change", () => showLayer(byId("pick").value));
byId("previous").addEventListener("click", () => tilesView.turnTo(tilesView.page - 1));
byId("next").addEventListener("click", () => tilesView.turnTo(tilesView.page + 1));
layerTable.addEventListener("click", (event) => {
  const button = event.target.closest("button.link");
  if (!button) return;
  showLayer(button.dataset.layer);
  byId("layer").scrollIntoView();
  byId("pick").focus({ preventScroll: true });
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
window.matchMedia("print").addEventListener("change", redraw);
window.addEventListener("resize", redraw);
showLayer(byId("pick").value).then(() => { document.documentElement.dataset.ready = "true"; });
