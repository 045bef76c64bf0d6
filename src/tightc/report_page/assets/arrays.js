// Arrays of a layer, unpacked from the page when the layer is first shown.

const KINDS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };

async function decode({ bytes, zlib }) {
  const packed = Uint8Array.from(atob(zlib), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new KINDS[bytes](await new Response(stream).arrayBuffer());
}

function startsOf(counts) {
  const starts = new Uint32Array(counts.length + 1);
  counts.forEach((count, index) => { starts[index + 1] = starts[index] + count; });
  return starts;
}

class Tiles {
  static async of(record) {
    const tiles = new Tiles();
    const names = ["lanesOf", "columnsOf", "filters", "carried", "inputs", "select"];
    const arrays = await Promise.all(names.map((name) => decode(record[name])));
    names.forEach((name, index) => { tiles[name] = arrays[index]; });
    Object.assign(tiles, { rows: record.rows, columns: record.columns, count: record.count, subwords: record.subwords });
    tiles.shown = tiles.lanesOf.length;
    tiles.laneStarts = startsOf(tiles.lanesOf);
    tiles.columnStarts = startsOf(tiles.columnsOf);
    tiles.slotStarts = startsOf(Array.from(tiles.lanesOf, (lanes, tile) => lanes * tiles.columnsOf[tile]));
    tiles.inputStarts = startsOf(tiles.carried);
    return tiles;
  }

  isInside(tile, lane, column) { return lane < this.lanesOf[tile] && column < this.columnsOf[tile]; }

  filterOf(tile, column) { return this.filters[this.columnStarts[tile] + column]; }

  carriedBy(tile, lane) {
    const index = this.laneStarts[tile] + lane;
    return this.inputs.subarray(this.inputStarts[index], this.inputStarts[index + 1]);
  }

  inputAt(tile, lane, column) { // -1 where the slot is empty
    const selected = this.select[this.slotStarts[tile] + lane * this.columnsOf[tile] + column];
    return selected ? this.inputs[this.inputStarts[this.laneStarts[tile] + lane] + selected - 1] : -1;
  }

  weightsIn(tile) {
    return this.select.subarray(this.slotStarts[tile], this.slotStarts[tile + 1]).reduce((sum, one) => sum + (one > 0), 0);
  }

  fanInOf(tile) {
    return this.carried.subarray(this.laneStarts[tile], this.laneStarts[tile + 1]).reduce((most, one) => Math.max(most, one), 0);
  }

  placeOf(filter, input) { // where the weight is; nothing where it is in no tile that the page holds
    this.places ??= this.#allPlaces();
    return this.places.get(`${filter},${input}`);
  }

  #allPlaces() {
    const places = new Map();
    for (let tile = 0; tile < this.shown; tile++) {
      for (let lane = 0; lane < this.lanesOf[tile]; lane++) {
        for (let column = 0; column < this.columnsOf[tile]; column++) {
          const input = this.inputAt(tile, lane, column);
          const key = `${this.filterOf(tile, column)},${input}`;
          if (input >= 0 && !places.has(key)) places.set(key, { tile, lane, column });
        }
      }
    }
    return places;
  }
}
