// One run: what it is, what is wrong with it, its curves, where it is going, its settings, events and notes.
import { address, ask, el, runsOf, short } from "../page.js";
import { curves } from "../curves.js";
import { visible } from "../visible.js";
import { forecast } from "../forecast.js";
import { held, measureOf, when } from "./listing.js";

const EVERY = { running: 2000, stopped: 10000, finished: 15000 };

export async function show(place, { parts, query }) {
  const name = parts[1];
  const names = runsOf(name, query), beside = names.slice(1);
  const head = el("div", {}), sections = {};
  const part = (id, title, note) => (sections[id] = el("section", { id, tabindex: -1 }, el("h2", {}, title), note ? el("p", { class: "faint" }, note) : null));
  place.append(head, el("nav", { class: "jump", "aria-label": "Parts of this page" }, [["findings", "What is wrong"], ["curves", "Curves"], ["forecast", "Forecast"],
    ["settings", "Settings"], ["events", "Events"], ["notes", "Notes"]].map(([id, title]) => el("button", { click: () => { sections[id].scrollIntoView(); sections[id].focus(); } }, title))),
    part("findings", "What is wrong", "The rules that also speak while a run trains."), part("curves", "Curves"),
    part("forecast", "Forecast", "Where the score is going by two laws, and what they would have said earlier."),
    part("settings", "Settings"), part("events", "Events"), part("notes", "Notes"));
  const choice = el("div", { class: "bar" });
  sections.curves.append(choice);
  let run = null;
  const top = () => head.replaceChildren(...headOf(run, name, beside));
  const [drawn] = await Promise.all([curves(sections.curves, names, (step) => { location.hash = address(["run", name, "answers"], { step }); }),
    ask(`/api/run/${encodeURIComponent(name)}`).then((found) => { run = found; top(); })]);
  picker(choice, name, beside);
  const parted = { findings: findings(sections.findings, name), forecast: forecast(sections.forecast, name) };
  settings(sections.settings, name, beside);
  events(sections.events, run);
  notes(sections.notes, run, name);

  let known = null, timer = null, over = false;
  const follow = async () => {
    try {
      const now = await ask(`/api/follow?${new URLSearchParams({ runs: names.join(",") })}`);
      if (over) return;
      const text = JSON.stringify(now);
      if (known && text !== known) {
        run = await ask(`/api/run/${encodeURIComponent(name)}`);
        if (over) return;
        top();
        events(sections.events, run);
        await drawn.again();
        Object.values(parted).forEach((one) => one.aged());
      }
      known = text;
      head.querySelector(".lost")?.remove();
      broken(head, now);
    } catch (error) {
      if (!over && !head.querySelector(".lost")) head.append(el("p", { class: "bad lost", role: "alert" }, `The workbench does not answer (${error.message}); what is shown may be old.`));
    }
    if (!over) timer = setTimeout(follow, EVERY[run.state] ?? 10000);
  };
  follow();
  return () => { over = true; clearTimeout(timer); drawn.close(); parted.forecast.close(); };
}

/** Says which files have a line that cannot be read; what follows it is not shown. */
function broken(head, runs) {
  head.querySelector(".broken")?.remove();
  const files = Object.entries(runs).flatMap(([run, { damaged }]) => damaged.map((file) => `${run}/${file}`));
  if (files.length) head.append(el("p", { class: "bad wrap broken", role: "alert" },
    `A line of ${files.join(" and of ")} cannot be read; nothing after it is shown. Repair or remove the line.`));
}

function headOf(run, name, beside) {
  const measure = measureOf(run);
  const facts = [
    ["steps", run.steps && run.steps !== run.step ? `${run.step} of ${run.steps}` : String(run.step)],
    ["recipe", run.recipe], ["model", run.model], ["seed", run.seed],
    [`${measure ?? "held out"}, before`, measure && held(run.before, measure)],
    [`${measure}, after${run.after_step && run.after_step !== run.step ? ` step ${run.after_step}` : ""}`, measure && held(run.after, measure)],
    ["best evaluation", run.best == null ? null : `after step ${run.best}`],
    ["in training", run.training && `${run.training[0]} ${short(run.training[1])}`],
    ["time", run.minutes ? `${run.minutes.toFixed(1)} minutes` : null], ["begun", when(run.created)],
  ].filter(([, value]) => value != null && value !== "");
  return [
    el("h1", { class: "wrap" }, name, " ", el("span", { class: `badge ${run.state}` }, run.state), beside.length ? el("span", { class: "faint" }, ` with ${beside.join(", ")}`) : null),
    el("dl", { class: "facts" }, facts.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value)))),
    el("nav", { class: "jump", "aria-label": "Pages of this run" }, linksOf(run, name)),
    ...run.missing.map((sentence) => el("p", { class: "faint" }, `This folder: ${sentence}.`)),
    run.ended.error ? el("p", { class: "bad wrap" }, `It ended with an error: ${run.ended.error}`) : null,
  ].filter(Boolean);
}

/** Links to the answers, and to the tokens, a group (or its tree) and the replay of the newest step that has answers. */
function linksOf({ answers, newest, imported }, name) {
  const step = newest && ["run", name, "step", String(newest.step)];
  return [
    answers.training || answers.evaluations ? [address(["run", name, "answers"]), "its answers"] : null,
    answers.evaluations ? [address(["run", name, "answers"], { view: "pairs" }), "start against now"] : null,
    step ? [address([...step, "answer", "0"]), `tokens of step ${newest.step}`] : null,
    step ? [address([...step, "tree", String(newest.group)]), `a group of step ${newest.step}`] : null,
    step && !imported ? [address([...step, "replay"]), `step ${newest.step} under another algorithm`] : null,
  ].filter(Boolean).map(([href, text]) => el("a", { href }, text));
}

/** A choice of other runs to draw over this one. */
async function picker(bar, name, beside) {
  const runs = await ask("/api/runs").catch(() => []);
  const rest = runs.filter((run) => !run.error && run.name !== name && !beside.includes(run.name));
  const go = (names) => { location.hash = address(["run", name], { with: names.join(",") }); };
  const choose = el("select", { "aria-label": "Draw another run over this one", change: () => choose.value && go([...beside, choose.value]) },
    el("option", { value: "" }, "draw another run over it …"), rest.map((run) => el("option", { value: run.name }, run.name)));
  bar.append(...(rest.length ? [choose] : []), ...beside.map((one) => el("button", { title: "take it away", click: () => go(beside.filter((other) => other !== one)) }, `${one} ×`)),
    ...(beside.length ? [el("a", { href: address(["compare"], { runs: [name, ...beside].join(",") }) }, "compare them with a test")] : []));
}

// What is wrong

function findings(section, name) {
  const body = el("div", { "aria-live": "polite" });
  section.append(body);
  let shown = false;
  const look = async () => {
    body.replaceChildren(el("p", { class: "faint" }, "looking through its numbers and answers …"));
    try {
      const found = await ask(`/api/run/${encodeURIComponent(name)}/findings`);
      body.replaceChildren(...(found.findings.length ? found.findings.map((one) => finding(one, name))
        : [el("div", { class: "finding calm" }, el("p", {}, found.step ? `Nothing that the rules know, up to step ${found.step}.` : "Nothing yet: no step is finished."))]),
        ...found.notes.map((note) => el("p", { class: "faint wrap" }, note)));
    } catch (error) {
      body.replaceChildren(el("p", { class: "bad wrap" }, error.message));
    }
    shown = true;
  };
  look();
  return { aged() {
    if (shown && !section.querySelector(".again")) section.append(el("button", { class: "again", click: (event) => { event.target.remove(); look(); } }, "the run has gone on: look again"));
  } };
}

function finding(one, name) {
  const to = one.shown && (one.shown.row == null ? address(["run", name, "answers"], { step: one.shown.step })
    : address(["run", name, "step", String(one.shown.step), "answer", String(one.shown.row)]));
  return el("div", { class: "finding", "data-cause": one.cause }, el("h3", {}, one.cause.replaceAll("_", " "), el("span", { class: "faint" }, one.step ? ` from step ${one.step}` : " before the first step")),
    el("p", {}, one.evidence), el("p", {}, el("b", {}, "Change: "), one.setting),
    to ? el("p", {}, el("a", { href: to }, one.shown.row == null ? `answers of step ${one.shown.step}` : `an example: an answer of step ${one.shown.step}`)) : null);
}

// Settings, events, notes

async function settings(section, name, beside) {
  const body = el("div", {}, el("p", { class: "faint" }, "reading …"));
  section.append(body);
  try {
    const found = await ask(`/api/run/${encodeURIComponent(name)}/settings?${new URLSearchParams({ with: beside.join(",") })}`);
    const changed = found.rows.filter((row) => row.recipe != null);
    const table = (head, rows) => el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head.map((one) => el("th", {}, one)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", { class: "wrap" }, cell)))))));
    const all = el("tbody", {});
    const search = el("input", { type: "search", placeholder: "find a setting", "aria-label": "Find a setting", input: () => fill() });
    const fill = () => all.replaceChildren(...found.rows.filter((row) => `${row.path} ${row.value}`.includes(search.value.trim()))
      .map((row) => el("tr", {}, el("td", { class: "wrap" }, row.path), el("td", { class: "wrap" }, row.value))));
    fill();
    body.replaceChildren(
      ...(beside.length ? [el("h3", {}, "Where the runs differ"), found.differ.length ? table(["setting", ...found.runs], found.differ.map((row) => [row.path, ...row.values]))
        : el("p", {}, "In nothing but their seeds.")] : []),
      el("h3", {}, "What was set"),
      !found.recipe_known ? el("p", { class: "faint" }, "The recipe is not known here, so its own values are not either.")
        : changed.length ? table(["setting", "this run", "its recipe"], changed.map((row) => [row.path, row.value, row.recipe])) : el("p", {}, "Everything is as the recipe has it."),
      el("details", {}, el("summary", {}, `All ${found.rows.length} settings`), el("div", { class: "bar" }, search), el("div", { class: "scroll" }, el("table", {}, all))));
  } catch (error) {
    body.replaceChildren(el("p", { class: "bad wrap" }, error.message));
  }
}

const RARE = { session_started: "a process began to drive the run", session_ended: "the process ended", best: "the best evaluation so far",
  restored: "weights restored", stop_requested: "a stop was asked for", evaluated: "held-out questions answered", warned: "warning" };

function events(section, run) {
  section.querySelector(".body")?.remove();
  const said = (event) => event.sentence ?? event.error ?? [event.why, event.accuracy != null ? `accuracy ${short(event.accuracy)}` : event.reward != null ? `reward ${short(event.reward)}` : null,
    event.best != null ? `step ${event.best}` : null].filter(Boolean).join(", ");
  const quiet = Object.entries(run.quiet).map(([kind, count]) => `${kind} ${count} times`).join(", ");
  const rows = [...run.events].reverse().map((event) => el("tr", { class: event.undone ? "faint" : null }, el("td", { class: "nowrap" }, when(new Date(event.time * 1000).toISOString())), el("td", { class: "number" }, String(event.step)),
    el("td", { class: event.kind === "warned" ? "bad" : null }, RARE[event.kind] ?? event.kind, event.undone ? " (undone)" : ""), el("td", { class: "wrap" }, said(event))));
  section.append(el("div", { class: "body" }, run.warnings.length ? el("div", {}, el("h3", {}, "Warnings during training"), el("ul", {}, run.warnings.map((one) => el("li", { class: "wrap" }, one)))) : null,
    rows.length ? el("details", { open: rows.length <= 12 }, el("summary", {}, `${rows.length} events, the newest first (UTC)`), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["time", "step", "event", ""].map((one) => el("th", {}, one)))), el("tbody", {}, rows)))) : el("p", { class: "faint" }, "No events are recorded."),
    quiet ? el("p", { class: "faint" }, `Of every step, not listed: ${quiet}.`) : null));
}

function notes(section, run, name) {
  const list = el("div", {});
  const fill = (all) => list.replaceChildren(...all.map((note) => el("div", {}, el("p", { class: "faint" }, when(new Date(note.time * 1000).toISOString())), el("p", { class: "note-text" }, visible(String(note.text))))));
  const text = el("textarea", { "aria-label": "A note on this run", maxlength: 4000, placeholder: "what you saw, and what to try next" });
  const said = el("p", { role: "status" });
  const form = el("form", { submit: async (event) => {
    event.preventDefault();
    try {
      const answer = await fetch("/api/notes", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ run: name, text: text.value }) });
      const found = await answer.json();
      if (!answer.ok) throw new Error(found.error);
      fill(found);
      text.value = said.textContent = "";
    } catch (error) { said.className = "bad"; said.textContent = error.message; }
  } }, text, el("div", { class: "bar" }, el("button", { type: "submit" }, "keep this note"), el("span", { class: "faint" }, "kept in notes.jsonl in the run's folder")));
  fill(run.notes);
  section.append(list, form, said);
}
