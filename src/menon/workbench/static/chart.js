// One chart: uPlot with a legend of its own that shows the values under the cursor, at the last step otherwise.
import uPlot from "./vendor/uplot.js";
import { el, short } from "./page.js";

const HEIGHT = 200;
const TONES = 6;
const DASHES = [undefined, [8, 4], [2, 3], [10, 3, 2, 3]];
const WHOLE = [1, 2, 5, 10, 20, 50].flatMap((one) => [0, 2, 4, 6, 8].map((zeros) => one * 10 ** zeros)).sort((a, b) => a - b); // between ticks

/** A colour of the style sheet as the browser computes it; a canvas cannot read variables. */
export function colour(name, opacity = 1) {
  const probe = document.getElementById("probe") ?? document.body.appendChild(el("i", { id: "probe", hidden: true }));
  probe.style.color = `var(--${name})`;
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g);
  return `rgba(${r}, ${g}, ${b}, ${opacity})`;
}

/** What a line is called in a chart of `sets` runs or sets of runs. */
export function labelOf(line, sets) {
  const seeds = line.runs > 1 ? `, ${line.runs} seeds` : "";
  return sets > 1 || line.runs > 1 ? `${line.label} (${line.of}${seeds})` : line.label;
}

/** Lines of one chart as uPlot reads them: one column of steps, and columns of values on it. */
function joined(lines) {
  return uPlot.join(lines.map((line) => {
    const found = [line.x, line.smooth ?? line.y];
    if (line.smooth) found.push(line.y);
    if (line.low && line.high) found.push(line.low, line.high);
    return found;
  }));
}

/** Values of stacked lines as sums from below. */
function piled(columns) {
  const sums = [];
  columns.forEach((column, k) => sums.push(column.map((value, i) => (value ?? 0) + (k ? sums[k - 1][i] : 0))));
  return sums;
}

/**
 * Draws lines {label, of, runs, held, x, y, low, high, smooth} into an element. `chart` is {title, unit, low,
 * high, stacked}; `more` may have log, sets, across, zoomed(low, high). Returns {plot, move, at, cells, picture, destroy};
 * `at()` is the step under the cursor.
 */
export function draw(place, chart, lines, more = {}) {
  const sets = more.sets ?? 1;
  const [x, ...columns] = joined(lines);
  const series = [{ label: more.across ?? "step" }];
  const bands = [];
  const main = [];
  const add = (one) => series.push({ spanGaps: true, ...one }) - 1;
  const of = [...new Set(lines.map((line) => line.of))];
  const kinds = [...new Set(lines.map((line) => `${line.name} ${line.held}`))];
  lines.forEach((line, k) => {
    // Of several runs each has its colour, and each number its dashes; of one run each number its colour.
    const tone = `tone${(sets > 1 ? of.indexOf(line.of) : k) % TONES}`;
    const dash = sets > 1 && !line.held ? kinds.indexOf(`${line.name} ${line.held}`) % DASHES.length : 0;
    const few = line.x.length < 30;
    const dots = { show: line.held || few, size: line.held ? 7 : 5, fill: colour(tone), stroke: colour(tone) };
    const place = add({ label: labelOf(line, sets), stroke: colour(tone), width: line.held ? 1 : 1.6, points: dots,
      dash: line.held ? [4, 3] : DASHES[dash], fill: chart.stacked ? colour(tone, 0.55) : undefined });
    main.push({ place, tone, line, dash });
    if (line.smooth) add({ stroke: colour(tone, 0.25), width: 1, points: { show: false } });
    if (line.low && line.high) {
      const low = add({ stroke: "transparent", points: { show: false } });
      add({ stroke: "transparent", points: { show: false } });
      bands.push({ series: [low + 1, low], fill: colour(tone, 0.16) });
    }
  });
  const shown = chart.stacked ? [x, ...piled(columns)] : [x, ...columns];
  if (chart.stacked) lines.forEach((_, k) => k && bands.push({ series: [k + 1, k], fill: colour(`tone${k % TONES}`, 0.55) }));
  const log = more.log && !chart.stacked;
  if (log) for (const column of shown.slice(1)) column.forEach((value, i) => { if (!(value > 0)) column[i] = null; });
  const legend = el("div", { class: "legend" });
  const ink = colour("faint");
  const axis = { stroke: ink, grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const plot = new uPlot({
    width: Math.max(place.clientWidth, 200), height: HEIGHT, series, bands,
    legend: { show: false }, cursor: { drag: { x: true, y: false, setScale: !more.zoomed }, points: { size: 8 },
      sync: more.sync ? { key: more.sync, setSeries: false } : undefined },
    scales: { x: { time: false }, y: log ? { distr: 3 } : { range: (_, low, high) => ends(low, high, chart) } },
    axes: [{ ...axis, size: 30, ...(more.across === "entropy" ? {} : { incrs: WHOLE }) }, { ...axis, size: 56, values: (_, splits) => splits.map((value) => value == null ? "" : tick(value)) }],
    hooks: {
      setCursor: [() => told()],
      setSelect: [(u) => {
        if (!more.zoomed || u.select.width < 5) return;
        more.zoomed(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
      }],
    },
  }, shown, place);
  place.append(legend);

  const step = el("span", { class: "at" });
  const cells = main.map(({ place: number, tone, line, dash }) => {
    const value = el("b", {});
    const button = el("button", { class: "key", "aria-pressed": "true", click: () => {
      const on = !plot.series[number].show;
      plot.setSeries(number, { show: on });
      button.setAttribute("aria-pressed", on);
    } }, swatch(tone, line, dash), labelOf(line, sets), " ", value);
    return { value, button, number };
  });
  legend.append(step, ...cells.map((cell) => cell.button));

  function told() {
    const i = plot.cursor.idx;
    step.textContent = i == null ? `last` : `${more.across ?? "step"} ${short(x[i])}`;
    cells.forEach(({ value, number }) => {
      const column = columns[number - 1];
      let at = i;
      if (i == null) { at = column.length - 1; while (at > 0 && column[at] == null) at -= 1; }
      value.textContent = short(column[at]);
      value.title = column[at] == null ? "" : String(column[at]);
    });
  }
  function move(by) {
    const now = plot.cursor.idx ?? (by > 0 ? -1 : x.length);
    const next = Math.max(0, Math.min(x.length - 1, now + by));
    plot.setCursor({ left: plot.valToPos(x[next], "x"), top: 10 });
  }
  told();
  const resized = new ResizeObserver(() => plot.setSize({ width: Math.max(place.clientWidth, 200), height: HEIGHT }));
  resized.observe(place);
  return { plot, move, at: () => x[plot.cursor.idx], cells, picture: () => picture(plot, chart, main, sets), destroy() { resized.disconnect(); plot.destroy(); legend.remove(); } };
}

function swatch(tone, line, dash) {
  const made = el("i", { class: line.held ? "swatch ring" : `swatch dash${dash}` });
  made.style.color = `var(--${tone})`;
  return made;
}

/** The ends of a scale: those of the values with a little room, and those that the chart asks for. */
function ends(low, high, chart) {
  if (low == null || high == null) return [chart.low ?? 0, chart.high ?? 1];
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [chart.low == null ? low - room : Math.min(chart.low, low), chart.high == null ? high + room : Math.max(chart.high, high)];
}

function tick(value) {
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(0);
  return String(+value.toPrecision(4));
}

/** The chart as a PNG with its title and the names of its lines. */
function picture(plot, chart, main, sets) {
  const from = plot.ctx.canvas, ratio = devicePixelRatio, row = 20 * ratio;
  const made = document.createElement("canvas");
  made.width = from.width;
  made.height = from.height + row * (main.length + 1.5);
  const ink = made.getContext("2d");
  ink.fillStyle = colour("paper");
  ink.fillRect(0, 0, made.width, made.height);
  ink.fillStyle = colour("ink");
  ink.font = `600 ${14 * ratio}px system-ui, sans-serif`;
  ink.fillText(chart.unit ? `${chart.title}, ${chart.unit}` : chart.title, 10 * ratio, row);
  ink.drawImage(from, 0, row * 1.5);
  ink.font = `${12 * ratio}px system-ui, sans-serif`;
  main.forEach(({ tone, line, dash }, k) => {
    const y = from.height + row * (k + 2);
    ink.strokeStyle = colour(tone);
    ink.lineWidth = 4 * ratio;
    ink.setLineDash((line.held ? [4, 3] : DASHES[dash] ?? []).map((length) => length * ratio));
    ink.beginPath();
    ink.moveTo(6 * ratio, y - 4 * ratio);
    ink.lineTo(26 * ratio, y - 4 * ratio);
    ink.stroke();
    ink.fillStyle = colour("ink");
    ink.fillText(labelOf(line, sets), 30 * ratio, y);
  });
  return new Promise((done) => made.toBlob(done, "image/png"));
}

/** Gives the browser a file to keep. */
export function keep(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
