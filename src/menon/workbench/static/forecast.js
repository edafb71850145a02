// Two laws of where a score is going: the sigmoid of the steps, and the law of score and entropy.
import { ask, el, short } from "./page.js";
import { draw } from "./chart.js";

const POINTS = 160;

/** Fills a section with the forecasts of a run. Returns {aged(), close()}. */
export function forecast(section, name) {
  const body = el("div", { "aria-live": "polite" });
  section.append(body);
  let drawn = [];
  const close = () => { drawn.forEach((one) => one.destroy()); drawn = []; };
  const look = async () => {
    body.replaceChildren(el("p", { class: "faint" }, "fitting …"));
    try {
      const found = await ask(`/api/run/${encodeURIComponent(name)}/forecast`);
      close();
      if (found.missing) return void body.replaceChildren(el("p", { class: "faint wrap" }, found.missing));
      const places = [el("div", { class: "plot" }), el("div", { class: "plot" })];
      body.replaceChildren(el("p", {}, `The score is that of the ${found.of === "held out" ? "held-out questions" : found.of} after ${found.steps} steps.`),
        el("div", { class: "pair" }, bySteps(found, places[0]), byEntropy(found, places[1])), ...[past(found)].filter(Boolean));
      if (!found.sigmoid.missing) drawn.push(drawSteps(found, places[0]));
      if (!found.entropy.missing) drawn.push(drawEntropy(found, places[1]));
    } catch (error) {
      body.replaceChildren(el("p", { class: "faint wrap" }, error.message));
    }
  };
  look();
  return { close, aged() {
    if (!section.querySelector(".again")) section.append(el("button", { class: "again", click: (event) => { event.target.remove(); look(); } }, "the run has gone on: fit again"));
  } };
}

const ends = (one) => `${short(one.value)} (${short(one.low)} to ${short(one.high)})`;

function bySteps({ sigmoid, end }, place) {
  const said = sigmoid.missing ? [el("p", { class: "faint" }, sigmoid.missing)] : [place,
    el("p", {}, `After step ${end}: `, el("b", {}, ends(sigmoid)), `. It levels off at ${ends(sigmoid.asymptote)}, and is half-way at step ${short(sigmoid.middle)}.`),
    el("p", { class: "note" }, `Steepness ${short(sigmoid.steepness)}, fit to ${sigmoid.points} points, typical error ${short(sigmoid.rmse)}. In brackets: 95 % intervals.`)];
  return el("article", { class: "chart", "data-law": "sigmoid" }, el("h3", {}, "Against steps: R0 + (A - R0) / (1 + (Cmid / steps)^B)"), ...said);
}

function byEntropy({ entropy }, place) {
  const said = entropy.missing ? [el("p", { class: "faint" }, entropy.missing)] : [place,
    el("p", {}, "With no entropy left: ", el("b", {}, ends(entropy.ceiling)), "."),
    el("p", { class: "note" }, `a ${short(entropy.a)}, b ${short(entropy.b)}, fit to ${entropy.points} points, typical error ${short(entropy.rmse)}. A ceiling above 1 means that the law does not hold here.`)];
  return el("article", { class: "chart", "data-law": "entropy" }, el("h3", {}, "Against entropy: b - a exp(entropy)"), ...said);
}

const spread = (low, high) => Array.from({ length: POINTS }, (_, i) => low + ((high - low) * i) / (POINTS - 1));
const line = (label, x, y, more = {}) => ({ label, of: "", name: label, runs: 1, held: false, x, y, ...more });

function drawSteps({ sigmoid, points, end }, place) {
  const at = (steps) => sigmoid.start + (sigmoid.asymptote.value - sigmoid.start) / (1 + (steps > 0 ? (sigmoid.middle / steps) ** sigmoid.steepness : Infinity));
  const x = spread(points.steps[0], end);
  return draw(place, { title: "Forecast by steps", unit: "", low: 0 }, [line("measured", points.steps, points.scores), line("sigmoid", x, x.map(at)),
    line("forecast, 95 %", [end - (end - x[0]) * 0.002, end], [sigmoid.value, sigmoid.value], { low: [sigmoid.low, sigmoid.low], high: [sigmoid.high, sigmoid.high] })], {});
}

function drawEntropy({ entropy, points }, place) {
  const order = points.entropies.map((_, i) => i).sort((i, j) => points.entropies[i] - points.entropies[j]);
  const given = order.map((i) => points.entropies[i]);
  const x = spread(0, given[given.length - 1]);
  return draw(place, { title: "Forecast by entropy", unit: "" }, [line("measured", given, order.map((i) => points.scores[i]), { scattered: true }),
    line("law", x, x.map((h) => entropy.b - entropy.a * Math.exp(h)))], { across: "entropy" });
}

function past(found) {
  if (found.past.every((one) => one.sigmoid.missing && one.entropy.missing)) return null;
  const cell = (one) => (one.missing ? "–" : `${ends(one)}${one.held ? "" : " ✗"}`);
  const rows = found.past.map((one) => el("tr", {}, el("td", {}, `from the first ${one.part}, ${one.points} points`), el("td", {}, cell(one.sigmoid)), el("td", {}, cell(one.entropy)), el("td", { class: "number" }, short(one.measured))));
  const missed = found.past.some((one) => ["sigmoid", "entropy"].some((law) => one[law].held === false));
  return el("div", {}, el("h3", {}, "What they would have said of the last point"), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["", "sigmoid", "entropy, told the entropy there", "measured"].map((one) => el("th", {}, one)))), el("tbody", {}, rows))),
    missed ? el("p", { class: "faint" }, "✗ measured outside of the 95 % interval") : null);
}
