// SPDX-License-Identifier: MIT
// What the panels share: range, direction, the selected line and its motion.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const viewer = new Viewer(document.getElementById("molecule"));

const app = {
  treatments: data.treatments,
  single: data.panels.length === 1,
  full: data.range,
  range: data.range,
  reversed: false,
  selection: null,
  charts: [],

  set(changes) {
    Object.assign(this, changes);
    this.charts.forEach((chart) => chart.draw());
  },

  /** Select a line of a treatment: mark it, tell about it, show its motion. */
  select(treatment, index) {
    const stick = this.treatments[treatment].sticks[index];
    this.set({ selection: { treatment, index, stick } });
    viewer.show(data.conformers[stick.conformer], stick.quanta);
    describe(this.treatments[treatment].name, stick);
    for (const row of document.querySelectorAll("tr[data-stick]")) {
      row.classList.toggle("selected", treatment === 0 && Number(row.dataset.stick) === index);
    }
  },
};

function describe(treatment, stick) {
  const rows = [["treatment", treatment]];
  const total = stick.error ? ` ± ${shown(stick.error, 2)}` : "";
  const biased = stick.expected !== null;
  rows.push(["position", `${stick.x.toFixed(1)}${biased ? "" : total} cm⁻¹`]);
  if (biased) rows.push(["expected", `${stick.expected.toFixed(1)}${total} cm⁻¹`]);
  if (stick.infrared !== null) rows.push(["infrared", `${shown(stick.infrared, 3)} km/mol`]);
  if (stick.raman !== null) rows.push(["Raman", `${shown(stick.raman, 3)} Å⁴/amu`]);
  if (stick.ratio !== null) rows.push(["depolarization ρ", shown(stick.ratio, 3)]);
  if (data.conformers.length > 1) rows.push(["conformer", data.conformers[stick.conformer].label]);
  for (const [name, text] of stick.facts) rows.push([name, text]);
  const modes = Object.keys(stick.quanta).map((k) => `ν${Number(k) + 1} (harmonic ${data.conformers[stick.conformer].modes[k].wavenumber.toFixed(0)} cm⁻¹)`);
  rows.push(["motion", modes.join(" with ") || "none"]);
  const list = make("dl");
  for (const [name, text] of rows) list.append(make("dt", {}, name), make("dd", {}, text));
  document.getElementById("details").replaceChildren(make("h3", {}, stick.label), list);
}

function controls() {
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  viewer.playing = !still;
  const play = make("button", { type: "button", id: "play", onclick: () => { viewer.set({ playing: !viewer.playing }); play.textContent = viewer.playing ? "pause" : "play"; } }, still ? "play" : "pause");
  const check = (name, text) => {
    const box = make("input", { type: "checkbox", onchange: () => viewer.set({ [name]: box.checked }) });
    return make("label", {}, box, text);
  };
  const slider = make("input", { type: "range", min: 0.1, max: 2, step: 0.1, value: 1, "aria-label": "amplitude", oninput: () => viewer.set({ amplitude: Number(slider.value) }) });
  document.getElementById("controls").append(play, make("label", {}, "amplitude", slider), check("arrows", "arrows"), check("numbers", "atoms from 0"));
}

controls();
for (const panel of data.panels) app.charts.push(new Chart(document.getElementById("spectra"), panel, data.constants, app));
let wide = 0;
new ResizeObserver(() => {
  const now = document.getElementById("spectra").clientWidth;
  if (now !== wide) { wide = now; app.set({}); }
}).observe(document.getElementById("spectra"));
for (const row of document.querySelectorAll("tr[data-stick]")) {
  const choose = () => app.select(0, Number(row.dataset.stick));
  row.tabIndex = 0;
  row.addEventListener("click", choose);
  row.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(); } });
}
for (const block of document.querySelectorAll("pre[data-copy]")) {
  const holder = make("div", { class: "copied" });
  block.replaceWith(holder);
  holder.append(block, make("button", { type: "button", onclick: () => {
    getSelection().selectAllChildren(block);
    if (navigator.clipboard) navigator.clipboard.writeText(block.textContent).catch(() => {});
  } }, "copy"));
}
if (data.treatments[0].sticks.length) {
  const strength = (s) => s.infrared || s.raman || 0;
  const sticks = data.treatments[0].sticks;
  app.select(0, sticks.reduce((best, s, i) => (strength(s) > strength(sticks[best]) ? i : best), 0));
}
