// Sets of runs compared: is one better, by how much, how surely, how soon, and how many seeds would decide.
import { address, ask, el, short } from "../page.js";
import { draw } from "../chart.js";

const LETTERS = "abcdefgh";

export async function show(place, { query }) {
  const at = query.get("at") ?? "steps";
  const asked = Object.fromEntries(query);
  const go = (more) => { location.hash = address(["compare"], { ...asked, ...more }); };
  place.append(el("h1", {}, "Compare"), el("div", { class: "bar", role: "group", "aria-label": "Compared at equal" }, "when all had spent as many",
    ["steps", "tokens", "seconds"].map((one) => el("button", { "aria-pressed": String(one === at), disabled: one === at, click: () => go({ at: one }) }, one))));
  const body = el("div", {}, el("p", { class: "faint" }, "comparing …"));
  place.append(body, await chooser(asked));
  if (!query.get("runs") && !query.get("b")) return void body.replaceChildren(el("p", {}, "Choose the runs of two sets below: the seeds of one method, and those of another."));
  let found;
  try {
    found = await ask(`/api/compare?${query}`);
  } catch (error) {
    return void body.replaceChildren(el("p", { class: "bad wrap", role: "alert" }, error.message));
  }
  const plot = el("div", { class: "plot" });
  body.replaceChildren(...verdicts(found), el("p", { class: "faint" }, `${found.test}.`),
    el("div", { class: "pair" },
      el("article", { class: "chart" }, el("header", {}, el("h3", {}, `${found.measure}, held out`), el("div", { class: "files" }, el("a", { href: `/api/compare?${query}&format=svg` }, "svg"))), plot,
        el("p", { class: "note" }, "Means over seeds with 95 % intervals.")),
      el("div", {}, el("h2", {}, `At ${short(found.budget)} ${found.at}`), sets(found), el("h2", {}, "Against the first set"), tests(found))),
    el("h2", {}, `To reach ${short(found.level)}`), el("p", { class: "faint" }, `Of the ${found.level_of}: what the middle run of a set had spent when it first was there.`), soon(found),
    ...found.notes.map((note) => el("p", { class: "faint wrap" }, `${note}.`)), ...questions(found.by_question));
  const drawn = draw(plot, { title: `${found.measure}, held out`, unit: "" }, lines(found.chart), { across: found.at });
  return () => drawn.destroy();
}

const form = (value, digits = 3) => (value == null ? "–" : value.toFixed(digits));
const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(3);
const between = (low, high, write = form) => (low == null ? "–" : `${write(low)} to ${write(high)}`);
const table = (head, rows) => el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head.map((one) => el("th", {}, one)))),
  el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell)))))));

function verdicts(found) {
  return found.comparisons.map((one, i) => el("div", { class: `finding ${one.decided ? "calm" : ""}`, "data-set": one.name },
    el("h3", {}, el("span", { class: one.decided ? "decided" : "undecided" }, one.decided ? "decided" : "not decided")), el("p", {}, found.conclusions[i])));
}

function sets(found) {
  return table(["set", "runs", `mean ${found.measure}`, "95 % interval over seeds"], found.sets.map((one) => [el("span", { title: one.names.join(", ") }, one.name),
    one.names.map((name, i) => [i ? ", " : "", el("a", { href: address(["run", name]) }, name)]).flat(), form(one.mean), between(one.low, one.high)].map((cell) => (Array.isArray(cell) ? el("span", {}, cell) : cell))));
}

function tests(found) {
  return table(["", "difference", "95 % interval", "p", "probability of improvement", ""], found.comparisons.map((one) => [one.name, signed(one.difference), between(one.low, one.high, signed),
    one.p_holm.toPrecision(3), `${form(one.improvement, 2)} (${between(one.improvement_low, one.improvement_high, (x) => form(x, 2))})`, one.decided ? "decided" : "not decided"]));
}

function soon(found) {
  const axes = Object.keys(found.sets[0].reached);
  return table(["set", "reached by", ...axes], found.sets.map((one) => [one.name, `${one.reached[found.at].filter((value) => value != null).length} of ${one.runs.length}`,
    ...axes.map((axis) => (one.middle[axis] == null ? "never" : short(Math.round(one.middle[axis]))))]));
}

function questions(found) {
  if (!found) return [];
  if (found.missing) return [el("p", { class: "faint wrap" }, found.missing)];
  return [el("h2", {}, "Question by question"), el("p", { class: "faint" }, `${found.note}.`), el("pre", { class: "text scroll" }, found.lines.join("\n"))];
}

/** Lines and bands of a chart as the plot reads them. */
function lines({ lines: given, bands }) {
  return given.map((one) => {
    const x = one.points.map(([place]) => place);
    const band = bands.find((other) => other.tone === one.tone);
    return { label: one.name, of: one.name, name: one.name, held: false, runs: 1, x, y: one.points.map(([, value]) => value),
      ...(band ? { low: band.points.map(([, low]) => low), high: band.points.map(([, , high]) => high) } : {}) };
  });
}

/** Boxes to put runs into sets. */
async function chooser(asked) {
  const runs = (await ask("/api/runs")).filter((run) => !run.error);
  const of = {};
  for (const letter of LETTERS) for (const name of (asked[letter] ?? "").split(",").filter(Boolean)) of[name] = letter;
  const given = (asked.runs ?? "").split(",").filter(Boolean);
  const rows = runs.map((run) => {
    const choice = el("select", { "aria-label": `Set of ${run.name}`, change: () => { if (choice.value) of[run.name] = choice.value; else delete of[run.name]; } },
      ["", ...LETTERS].map((letter) => el("option", { value: letter, selected: (of[run.name] ?? "") === letter }, letter || "–")));
    return [choice, el("a", { href: address(["run", run.name]) }, run.name), run.recipe ?? "", String(run.seed ?? ""), run.state];
  });
  const compare = el("button", { click: () => {
    const sets = {};
    for (const [name, letter] of Object.entries(of)) (sets[letter] ??= []).push(name);
    const filled = Object.keys(sets).sort().map((letter, i) => [LETTERS[i], sets[letter].join(",")]);
    location.hash = address(["compare"], { ...Object.fromEntries(filled), at: asked.at });
  } }, "compare these sets");
  return el("details", { open: !given.length && !asked.b }, el("summary", {}, "Choose the sets"), el("p", { class: "faint" },
    "Give the seeds of one method the letter a, those of another b; the first set is what the others are compared with."), table(["set", "run", "recipe", "seed", "state"], rows), compare);
}
