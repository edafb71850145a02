// "What would another algorithm have done here": a form, the summary over the step, and, in the inspector of an
// answer, the push of each token as more colourings.
import { address, ask, el, short } from "./page.js";

const SHARES = [["selected", "tokens selected"], ["clipped", "clipped"], ["pushed", "pushed"]];

/** Fills a place; `inspector` is that of token_panels.js. Without row and add only the step is shown. */
export async function replayPanel(place, inspector) {
  if (inspector.of !== "training") return;
  const found = el("div", { class: "replay-found", "aria-live": "polite" });
  const choices = await ask("/api/replay/choices");
  const form = formOf(choices, inspector.asked, (query) => answer(found, inspector, query));
  place.classList.add("replay");
  place.append(
    el("h2", {}, "Replay"),
    el("p", { class: "faint" }, "What another algorithm would have done with this step's text, from what the run stored. " +
      "The push of a token is how much an update raises its log-prob: above 0 it makes the token likelier. " +
      "Parts from your own files run on the command line alone: menon replay."),
    form, found);
  if (inspector.asked && [...inspector.asked.keys()].length) form.send();
}

function formOf(choices, asked, send) {
  const option = (value, text, title) => el("option", { value, title }, text);
  const recipe = el("select", { name: "recipe", "aria-label": "recipe" }, option("", "the run's own"),
    Object.entries(choices.recipes).map(([name, what]) => option(name, name, what)));
  const places = Object.keys(choices.parts);
  const place = el("select", { name: "place", "aria-label": "place of the part" }, option("", "no other part"), places.map((one) => option(one, one)));
  const kind = el("select", { name: "kind", "aria-label": "kind of the part", hidden: true });
  const more = el("input", { name: "more", type: "text", placeholder: "objective.policy.loss.clip_high=.28", "aria-label": "more settings, key=value", spellcheck: "false" });
  const what = el("p", { class: "faint replay-what" });
  const tell = () => { what.textContent = choices.parts[place.value]?.[kind.value] ?? choices.recipes[recipe.value] ?? ""; };
  const offer = () => {
    kind.hidden = !place.value;
    kind.replaceChildren(...Object.entries(choices.parts[place.value] ?? {}).map(([name, text]) => option(name, name, text)));
    tell();
  };
  place.addEventListener("change", offer);
  for (const one of [kind, recipe]) one.addEventListener("change", tell);
  if (asked) {
    recipe.value = asked.get("recipe") ?? "";
    more.value = [...asked].filter(([name]) => name !== "recipe").map((pair) => pair.join("=")).join(" ");
    tell();
  }
  const form = el("form", { class: "replay-form", submit: (event) => { event.preventDefault(); send(queryOf(recipe, place, kind, more)); } },
    el("label", {}, "recipe ", recipe), el("label", {}, "and ", place), kind, more, el("button", { type: "submit" }, "replay"));
  const whole = el("div", {}, form, what);
  return Object.assign(whole, { send: () => form.requestSubmit() });
}

function queryOf(recipe, place, kind, more) {
  const query = new URLSearchParams();
  if (recipe.value) query.set("recipe", recipe.value);
  if (place.value) query.set(place.value, kind.value);
  for (const word of more.value.split(/\s+/).filter(Boolean)) {
    const at = word.indexOf("=");
    query.set(at < 0 ? word : word.slice(0, at), at < 0 ? "" : word.slice(at + 1));
  }
  return query;
}

async function answer(place, inspector, query) {
  const { run, step, row } = inspector;
  if (row != null) query.set("row", row);
  place.replaceChildren(el("p", { class: "faint" }, "replaying ... (the first time takes some seconds)"));
  try {
    const found = await ask(`/api/run/${encodeURIComponent(run)}/step/${step}/replay?${query}`);
    place.replaceChildren(...parts(found, inspector));
    if (found.answer) for (const column of columns(found.answer)) inspector.add(column);
  } catch (error) {
    place.replaceChildren(el("p", { class: "bad", role: "alert" }, error.message));
  }
}

/** The colourings of one answer; the last one is shown. */
function columns({ own, other, trained }) {
  const of = (values) => values.map((value, t) => (trained[t] ? value : null));
  const push = "of the loss per nat";
  const gap = other.push.map((value, t) => (value == null || own.push[t] == null ? null : value - own.push[t]));
  const flag = (values) => of(values.map(Number));
  return [
    { name: "replay/own", label: "push: the run", unit: push, about: "how the run's own update pushes the token", scale: "signed", values: of(own.push) },
    { name: "replay/other", label: "push: replay", unit: push, about: "how the replayed update pushes the token", scale: "signed", values: of(other.push) },
    { name: "replay/advantage", label: "advantage: replay", unit: "of reward, or deviations", about: "the credit that the replay gives the token", scale: "signed", values: of(other.advantage) },
    { name: "replay/selected", label: "selected: replay", unit: "yes or no", about: "whether the replay counts the token", scale: "flag", values: flag(other.selected) },
    { name: "replay/clipped", label: "clipped: replay", unit: "yes or no", about: "it has an advantage, and still nothing pushes it", scale: "flag", values: flag(other.clipped) },
    { name: "replay/gap", label: "push: replay - run", unit: push, about: "above 0 the replay makes the token likelier than the run did", scale: "signed", values: of(gap) },
  ];
}

function parts({ summary, changes, notes, largest }, inspector) {
  return [...changed(changes), ...notes.map((note) => el("p", { class: "note" }, note)),
    el("p", {}, sentence(summary)), el("div", { class: "scroll" }, table(summary)), tokens(largest, inspector)];
}

function sentence(s) {
  const percent = (value) => `${short(+(100 * value).toPrecision(3))} %`;
  const known = s.known < s.tokens ? ` Known on ${short(s.known)} of them.` : "";
  const like = s.cosine == null ? "" : ` The two pushes have a cosine of ${s.cosine.toFixed(4)}, and the replay's is ${short(s.size)} times as large.`;
  return `${short(s.tokens)} tokens were learned from.${known}${like} ${percent(s.sign_changed)} change sign, ` +
    `${percent(s.only_own)} are pushed by the run alone and ${percent(s.only_other)} by the replay alone.` +
    (s.reproduced == null ? "" : ` The weights that the run recorded are met ${s.reproduced ? `to within ${s.reproduced.toExponential(0)}` : "exactly"}.`);
}

/** What differs in the settings; a part that was exchanged counts once. */
function changed(changes) {
  const kinds = Object.keys(changes).filter((name) => name.endsWith(".kind")).map((name) => name.slice(0, -5));
  const inside = (name) => kinds.some((kind) => name === kind || name.startsWith(`${kind}.`));
  const rows = [...kinds.map((kind) => [kind, ...changes[`${kind}.kind`]]),
    ...Object.entries(changes).filter(([name]) => !inside(name)).map(([name, [was, now]]) => [name, was, now])];
  if (!rows.length) return [el("p", { class: "faint" }, "The run's own settings: choose a recipe or a part to compare with.")];
  const text = (value) => (value == null ? "none" : Array.isArray(value) || typeof value === "object" ? JSON.stringify(value) : String(value));
  return [el("details", {}, el("summary", {}, `${rows.length} setting${rows.length > 1 ? "s" : ""} changed`),
    el("ul", {}, rows.map(([name, was, now]) => el("li", {}, `${name}: ${text(now)} instead of ${text(was)}`))))];
}

function table({ own, other }) {
  const share = (value) => (value == null ? "–" : `${(100 * value).toFixed(1)} %`);
  const row = (name, was, now, form) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "number" }, form(was)), el("td", { class: "number" }, form(now)));
  const names = (key) => [...new Set([...Object.keys(own[key]), ...Object.keys(other[key])])];
  const pushed = names("terms").filter((name) => [own, other].some((side) => side.terms[name]?.model === "policy"));
  const kinds = (name) => [...new Set([own, other].map((side) => side.terms[name]?.loss).filter(Boolean))].join(" / ");
  return el("table", { class: "replay-table" },
    el("thead", {}, el("tr", {}, el("th", {}, "over the step"), el("th", { class: "number" }, "run"), el("th", { class: "number" }, "replay"))),
    el("tbody", {},
      SHARES.map(([name, label]) => row(label, own[name], other[name], share)),
      pushed.map((name) => row(`push of ${name} (${kinds(name)})`, own.terms[name]?.mass, other.terms[name]?.mass, short)),
      pushed.length > 1 ? pushed.map((name) => row(`share of ${name}`, own.terms[name]?.share, other.terms[name]?.share, share)) : [],
      names("metrics").filter((name) => !name.startsWith("cov/top") && own.metrics[name] !== other.metrics[name]).map((name) => row(name, own.metrics[name], other.metrics[name], short))));
}

function tokens(largest, { run, step }) {
  if (!largest.length) return null;
  const shown = (text) => (text == null ? "" : text.replace(/\n/g, "↵").replace(/ /g, "␣").replace(/[\p{Cc}\p{Cf}]/gu, "\uFFFD"));
  const who = (one) => `group ${one.group}, ${one.node >= 0 ? `node ${one.node}` : `answer ${one.sample}`}`;
  return el("details", { open: true }, el("summary", {}, "Tokens that differ most"), el("div", { class: "scroll" },
    el("table", { class: "replay-table" },
      el("thead", {}, el("tr", {}, ["token", "of", "run", "replay"].map((name, i) => el("th", { class: i > 1 ? "number" : null }, name)))),
      el("tbody", {}, largest.map((one) => el("tr", {},
        el("td", { class: "text" }, shown(one.text)),
        el("td", {}, el("a", { href: address(["run", run, "step", step, "answer", one.row]) }, who(one)), ` at ${one.token}`),
        el("td", { class: "number" }, short(one.own)), el("td", { class: "number" }, short(one.other))))))));
}
