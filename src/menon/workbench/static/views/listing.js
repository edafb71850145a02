// The runs, one line each.
import { address, ask, el, short } from "../page.js";

export async function show(place) {
  const runs = await ask("/api/runs");
  if (!runs.length) return void place.append(el("p", {}, "There are no runs in these folders yet."));
  const head = ["run", "recipe", "state", "steps", "accuracy before", "after"];
  const rows = runs.map((run) =>
    run.error
      ? el("tr", {}, el("td", {}, run.name), el("td", { colspan: 5, class: "bad" }, run.error))
      : el("tr", {},
          el("td", {}, el("a", { href: address(["run", run.name]) }, run.name)),
          ...[run.recipe, run.state, run.steps, run.evaluations[0]?.accuracy, run.evaluations[1]?.accuracy].map((value) =>
            el("td", { class: typeof value === "number" ? "number" : null }, short(value)))));
  place.append(el("h1", {}, "Runs"), el("div", { class: "scroll" },
    el("table", {}, el("thead", {}, el("tr", {}, head.map((name) => el("th", {}, name)))), el("tbody", {}, rows))));
}
