// The charts of one run, or of several over one another: drawn when they come near the window, and again when
// the runs have written more.
import { ask, chartsOf, el } from "./page.js";
import { draw, keep, labelOf } from "./chart.js";

const NEAR = "300px";

/** Fills an element with the charts of the runs; `open(step)` goes to the answers of a step. Returns {again(),
 * close()}. */
export async function curves(place, names, open) {
  const panels = new Map();
  const watch = new IntersectionObserver((seen) => seen.forEach((one) => {
    const panel = panels.get(one.target);
    if (!panel) return;
    panel.near = one.isIntersecting;
    if (panel.near && panel.old) fill(panel);
  }), { rootMargin: NEAR });
  const state = { smooth: 0, log: false, from: null, to: null };
  const body = el("div", {});
  let sets = names.length, first = {}; // lines that came with the list of charts, by key
  place.append(toolbar(), body);

  function toolbar() {
    const said = el("output", {}, "off");
    const smooth = el("input", { type: "range", min: 0, max: 98, value: 0, step: 2, "aria-label": "Smoothing",
      input: () => { said.textContent = +smooth.value ? (smooth.value / 100).toFixed(2) : "off"; },
      change: () => { state.smooth = smooth.value / 100; again(); } });
    const log = el("input", { type: "checkbox", change: () => { state.log = log.checked; again(); } });
    const whole = el("button", { hidden: true, click: () => zoomed(null, null) }, "all steps");
    const search = el("input", { type: "search", placeholder: "find a chart or any number", "aria-label": "Find a chart or any number",
      input: () => chosen(search.value.trim().toLowerCase()) });
    state.whole = whole;
    return el("div", { class: "bar" }, el("label", {}, "smoothing", smooth, said), el("label", {}, log, "log scale"), search, whole,
      el("span", { class: "faint" }, "drag in a chart to look closer; ← → move along a chart in focus; Enter or a double click opens the answers of that step"));
  }

  function zoomed(from, to) {
    Object.assign(state, { from, to });
    state.whole.hidden = from == null;
    again();
  }

  async function list() {
    const found = await ask(chartsOf(names));
    sets = found.sets.length;
    first = found.first;
    const known = new Set([...panels.values()].map((panel) => panel.chart.key));
    for (const { title, charts } of found.groups) group(title, charts.filter((chart) => !known.has(chart.key)));
    if (found.others.length) others(found.others.filter((one) => !known.has(one.name)));
    if (!found.groups.length && !body.childElementCount) body.append(el("p", { class: "faint" }, "No step is finished yet; the curves appear here by themselves."));
    else body.querySelector(":scope > p")?.remove();
    for (const panel of panels.values()) if (panel.old && first[panel.chart.key]) fill(panel);
  }

  function group(title, charts) {
    if (!charts.length) return;
    let section = body.querySelector(`section[data-title="${title}"]`);
    if (!section) {
      section = el("section", { "data-title": title }, el("h3", {}, title), el("div", { class: "charts" }));
      body.insertBefore(section, body.querySelector("details.others"));
    }
    charts.forEach((chart) => section.lastChild.append(panel(chart)));
  }

  /** Every number that no chart of a group draws: one chart each, made when it is opened. */
  function others(numbers) {
    let box = body.querySelector("details.others");
    if (!box) {
      box = el("details", { class: "others" }, el("summary", {}, "Every other number"), el("div", { class: "bar names" }), el("div", { class: "charts" }));
      body.append(box);
    }
    const there = new Set([...box.querySelectorAll("button.other")].map((one) => one.value));
    for (const { name, note } of numbers.filter((one) => !there.has(one.name))) {
      const button = el("button", { class: "other", value: name, title: note, click: () => {
        box.lastChild.append(panel({ key: name, title: name, note, unit: "" }));
        button.remove();
      } }, name);
      box.querySelector(".names").append(button);
    }
  }

  function panel(chart) {
    const plot = el("div", { class: "plot", tabindex: 0, role: "img", "aria-label": chart.title });
    const files = el("div", { class: "files" }, ["png", "svg", "csv"].map((form) => el("button", { title: `save as ${form.toUpperCase()}`, click: () => save(mine, form) }, form)));
    const node = el("article", { class: "chart", "data-key": chart.key }, el("header", {}, el("h3", {}, chart.title, chart.unit ? el("span", {}, ` ${chart.unit}`) : null), files), plot, el("p", { class: "note" }, chart.note));
    const mine = { chart, node, plot, near: false, old: true, drawn: null, asked: 0 };
    const opened = () => { const step = mine.drawn?.at(); if (step > 0) open(Math.round(step)); };
    plot.addEventListener("dblclick", opened);
    plot.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === plot) return opened();
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      mine.drawn?.move(by * (event.shiftKey ? 10 : 1));
    });
    panels.set(node, mine);
    watch.observe(node);
    return node;
  }

  function query(panel, more = {}) {
    const given = { runs: names.join(","), chart: panel.chart.key, smooth: state.smooth || "", ...more };
    return `/api/curves?${new URLSearchParams(Object.entries(given).filter(([, value]) => value !== "" && value != null))}`;
  }

  async function fill(panel) {
    panel.old = false;
    const number = (panel.asked += 1);
    try {
      const found = taken(panel) ?? await ask(query(panel, { pixels: Math.max(Math.round(panel.plot.clientWidth), 100), start: state.from, end: state.to }));
      if (number !== panel.asked || !panel.node.isConnected) return;
      const hidden = panel.drawn?.cells.map((cell) => cell.button.getAttribute("aria-pressed") === "false") ?? [];
      panel.drawn?.destroy();
      panel.plot.replaceChildren();
      panel.lines = found.lines;
      if (!found.lines.length) return void panel.plot.append(el("p", { class: "faint" }, "nothing between these steps"));
      panel.drawn = draw(panel.plot, panel.chart, found.lines, { log: state.log || found.chart.scale === "log", sets: found.chart.stacked ? 1 : sets, sync: "steps", zoomed });
      hidden.forEach((off, k) => off && panel.drawn.cells[k]?.button.click());
      panel.plot.setAttribute("aria-label", `${panel.chart.title}: ${panel.drawn.cells.map(({ button }) => button.textContent).join(", ")}`);
    } catch (error) {
      panel.drawn?.destroy();
      panel.drawn = null;
      panel.plot.replaceChildren(el("p", { class: "bad" }, error.message));
    }
  }

  /** What came with the list, while all steps are shown without smoothing; once. */
  function taken({ chart }) {
    const lines = first[chart.key];
    delete first[chart.key];
    return lines && !state.smooth && state.from == null ? { chart, lines } : null;
  }

  async function save(panel, form) {
    if (!panel.drawn) return;
    const name = `${names.join("+")}-${panel.chart.key.replaceAll("/", "-")}`.slice(0, 120);
    if (form === "png") return keep(await panel.drawn.picture(), `${name}.png`);
    const answer = await fetch(query(panel, { format: form, log: state.log ? "1" : "" }));
    if (answer.ok) keep(await answer.blob(), `${name}.${form}`);
  }

  function chosen(words) {
    const fits = (text) => words.split(/\s+/).every((word) => text.toLowerCase().includes(word));
    for (const { chart, node, lines } of panels.values()) {
      node.hidden = !fits([chart.title, chart.note, chart.key, ...(lines ?? []).map((line) => `${line.name} ${labelOf(line, 1)}`)].join(" "));
    }
    body.querySelectorAll("section").forEach((one) => { one.hidden = ![...one.querySelectorAll("article")].some((node) => !node.hidden); });
    const box = body.querySelector("details.others");
    box?.querySelectorAll("button.other").forEach((one) => { one.hidden = !fits(`${one.value} ${one.title}`); });
    if (box && words) box.open = [...box.querySelectorAll("button.other")].some((one) => !one.hidden);
  }

  function again() {
    for (const panel of panels.values()) {
      panel.old = true;
      if (panel.near) fill(panel);
    }
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", again);
  await list();
  return {
    again: async () => { await list(); again(); },
    close() { watch.disconnect(); dark.removeEventListener("change", again); for (const panel of panels.values()) panel.drawn?.destroy(); },
  };
}
