// SPDX-License-Identifier: MIT
// A spectrum in SVG with the lines of each treatment in lanes below it.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

/** Return an element with attributes and children; text is never read as markup. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "rect", "g", "clipPath", "style"].includes(tag);
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Return round numbers between two limits, about n of them. */
function ticks(low, high, n) {
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

const superscript = (n) => String(n).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));

/** Return a number with significant digits, in powers of ten if it is very large or small. */
function shown(x, digits = 4) {
  if (x === null || !Number.isFinite(x)) return "–";
  if (x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e6)) {
    const [mantissa, power] = x.toExponential(digits - 1).split("e");
    return `${mantissa}×10${superscript(Number(power))}`;
  }
  return String(Number(x.toPrecision(digits)));
}

/** The units of each kind of spectrum: a function of the stored value and the wavenumber. */
function unitsOf(kind, constants, sample) {
  const scaled = (name, unit) => ({ name, of: (y) => y * constants[name], unit });
  if (kind === "infrared") {
    // A = ε c l of a gas with c = p/RT; 1 mbar = 100 Pa, 1 m³ = 1000 L
    const amount = () => (sample.pressure * 100 * sample.length) / (1000 * constants.gas * constants.temperature);
    const absorbance = (y) => y * constants["molar absorption coefficient"] * amount();
    return [
      scaled("intensity", "km/mol per cm⁻¹"),
      scaled("molar absorption coefficient", "L mol⁻¹ cm⁻¹"),
      scaled("cross-section", "cm² per molecule"),
      { name: "transmittance", of: (y) => 10 ** -absorbance(y), unit: "", inputs: ["pressure", "length"], top: 1 },
      { name: "absorbance", of: absorbance, unit: "decadic", inputs: ["pressure", "length"] },
    ];
  }
  const section = (y, x) => {
    const scattered = 1e7 / sample.laser - x;
    if (x < 5 || scattered <= 0) return NaN;
    const bose = -Math.expm1((-constants.radiation * x) / constants.temperature);
    return (y * constants.raman * scattered ** 4) / (x * bose);
  };
  return [
    { name: "activity", of: (y) => y, unit: "Å⁴/amu per cm⁻¹" },
    { name: "cross-section", of: section, unit: "cm² sr⁻¹ per cm⁻¹", inputs: ["laser"] },
  ];
}

const INPUTS = {
  pressure: ["pressure", "mbar", 0],
  length: ["path", "cm", 0],
  laser: ["laser", "nm", 100],
};
const LEFT = 78, RIGHT = 26, TOP = 8, LANE = 32, AXIS = 42;

class Chart {
  /** Draw a panel into a parent; `app` holds what all panels share: range, direction, selection. */
  constructor(parent, panel, constants, app) {
    Object.assign(this, { panel, app, tall: app.single ? 330 : 230 });
    this.sample = { pressure: 1, length: 10, laser: 532 };
    this.constants = constants;
    this.units = unitsOf(panel.kind, constants, this.sample);
    this.unit = this.units[0];
    this.svg = make("svg", { role: "img", "aria-label": `${panel.title} spectrum` });
    this.readout = make("output", { class: "readout" });
    this.inputs = make("span", { class: "bar" });
    this.choice = make("select", { "aria-label": `unit of the ${panel.title} spectrum`, onchange: () => this.choose() });
    this.units.forEach((u, i) => this.choice.append(make("option", { value: i }, u.name + (u.unit && ` [${u.unit}]`))));
    const button = (text, title, onclick) => make("button", { type: "button", title, onclick }, text);
    this.figure = make("figure", { class: "spectrum", "data-kind": panel.kind },
      make("div", { class: "bar" }, make("h2", {}, panel.title), this.choice, this.inputs,
        button("⇄", "reverse the wavenumber axis", () => app.set({ reversed: !app.reversed })),
        button("+", "zoom in", () => this.zoom(0.5)), button("−", "zoom out", () => this.zoom(2)),
        button("all", "whole range", () => app.set({ range: app.full })),
        button("CSV", "save the visible range as CSV", () => this.saveCsv()),
        button("SVG", "save the figure as SVG", () => this.saveSvg())),
      this.readout, this.svg);
    parent.append(this.figure);
    this.listen();
    this.choose();
  }

  choose() {
    this.unit = this.units[Number(this.choice.value)];
    this.inputs.replaceChildren(...(this.unit.inputs || []).map((name) => {
      const [text, unit, least] = INPUTS[name];
      const input = make("input", { type: "number", min: least, step: "any", value: this.sample[name], "data-input": name });
      input.addEventListener("input", () => {
        if (Number(input.value) > least) { this.sample[name] = Number(input.value); this.convert(); }
      });
      return make("label", {}, text, input, unit);
    }));
    this.convert();
  }

  /** Convert all curves to the chosen unit. */
  convert() {
    const { panel, unit } = this, x = (i) => panel.start + i * panel.step;
    this.y = panel.values.map((v, i) => unit.of(v, x(i)));
    this.limits = panel.error && [-1, 1].map((s) => panel.values.map((v, i) => unit.of(v + s * panel.error[i], x(i))));
    this.measured = panel.measured.map((m) => ({ ...m, y: m.y.map((v, i) => unit.of(v, m.x[i])) }));
    this.draw();
  }

  lanes() {
    const found = this.app.treatments.map((t, n) => ({ label: t.name, treatment: n, errors: true, color: `var(--lane${n})`,
      sticks: t.sticks.map((s, i) => ({ x: s.x, h: s[this.panel.kind], error: s.error, expected: s.expected, index: i })) }));
    const color = "var(--lane4)";
    for (const list of this.panel.listed) {
      found.push({ label: list.label, treatment: null, errors: true, color,
        sticks: list.bands.map((b) => ({ x: b.x, h: 1, error: b.error, name: b.name })) });
    }
    return found.filter((lane) => lane.sticks.length);
  }

  draw() {
    const width = Math.max(this.svg.clientWidth || this.figure.clientWidth - 26, 280);
    this.laneList = this.lanes();
    const height = TOP + this.tall + this.laneList.length * LANE + AXIS;
    const [low, high] = this.app.range, inner = width - LEFT - RIGHT;
    const sign = this.app.reversed ? -1 : 1;
    this.toX = (v) => LEFT + inner * (sign > 0 ? (v - low) / (high - low) : (high - v) / (high - low));
    this.fromX = (px) => (sign > 0 ? low + ((px - LEFT) / inner) * (high - low) : high - ((px - LEFT) / inner) * (high - low));
    const [bottom, top] = this.yRange(low, high);
    this.toY = (v) => TOP + this.tall - ((v - bottom) / (top - bottom)) * this.tall;
    const parts = [];
    this.axes(parts, width, height, bottom, top);
    const clip = `clip-${this.panel.kind}`;
    parts.push(make("clipPath", { id: clip }, make("rect", { x: LEFT, y: TOP, width: inner, height: height - TOP - AXIS })));
    const inside = make("g", { "clip-path": `url(#${clip})` });
    if (this.limits) inside.append(make("path", { class: "errors", d: this.area(), fill: "var(--band)" }));
    inside.append(make("path", { class: "curve", d: this.path(this.y, (i) => this.panel.start + i * this.panel.step), fill: "none", stroke: "var(--curve)", "stroke-width": 1.5, "stroke-linejoin": "round" }));
    for (const m of this.measured) {
      inside.append(make("path", { class: "measured", d: this.path(m.y, (i) => m.x[i]), fill: "none", stroke: "var(--measured)", "stroke-width": 1.2 }));
    }
    this.measured.forEach((m, n) => parts.push(make("text", { x: width - RIGHT - 6, y: TOP + 14 + 16 * n, "text-anchor": "end", style: "fill: var(--measured)" }, m.name)));
    this.laneList.forEach((lane, n) => this.drawLane(inside, parts, lane, TOP + this.tall + n * LANE, width));
    const chosen = this.app.selection;
    if (chosen) {
      const x = this.toX(chosen.stick.x);
      inside.append(make("line", { class: "selected", x1: x, x2: x, y1: TOP, y2: height - AXIS, stroke: "var(--select)", "stroke-dasharray": "3 3" }));
    }
    this.brush = make("rect", { y: TOP, height: height - TOP - AXIS, width: 0, fill: "var(--accent)", "fill-opacity": 0.15 });
    this.cross = make("line", { y1: TOP, y2: height - AXIS, stroke: "var(--soft)", "stroke-width": 0.5, visibility: "hidden" });
    inside.append(this.brush, this.cross);
    parts.push(inside);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.style.height = `${height}px`;
    this.svg.replaceChildren(...parts);
    this.tell(null);
  }

  yRange(low, high) {
    let least = this.unit.top === undefined ? 0 : this.unit.top, most = least;
    const take = (values, x) => values.forEach((v, i) => {
      if (Number.isFinite(v) && x(i) >= low && x(i) <= high) { least = Math.min(least, v); most = Math.max(most, v); }
    });
    const grid = (i) => this.panel.start + i * this.panel.step;
    take(this.y, grid);
    if (this.limits) this.limits.forEach((edge) => take(edge, grid));
    this.measured.forEach((m) => take(m.y, (i) => m.x[i]));
    if (most === least) return [least - 0.5, least + 0.5];
    const margin = 0.06 * (most - least);
    return [least < 0 || this.unit.top !== undefined ? least - margin : 0, most + margin];
  }

  /** Return a path with the lowest and highest value in each pixel. */
  path(values, x) {
    const [low, high] = this.app.range, columns = new Map();
    let text = "", before = null;
    const flush = () => {
      for (const [px, [first, least, most, last]] of [...columns].sort((a, b) => a[0] - b[0])) {
        for (const v of least === most ? [first] : [first, least, most, last]) {
          text += `${before === null ? "M" : "L"}${px},${this.toY(v).toFixed(1)}`;
          before = px;
        }
      }
    };
    const margin = 0.02 * (high - low);
    values.forEach((v, i) => {
      if (!Number.isFinite(v) || x(i) < low - margin || x(i) > high + margin) return;
      const px = Math.round(2 * this.toX(x(i))) / 2, seen = columns.get(px);
      if (seen) { seen[1] = Math.min(seen[1], v); seen[2] = Math.max(seen[2], v); seen[3] = v; } else columns.set(px, [v, v, v, v]);
    });
    flush();
    return text;
  }

  area() {
    const [low, high] = this.app.range, edges = ["", ""];
    const every = Math.max(1, Math.floor((high - low) / this.panel.step / 1500));
    const points = [];
    this.y.forEach((v, i) => {
      const x = this.panel.start + i * this.panel.step;
      if (i % every === 0 && Number.isFinite(v) && x >= low && x <= high) points.push(i);
    });
    if (!points.length) return "";
    points.forEach((i, n) => { edges[0] += `${n ? "L" : "M"}${this.toX(this.panel.start + i * this.panel.step).toFixed(1)},${this.toY(this.limits[1][i]).toFixed(1)}`; });
    points.reverse().forEach((i) => { edges[1] += `L${this.toX(this.panel.start + i * this.panel.step).toFixed(1)},${this.toY(this.limits[0][i]).toFixed(1)}`; });
    return `${edges[0]}${edges[1]}Z`;
  }

  axes(parts, width, height, bottom, top) {
    const largest = Math.max(Math.abs(bottom), Math.abs(top));
    const power = largest < 1e-3 || largest >= 1e5 ? Math.floor(Math.log10(largest)) : 0;
    for (const v of ticks(bottom, top, 5)) {
      const y = this.toY(v);
      parts.push(make("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, stroke: "var(--line)" }));
      parts.push(make("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, String(Number((v / 10 ** power).toPrecision(6)))));
    }
    for (const v of ticks(...this.app.range, Math.max(3, Math.floor(width / 110)))) {
      const x = this.toX(v);
      parts.push(make("line", { x1: x, x2: x, y1: TOP, y2: height - AXIS + 4, stroke: "var(--line)" }));
      parts.push(make("text", { x, y: height - AXIS + 17, "text-anchor": "middle" }, String(Number(v.toPrecision(8)))));
    }
    const times = power ? ` / 10${superscript(power)}` : "";
    const title = `${this.unit.name}${times}${this.unit.unit && ` [${this.unit.unit}]`}`;
    parts.push(make("text", { class: "title", transform: `translate(14 ${TOP + this.tall / 2}) rotate(-90)`, "text-anchor": "middle" }, title));
    const axis = this.panel.kind === "infrared" ? "wavenumber" : "Raman shift";
    parts.push(make("text", { class: "title", x: (LEFT + width - RIGHT) / 2, y: height - 6, "text-anchor": "middle" }, `${axis} [cm⁻¹]`));
  }

  drawLane(inside, parts, lane, y, width) {
    const base = y + LANE;
    parts.push(make("line", { x1: LEFT, x2: width - RIGHT, y1: base, y2: base, stroke: "var(--line)" }));
    parts.push(make("text", { x: LEFT - 6, y: base - 8, "text-anchor": "end", style: `fill: ${lane.color}` }, lane.label));
    const known = lane.sticks.map((s) => s.h).filter((h) => h !== null);
    const largest = Math.max(...known, 1e-30);
    for (const s of lane.sticks) {
      const x = this.toX(s.x), tall = s.h === null ? 0.5 : s.h / largest;
      s.top = base - Math.max(4, tall * (LANE - 6));
      s.tall = tall;
      inside.append(make("line", { class: "stick", x1: x, x2: x, y1: base, y2: s.top, stroke: lane.color, "stroke-width": 1.8 }));
      const expected = s.expected ?? s.x, centre = this.toX(expected);
      const half = s.error ? Math.abs(this.toX(expected + s.error) - centre) : 0;
      if (half > 1.5 && tall > 0.05) {
        inside.append(make("line", { class: "error", x1: centre - half, x2: centre + half, y1: s.top, y2: s.top, stroke: lane.color, "stroke-width": 1 }));
      }
    }
  }

  // --- pointer ------------------------------------------------------------------------

  place(event) {
    const box = this.svg.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  listen() {
    let start = null;
    this.svg.addEventListener("pointerdown", (e) => {
      start = this.place(e);
      this.svg.setPointerCapture(e.pointerId);
    });
    this.svg.addEventListener("pointermove", (e) => {
      const [x, y] = this.place(e);
      this.tell([x, y]);
      if (start && Math.abs(x - start[0]) > 4) {
        this.brush.setAttribute("x", Math.min(x, start[0]));
        this.brush.setAttribute("width", Math.abs(x - start[0]));
      }
    });
    this.svg.addEventListener("pointerup", (e) => {
      const [x, y] = this.place(e);
      if (start && Math.abs(x - start[0]) > 4) {
        const ends = [this.fromX(start[0]), this.fromX(x)].sort((a, b) => a - b);
        this.app.set({ range: this.bounded(ends) });
      } else if (start) this.pick(x, y);
      start = null;
    });
    this.svg.addEventListener("pointerleave", () => this.tell(null));
    this.svg.addEventListener("dblclick", () => this.app.set({ range: this.app.full }));
    this.svg.addEventListener("wheel", (e) => {
      if (!e.ctrlKey) return;
      e.preventDefault();
      this.zoom(e.deltaY > 0 ? 1.25 : 0.8, this.fromX(this.place(e)[0]));
    }, { passive: false });
  }

  bounded([low, high]) {
    const [first, last] = this.app.full;
    const least = Math.min(2, last - first), centre = (low + high) / 2, half = Math.max(high - low, least) / 2;
    return [Math.max(first, centre - half), Math.min(last, centre + half)];
  }

  zoom(factor, centre) {
    const [low, high] = this.app.range;
    const at = centre === undefined ? (low + high) / 2 : centre;
    this.app.set({ range: this.bounded([at - factor * (at - low), at + factor * (high - at)]) });
  }

  /** Return the line at a place: in its lane the nearest, in the plot that which makes the band. */
  find(x, y) {
    const n = Math.floor((y - TOP - this.tall) / LANE), at = this.fromX(x);
    const lane = n >= 0 ? this.laneList[n] : this.laneList.find((l) => l.treatment === 0);
    if (!lane || x < LEFT) return null;
    let best = null, most = n >= 0 ? -14 : 1e-4;
    for (const s of lane.sticks) {
      const merit = n >= 0 ? -Math.abs(this.toX(s.x) - x) : s.tall / (1 + ((s.x - at) / 15) ** 2);
      if (merit > most) { most = merit; best = s; }
    }
    return best && { lane, stick: best };
  }

  pick(x, y) {
    const found = this.find(x, y);
    if (found && found.lane.treatment !== null) this.app.select(found.lane.treatment, found.stick.index);
  }

  /** Say what is under the pointer, or the integral over the visible range. */
  tell(place) {
    if (this.cross) this.cross.setAttribute("visibility", place ? "visible" : "hidden");
    if (!place) {
      const [low, high] = this.app.range;
      let sum = 0;
      this.panel.values.forEach((v, i) => { const x = this.panel.start + i * this.panel.step; if (x >= low && x <= high) sum += v * this.panel.step; });
      const unit = this.panel.kind === "infrared" ? "km/mol" : "Å⁴/amu";
      let text = `${low.toFixed(0)} – ${high.toFixed(0)} cm⁻¹: integral ${shown(sum, 3)} ${unit}`;
      if (this.unit.inputs && this.unit.inputs.includes("length")) {
        const perSquare = (this.sample.pressure * 100 * 1e-6 * this.constants.avogadro * this.sample.length) / (this.constants.gas * this.constants.temperature);
        text += `; column density ${shown(perSquare, 3)} molecules/cm²`;
      }
      this.readout.textContent = text;
      return;
    }
    const [x, y] = place, at = this.fromX(x);
    this.cross.setAttribute("x1", x);
    this.cross.setAttribute("x2", x);
    const value = this.y[Math.round((at - this.panel.start) / this.panel.step)];
    const found = this.find(x, y);
    const name = found && (found.lane.treatment === null ? found.stick.name : this.app.treatments[found.lane.treatment].sticks[found.stick.index].label);
    this.readout.textContent = `${at.toFixed(1)} cm⁻¹: ${shown(value === undefined ? null : value)} ${this.unit.unit}` +
      (found ? ` · ${found.lane.label} ${name} at ${found.stick.x.toFixed(1)}` : "");
  }

  // --- files --------------------------------------------------------------------------

  saveCsv() {
    const [low, high] = this.app.range;
    let text = `wavenumber [cm-1],${this.unit.name} [${this.unit.unit}]\n`;
    this.y.forEach((v, i) => { const x = this.panel.start + i * this.panel.step; if (x >= low && x <= high) text += `${x.toFixed(3)},${Number(v.toPrecision(6))}\n`; });
    save(text, "text/csv", `${this.panel.kind}.csv`);
  }

  saveSvg() {
    const copy = this.svg.cloneNode(true), look = getComputedStyle(document.documentElement);
    const used = [...new Set(copy.outerHTML.match(/--\w+/g))].map((name) => `${name}:${look.getPropertyValue(name)}`);
    copy.setAttribute("xmlns", SVG);
    copy.prepend(make("style", {}, `:root{${used.join(";")};--soft:${look.getPropertyValue("--soft")};background:${look.getPropertyValue("--paper")}}text{fill:var(--soft);font:12px sans-serif}`));
    save(copy.outerHTML, "image/svg+xml", `${this.panel.kind}.svg`);
  }
}

/** Let the reader save a text as a file. */
function save(text, type, name) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
