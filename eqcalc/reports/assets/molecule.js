// SPDX-License-Identifier: MIT
// A molecule that vibrates, drawn on a canvas from the back to the front.
"use strict";

const SWING = 0.3; // Å, displacement of the atom that moves most, at amplitude 1
const PERIOD = 1600; // ms of the slowest of the selected modes

const rotation = (axis, angle) => {
  const c = Math.cos(angle), s = Math.sin(angle);
  return axis === "x" ? [[1, 0, 0], [0, c, -s], [0, s, c]] : [[c, 0, s], [0, 1, 0], [-s, 0, c]];
};
const product = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, v, k) => sum + v * b[k][j], 0)));
const turned = (m, v) => m.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);

class Viewer {
  constructor(canvas) {
    Object.assign(this, { canvas, amplitude: 1, playing: true, arrows: false, numbers: false, zoom: 1, phase: 0, modes: [] });
    this.view = product(rotation("x", -0.35), rotation("y", 0.35));
    this.listen();
    const frame = (now) => {
      if (this.playing && this.last !== undefined) this.phase += (now - this.last) / PERIOD;
      this.last = now;
      if (this.playing || this.stale) this.draw();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** Show a molecule that moves along some of its modes, each with its quanta. */
  show(molecule, quanta) {
    const modes = Object.entries(quanta).map(([k, n]) => ({ ...molecule.modes[Number(k)], quanta: n, index: Number(k) }));
    if (molecule !== this.molecule) this.extent = Math.max(...molecule.positions.map((r) => Math.hypot(...r))) + 0.75;
    const slowest = Math.min(...modes.map((m) => m.wavenumber));
    Object.assign(this, { molecule, modes, phase: 0, stale: true });
    for (const mode of modes) {
      mode.rate = mode.wavenumber / slowest;
      mode.scale = SWING / Math.sqrt(modes.length) / Math.max(...mode.vectors.map((v) => Math.hypot(...v)), 1e-12);
    }
    this.canvas.dataset.modes = modes.map((m) => m.index + 1).join(" ");
  }

  set(options) { Object.assign(this, options, { stale: true }); }

  displaced(phases) {
    return this.molecule.positions.map((r, i) => r.map((x, a) => x + this.modes.reduce((sum, m, k) => sum + this.amplitude * m.scale * phases[k] * m.vectors[i][a], 0)));
  }

  draw() {
    const { canvas, molecule } = this;
    this.stale = false;
    if (!molecule || !canvas.clientWidth) return;
    const dense = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(height * dense);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    const size = (Math.min(width, height) / 2 / this.extent) * this.zoom, far = 4 * this.extent;
    const project = (r) => {
      const [x, y, z] = turned(this.view, r), near = far / (far - z);
      return { x: width / 2 + size * near * x, y: height / 2 - size * near * y, z, size: size * near };
    };
    const phases = this.modes.map((m) => Math.sin(2 * Math.PI * this.phase * m.rate));
    const places = this.displaced(phases), atoms = places.map(project);
    const parts = atoms.map((at, i) => ({ z: at.z, draw: () => this.atom(pen, at, i) }));
    for (const [i, j] of molecule.bonds) {
      const middle = places[i].map((x, a) => (x + places[j][a]) / 2), end = project(middle);
      for (const k of [i, j]) {
        // from within the surface of the atom, so that no bond is seen on it
        const half = middle.map((x, a) => x - places[k][a]), inside = (0.8 * molecule.radii[k]) / Math.hypot(...half);
        const start = project(places[k].map((x, a) => x + inside * half[a]));
        parts.push({ z: (start.z + end.z) / 2, draw: () => this.line(pen, start, end, 0.17 * end.size, molecule.colors[k]) });
      }
    }
    if (this.arrows && this.modes.length) {
      const ends = this.displaced(phases.map((phase) => phase + 3));
      places.forEach((r, i) => {
        const from = project(r), to = project(ends[i]);
        if (Math.hypot(to.x - from.x, to.y - from.y) > 5) parts.push({ z: 1e9, draw: () => this.arrow(pen, from, to) });
      });
    }
    parts.sort((a, b) => a.z - b.z).forEach((part) => part.draw());
  }

  atom(pen, at, i) {
    const radius = this.molecule.radii[i] * at.size, color = this.molecule.colors[i];
    const shade = pen.createRadialGradient(at.x - 0.35 * radius, at.y - 0.4 * radius, 0.1 * radius, at.x, at.y, radius);
    shade.addColorStop(0, "#fff");
    shade.addColorStop(0.35, color);
    shade.addColorStop(1, mixed(color, 0.55));
    pen.fillStyle = shade;
    pen.beginPath();
    pen.arc(at.x, at.y, radius, 0, 2 * Math.PI);
    pen.fill();
    pen.lineWidth = 0.8;
    pen.strokeStyle = mixed(color, 0.4);
    pen.stroke();
    if (this.numbers) {
      pen.font = "600 12px sans-serif";
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.lineWidth = 3;
      pen.strokeStyle = "#fff";
      pen.strokeText(`${this.molecule.symbols[i]}${i}`, at.x, at.y);
      pen.fillStyle = "#111";
      pen.fillText(`${this.molecule.symbols[i]}${i}`, at.x, at.y);
    }
  }

  line(pen, a, b, width, color) {
    pen.lineCap = "butt";
    for (const [w, c] of [[width, mixed(color, 0.5)], [0.7 * width, mixed(color, 0.9)]]) {
      pen.lineWidth = w;
      pen.strokeStyle = c;
      pen.beginPath();
      pen.moveTo(a.x, a.y);
      pen.lineTo(b.x, b.y);
      pen.stroke();
    }
  }

  arrow(pen, from, to) {
    const angle = Math.atan2(to.y - from.y, to.x - from.x), head = 8;
    pen.strokeStyle = pen.fillStyle = getComputedStyle(this.canvas).getPropertyValue("--select");
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.lineTo(to.x - 0.7 * head * Math.cos(angle), to.y - 0.7 * head * Math.sin(angle));
    pen.stroke();
    pen.beginPath();
    pen.moveTo(to.x, to.y);
    for (const side of [-0.4, 0.4]) pen.lineTo(to.x - head * Math.cos(angle + side), to.y - head * Math.sin(angle + side));
    pen.fill();
  }

  listen() {
    let last = null;
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (e) => { last = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointerup", () => { last = null; });
    canvas.addEventListener("pointermove", (e) => {
      if (!last) return;
      this.turn(0.01 * (e.clientX - last[0]), 0.01 * (e.clientY - last[1]));
      last = [e.clientX, e.clientY];
    });
    canvas.addEventListener("wheel", (e) => {
      if (document.activeElement !== canvas && !e.ctrlKey) return;
      e.preventDefault();
      this.set({ zoom: Math.min(6, Math.max(0.3, this.zoom * (e.deltaY > 0 ? 0.9 : 1.1))) });
    }, { passive: false });
    canvas.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[e.key];
      if (step) { e.preventDefault(); this.turn(...step); }
    });
    new ResizeObserver(() => this.set({})).observe(canvas);
  }

  turn(right, down) {
    this.set({ view: product(product(rotation("x", down), rotation("y", right)), this.view) });
  }
}

/** Return a colour darkened by a factor. */
function mixed(color, factor) {
  return `#${[1, 3, 5].map((i) => Math.round(parseInt(color.slice(i, i + 2), 16) * factor).toString(16).padStart(2, "0")).join("")}`;
}
