// The picture of tiles: each slot of the array in each pass, a page of tiles at a time.

const TILE_WIDTH = 132;
const PAGE_HEIGHT = 470;
const GAP = 14;
const LABEL = 16;

class TilesView {
  constructor(canvas, moved, chosen) {
    this.canvas = canvas;
    this.moved = moved;
    canvas.addEventListener("pointermove", (event) => {
      const place = this.tiles && this.#placeAt(event.offsetX, event.offsetY);
      if (place) this.moveTo(place);
    });
    canvas.addEventListener("keydown", (event) => {
      if (!this.tiles) return;
      if (STEPS[event.key]) this.#step(...STEPS[event.key]);
      else if (event.key === "PageUp") this.turnTo(this.page - 1);
      else if (event.key === "PageDown") this.turnTo(this.page + 1);
      else if (event.key === "Home") this.moveTo({ tile: 0, lane: 0, column: 0 });
      else if (event.key === "End") this.moveTo({ tile: this.tiles.shown - 1, lane: 0, column: 0 });
      else if (event.key === "Enter") chosen(this.place);
      else return;
      event.preventDefault();
    });
  }

  show(tiles) {
    Object.assign(this, { tiles, page: 0, place: { tile: 0, lane: 0, column: 0 } });
  }

  get pages() { return Math.ceil(this.tiles.shown / this.perPage); }

  get onPage() {
    const first = this.page * this.perPage;
    return [first, Math.min(this.tiles.shown, first + this.perPage)];
  }

  turnTo(page) {
    const chosen = Math.max(0, Math.min(this.pages - 1, page));
    if (chosen !== this.page) this.moveTo({ tile: chosen * this.perPage, lane: 0, column: 0 });
  }

  moveTo(place) {
    this.place = place;
    const page = Math.floor(place.tile / this.perPage);
    if (page === this.page) this.draw();
    else {
      this.page = page;
      this.paint(this.weights);
    }
    this.moved(place);
  }

  paint(weights) { // the tiles of the page, onto a canvas that draw() copies
    this.weights = weights;
    this.#layOut();
    this.page = Math.floor(this.place.tile / this.perPage);
    const [first, end] = this.onPage;
    this.ratio = window.devicePixelRatio || 1;
    const high = Math.ceil((end - first) / this.perRow) * this.high;
    const wide = Math.min(this.perRow, end - first) * this.wide;
    Object.assign(this.canvas.style, { width: `${wide}px`, height: `${high}px` });
    this.base = document.createElement("canvas");
    Object.assign(this.base, { width: Math.round(wide * this.ratio), height: Math.round(high * this.ratio) });
    const context = this.base.getContext("2d");
    context.scale(this.ratio, this.ratio);
    const colors = { label: color("--muted"), outside: color("--outside"), empty: color("--empty"), weights };
    for (let tile = first; tile < end; tile++) this.#drawTile(context, tile, colors);
    this.draw();
  }

  draw() {
    const { tile, lane, column } = this.place;
    const { slot, size } = this;
    Object.assign(this.canvas, { width: this.base.width, height: this.base.height });
    const context = this.canvas.getContext("2d");
    context.drawImage(this.base, 0, 0);
    context.scale(this.ratio, this.ratio);
    if (this.tiles.isInside(tile, lane, column)) this.#markFilter(context, this.tiles.filterOf(tile, column));
    const [left, top] = this.#corner(tile);
    context.strokeStyle = color("--fg");
    context.lineWidth = 1.5;
    context.strokeRect(left + column * slot - 1, top + lane * slot - 1, size + 2, size + 2);
  }

  #markFilter(context, filter) {
    const [first, end] = this.onPage;
    const { slot, size, tiles } = this;
    context.fillStyle = color("--mark");
    for (let tile = first; tile < end; tile++) {
      const [left, top] = this.#corner(tile);
      for (let column = 0; column < tiles.columnsOf[tile]; column++) {
        if (tiles.filterOf(tile, column) !== filter) continue;
        for (let lane = 0; lane < tiles.lanesOf[tile]; lane++) {
          if (tiles.inputAt(tile, lane, column) >= 0) context.fillRect(left + column * slot, top + lane * slot, size, size);
        }
      }
    }
  }

  #layOut() {
    const room = Math.max(120, this.canvas.parentElement.clientWidth);
    const { rows, columns } = this.tiles;
    this.slot = Math.max(1, Math.min(8, Math.max(2, Math.floor(TILE_WIDTH / columns)), Math.floor((room - GAP) / columns)));
    this.size = this.slot >= 4 ? this.slot - 1 : this.slot; // with a line between slots that are large enough
    this.wide = columns * this.slot + GAP;
    this.high = rows * this.slot + GAP + LABEL;
    this.perRow = Math.max(1, Math.floor((room + GAP) / this.wide));
    this.perPage = this.perRow * Math.max(1, Math.floor(PAGE_HEIGHT / this.high));
  }

  #corner(tile) {
    const index = tile - this.onPage[0];
    return [(index % this.perRow) * this.wide + 1, Math.floor(index / this.perRow) * this.high + LABEL];
  }

  #drawTile(context, tile, colors) {
    const { rows, columns, lanesOf, columnsOf } = this.tiles;
    const [left, top] = this.#corner(tile);
    const { slot, size } = this;
    const fill = this.tiles.weightsIn(tile) / (lanesOf[tile] * columnsOf[tile]);
    context.fillStyle = colors.label;
    context.font = "11px system-ui, sans-serif";
    context.fillText(`${tile} · ${Math.round(100 * fill)} %`, left, top - 5);
    for (let lane = 0; lane < rows; lane++) {
      for (let column = 0; column < columns; column++) {
        const inside = lane < lanesOf[tile] && column < columnsOf[tile];
        const used = inside && this.tiles.inputAt(tile, lane, column) >= 0;
        context.fillStyle = used ? colors.weights : inside ? colors.empty : colors.outside;
        context.fillRect(left + column * slot, top + lane * slot, size, size);
      }
    }
  }

  #placeAt(x, y) {
    const [across, down] = [Math.floor(x / this.wide), Math.floor(y / this.high)];
    const column = Math.floor((x - across * this.wide - 1) / this.slot);
    const lane = Math.floor((y - down * this.high - LABEL) / this.slot);
    const tile = this.onPage[0] + down * this.perRow + across;
    const isSlot = across < this.perRow && tile < this.onPage[1] && column >= 0 && lane >= 0;
    return isSlot && column < this.tiles.columns && lane < this.tiles.rows ? { tile, lane, column } : null;
  }

  #step(right, down) { // over the border of a tile to the next one
    let { tile, lane, column } = this.place;
    const { rows, columns, shown } = this.tiles;
    column += right;
    lane += down;
    if (column < 0 || column >= columns) {
      tile += right;
      column = right > 0 ? 0 : columns - 1;
    }
    if (lane < 0 || lane >= rows) {
      tile += down * this.perRow;
      lane = down > 0 ? 0 : rows - 1;
    }
    if (tile >= 0 && tile < shown) this.moveTo({ tile, lane, column });
  }
}
