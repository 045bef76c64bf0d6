// The picture of a layer matrix: a cell is a weight, or a block of weights of a large matrix.

const MOST_HIGH = 520;
const LARGEST_CELL = 8;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class MatrixView {
  constructor(canvas, moved, chosen) {
    this.canvas = canvas;
    this.moved = moved;
    canvas.addEventListener("pointermove", (event) => {
      if (!this.matrix) return;
      const box = canvas.getBoundingClientRect();
      this.moveTo(Math.floor(((event.clientX - box.left) * this.matrix.width) / box.width),
        Math.floor(((event.clientY - box.top) * this.matrix.height) / box.height));
    });
    canvas.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (step) this.moveTo(this.x + step[0], this.y + step[1]);
      else if (event.key === "Enter") chosen(this.x, this.y);
      else return;
      event.preventDefault();
    });
  }

  show(matrix, counts) {
    Object.assign(this, { matrix, counts, x: 0, y: 0 });
  }

  moveTo(x, y) {
    this.mark(x, y);
    this.moved(this.x, this.y);
  }

  mark(x, y) { // without a message, where the weight was chosen elsewhere
    this.x = Math.max(0, Math.min(this.matrix.width - 1, x));
    this.y = Math.max(0, Math.min(this.matrix.height - 1, y));
    this.draw();
  }

  paint(weights) { // all cells, onto a canvas that draw() copies
    const { width, height, filtersOfCell, inputsOfCell } = this.matrix;
    const room = this.canvas.parentElement.clientWidth;
    const scale = Math.max(1, Math.min(LARGEST_CELL, Math.floor(room / width), Math.floor(MOST_HIGH / height)));
    this.canvas.style.width = `${Math.min(room, width * scale)}px`;
    this.base = Object.assign(document.createElement("canvas"), { width, height });
    const context = this.base.getContext("2d");
    context.fillStyle = color("--outside");
    context.fillRect(0, 0, width, height);
    context.fillStyle = weights;
    const most = filtersOfCell * inputsOfCell;
    this.counts.forEach((count, index) => {
      if (!count) return;
      context.globalAlpha = most === 1 ? 1 : 0.25 + (0.75 * count) / most;
      context.fillRect(index % width, Math.floor(index / width), 1, 1);
    });
    this.draw();
  }

  draw() {
    const { width, height } = this.matrix;
    Object.assign(this.canvas, { width, height });
    const context = this.canvas.getContext("2d");
    context.drawImage(this.base, 0, 0);
    context.fillStyle = color("--fg");
    context.globalAlpha = 0.25;
    context.fillRect(0, this.y, width, 1);
    context.fillRect(this.x, 0, 1, height);
    context.globalAlpha = 1;
    context.fillStyle = color("--mark");
    context.fillRect(this.x, this.y, 1, 1);
  }
}
