// The runs, one line each: choose some to compare them or to draw them over one another.
import { address, ask, el, short } from "../page.js";

const EVERY = 5000;

export async function show(place) {
  const chosen = new Set();
  const state = { sort: "created", down: true, words: "", differ: {} };
  const search = el("input", { type: "search", placeholder: "search runs, recipes, settings", "aria-label": "Search runs",
    input: () => { state.words = search.value.toLowerCase(); fill(); } });
  const over = el("a", {}, "curves over one another");
  const apart = el("a", {}, "compare with a test");
  const about = el("span", { class: "faint", role: "status" });
  const table = el("div", { class: "scroll" });
  let runs = await ask("/api/runs");
  place.append(el("h1", {}, "Runs"), el("div", { class: "bar" }, search, over, apart, about,
    el("span", { class: "pages" }, el("a", { href: "#/compare" }, "compare sets of runs"), el("a", { href: "#/playground" }, "playground"))), table);
  ask("/api/runs/differences").then((found) => { state.differ = found; fill(); }, () => null);

  function fill() {
    if (!runs.length) return void table.replaceChildren(el("p", {},
      "There are no runs in these folders yet. Start one with ", el("code", {}, "menon train grpo"), "; it appears here by itself."));
    const found = ordered(runs.filter((run) => said(run).includes(state.words)), state);
    const columns = columnsOf(runs, state.differ);
    table.replaceChildren(found.length ? el("table", { class: "runs" },
      el("thead", {}, el("tr", {}, el("th", {}, el("span", { class: "faint" }, "✓")), columns.map((column) => head(column)))),
      el("tbody", {}, found.map((run) => row(run, columns)))) : el("p", { class: "faint" }, "No run fits this search."));
    links();
  }
  const said = (run) => [run.name, run.recipe, run.model, run.state, ...(run.warnings ?? []),
    ...Object.entries(state.differ[run.name] ?? {}).flat()].join(" ").toLowerCase();

  function head({ name, key, number }) {
    const now = state.sort === key;
    const turn = () => { state.down = now ? !state.down : true; state.sort = key; fill(); };
    return el("th", { class: number ? "number" : null, "aria-sort": now ? (state.down ? "descending" : "ascending") : null },
      key ? el("button", { click: turn }, name, now ? (state.down ? " ↓" : " ↑") : "") : name);
  }
  function row(run, columns) {
    const box = el("input", { type: "checkbox", "aria-label": `choose ${run.name}`, checked: chosen.has(run.name),
      disabled: Boolean(run.error), change: () => { box.checked ? chosen.add(run.name) : chosen.delete(run.name); links(); } });
    const name = run.error ? el("td", { class: "wrap title" }, run.name) : el("td", { class: "wrap title" }, el("a", { href: address(["run", run.name]) }, run.name),
      run.step ? el("div", {}, el("a", { class: "faint", href: address(["run", run.name, "answers"]) }, "answers")) : null);
    if (run.error) return el("tr", {}, el("td", {}, box), name,
      el("td", { colspan: columns.length - 1 }, el("span", { class: `badge ${run.state}` }, run.state), " ", el("span", { class: run.state === "dump" ? "wrap" : "bad wrap" }, run.error)));
    return el("tr", {}, el("td", {}, box), name, columns.slice(1).map((column) =>
      el("td", { class: column.number ? "number" : column.short ? "nowrap" : "wrap", "data-name": column.name }, column.show(run))));
  }
  function links() {
    const names = [...chosen];
    const [first, ...rest] = names;
    about.textContent = names.length ? `${names.length} chosen` : "choose runs to see them together";
    for (const [link, href] of [[over, address(["run", first ?? ""], { with: rest.join(",") })], [apart, address(["compare"], { runs: names.join(",") })]]) {
      link.hidden = names.length < 2;
      link.setAttribute("href", href);
    }
  }
  fill();
  const timer = setInterval(async () => {
    if (document.hidden || table.contains(document.activeElement)) return;
    const fresh = await ask("/api/runs").catch(() => null);
    if (fresh && JSON.stringify(fresh) !== JSON.stringify(runs)) { runs = fresh; fill(); }
  }, EVERY);
  return () => clearInterval(timer);
}

/** A held-out number with its interval, as "0.70 (0.50 to 0.90)". */
export function held(numbers, key) {
  const value = numbers?.[key];
  if (value == null) return "";
  const [low, high] = [numbers[`${key}_low`], numbers[`${key}_high`]];
  return value.toFixed(3) + (low == null ? "" : ` (${low.toFixed(2)}\u00a0to\u00a0${high.toFixed(2)})`);
}

const MEASURES = ["accuracy", "reward", "pairs/accuracy", "kto/accuracy", "nll"];
export const measureOf = (run) => MEASURES.find((key) => run.before?.[key] != null || run.after?.[key] != null);

function columnsOf(runs, differ) {
  const settings = Object.values(differ).some((one) => Object.keys(one).length);
  const models = new Set(runs.map((run) => run.model));
  return [
    { name: "run", key: "name" },
    { name: "recipe", key: "recipe", show: (run) => run.recipe ?? "" },
    ...(models.size > 1 ? [{ name: "model", key: "model", show: (run) => run.model ?? "" }] : []),
    { name: "state", key: "state", show: (run) => el("span", { class: `badge ${run.state}` }, run.state) },
    { name: "steps", key: "step", number: true, show: (run) => run.steps && run.steps !== run.step ? `${run.step} of ${run.steps}` : String(run.step) },
    { name: "held out, before", key: "before", number: true, show: (run) => held(run.before, measureOf(run)) },
    { name: "after", key: "after", number: true, show: (run) => measureOf(run)
      ? `${held(run.after, measureOf(run))}${measureOf(run) === "accuracy" || !run.after_step ? "" : ` ${measureOf(run)}`}${run.after_step && run.after_step !== run.step ? ` at ${run.after_step}` : ""}` : "" },
    { name: "training", key: "training", number: true, show: (run) => run.training ? `${run.training[0]} ${run.training[1].toFixed(3)}` : "" },
    { name: "minutes", key: "minutes", number: true, show: (run) => run.minutes ? run.minutes.toFixed(1) : "" },
    { name: "begun", key: "created", short: true, show: (run) => when(run.created) },
    ...(settings ? [{ name: "settings that differ", show: (run) => Object.entries(differ[run.name] ?? {}).map(([key, value]) => `${key}=${value}`).join(" ") }] : []),
    { name: "warnings", key: "warnings", show: (run) => run.warnings.length ? el("span", { class: "bad" }, run.warnings.join(", ")) : "" },
  ];
}

/** A time as a short date. */
export const when = (text) => (text ? text.slice(0, 16).replace("T", " ") : "");

function valueOf(run, key) {
  if (key === "before" || key === "after") return run[key]?.[measureOf(run)];
  if (key === "training") return run.training?.[1];
  if (key === "warnings") return run.warnings?.length;
  return run[key];
}

function ordered(runs, { sort, down }) {
  const known = runs.filter((run) => valueOf(run, sort) != null && valueOf(run, sort) !== "");
  known.sort((a, b) => {
    const [x, y] = [valueOf(a, sort), valueOf(b, sort)];
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return down ? -order : order;
  });
  return [...known, ...runs.filter((run) => !known.includes(run))];
}
