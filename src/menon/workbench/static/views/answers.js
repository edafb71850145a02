// The answers of a run: groups side by side, filters over one step or all, and the same questions start against now.
import { address, ask, el, short } from "../page.js";
import { verdict } from "../answer_card.js";
import { textBlock, visible } from "../visible.js";

const MOST = 48;
const EVERY = 5000; // milliseconds between looks for a newer step
const FIELDS = ["of", "step", "text", "reward_min", "reward_max", "length_min", "length_max", "age_min", "verdict", "finish",
  "reflects", "disagrees", "question", "group", "sort", "down"];

export async function show(place, { parts, query }) {
  const view = query.get("view") === "pairs" ? new Pairs(parts[1], query) : new List(parts[1], query);
  const tab = (name, to) => el("a", { href: address(["run", parts[1], "answers"], { view: to }), "aria-current": (query.get("view") ?? "") === to ? "page" : null }, name);
  place.append(el("div", { class: "bar tabs" }, el("h1", {}, "Answers"), tab("every answer", ""), tab("start against now", "pairs")));
  await view.fill(place);
  const timer = setInterval(() => view.look?.(), EVERY);
  return () => { clearInterval(timer); view.stop.abort(); };
}

class List {
  constructor(run, query) {
    Object.assign(this, { run, query, stop: new AbortController() });
    this.state = el("p", { class: "faint", role: "status" });
    this.rows = el("div", { class: "groups" });
    this.more = el("button", { hidden: true, click: () => this.read(this.shown) }, "more");
    this.newer = el("button", { hidden: true, class: "newer", click: () => this.read(0) });
  }

  async fill(place) {
    this.form = this.filters();
    const given = FIELDS.some((name) => !["of", "step"].includes(name) && this.query.get(name));
    place.append(el("details", { open: given || innerWidth > 800 }, el("summary", {}, "Steps and filters"), this.form), this.state, this.newer, this.rows, this.more);
    await this.read(0);
  }

  filters() {
    const { query } = this;
    const field = (name, kind = "text", more = {}) => el("input", { name, type: kind, value: query.get(name), ...more });
    const number = (name) => field(name, "number", { step: "any" });
    const check = (name) => el("input", { name, type: "checkbox", value: "1", checked: query.get(name) === "1" });
    const choice = (name, options) => el("select", { name }, options.map(([value, text]) => el("option", { value, selected: query.get(name) === value }, text)));
    const label = (text, ...inputs) => el("label", {}, `${text} `, ...inputs);
    const form = el("form", { class: "filters", role: "search" },
      label("of", choice("of", [["training", "training"], ["evaluation", "evaluations"]])),
      label("step", field("step", "text", { placeholder: "newest", list: "steps", size: 8, title: "a step, a range like 10-20, or all" })),
      el("datalist", { id: "steps" }),
      el("button", { type: "button", click: () => this.set("step", "all") }, "all steps"),
      label("text", field("text", "search", { placeholder: "in question or answer" })),
      label("reward", number("reward_min"), " to ", number("reward_max")),
      label("tokens", number("length_min"), " to ", number("length_max")),
      label("verdict", choice("verdict", [["", "any"], ["right", "right"], ["wrong", "wrong"], ["unknown", "not known"], ["failed", "no reward"]])),
      label("ended", choice("finish", [["", "any way"], ["stop", "by itself"], ["length", "cut off"], ["abort", "aborted"]])),
      label("at least", number("age_min"), " steps old"),
      el("label", { title: "wait, recheck, retry, alternatively, however: as the metric refl/rate counts them" }, check("reflects"), " reflects"),
      el("label", { title: "the named parts of the reward give different numbers" }, check("disagrees"), " verifiers disagree"),
      label("question", field("question", "text", { size: 6, placeholder: "any", title: "row of the question in its data" })),
      label("group", field("group", "text", { size: 4, placeholder: "any" })),
      label("sort", choice("sort", [["", "by group"], ["reward", "reward"], ["length", "length"], ["advantage", "advantage"], ["step", "step"], ["age", "age"]])),
      el("label", {}, check("down"), " largest first"),
      el("a", { href: address(["run", this.run, "answers"]) , click: (event) => { event.preventDefault(); this.clear(); } }, "clear"));
    let wait;
    form.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => this.read(0), 200); });
    form.addEventListener("submit", (event) => { event.preventDefault(); this.read(0); });
    return form;
  }

  /** Offers the answers of a newer step, which a run that goes on has written; what is read stays where it is. */
  async look() {
    const { of } = this.asked();
    const found = await ask(`${this.path()}?${new URLSearchParams({ of: of ?? "training", most: 0 })}`).catch(() => null);
    const newest = found?.there.at(-1);
    this.newer.hidden = newest == null || newest === this.newest;
    this.newer.textContent = `show the answers of step ${newest}, which has been written since`;
  }

  path() {
    return `/api/run/${encodeURIComponent(this.run)}/answers`;
  }

  set(name, value) {
    this.form.elements[name].value = value;
    this.read(0);
  }

  clear() {
    for (const one of this.form.elements) one.type === "checkbox" ? (one.checked = false) : one.tagName !== "BUTTON" && (one.value = one.name === "of" ? one.value : "");
    this.read(0);
  }

  asked() {
    const given = new FormData(this.form);
    return Object.fromEntries(FIELDS.map((name) => [name, given.get(name)]).filter(([name, value]) => value && !(name === "of" && value === "training")));
  }

  /** Reads answers from a place on; steps that the server had no time for are asked for until it has them. */
  async read(offset) {
    this.stop.abort();
    const stop = this.stop = new AbortController(), asked = this.asked();
    history.replaceState(null, "", address(["run", this.run, "answers"], asked));
    const query = new URLSearchParams({ ...asked, offset, most: MOST });
    try {
      for (let found = null; !found || found.pending;) {
        found = await ask(`${this.path()}?${query}`, stop.signal);
        if (stop.signal.aborted) return;
        this.draw(found, offset);
      }
    } catch (error) {
      if (error.name !== "AbortError") this.state.replaceChildren(el("span", { class: "bad", role: "alert" }, error.message));
    }
  }

  draw(found, offset) {
    const asked = this.asked(), grouped = !asked.sort;
    this.newest = found.there.at(-1);
    this.newer.hidden = true;
    this.form.querySelector("datalist").replaceChildren(...found.there.slice(-500).map((step) => el("option", { value: step })));
    this.state.replaceChildren(...this.said(found, asked));
    if (!offset) this.rows.replaceChildren();
    const sizes = new Map(found.groups.map((one) => [`${one.step}/${one.group}`, one]));
    for (const one of found.answers) {
      const key = `${one.step}/${one.group}`;
      if (!grouped || this.rows.lastElementChild?.dataset.key !== key) this.rows.append(this.group(one, sizes.get(key), asked, grouped ? key : null));
      this.rows.lastElementChild.lastElementChild.append(this.card(one, asked));
    }
    this.shown = offset + found.answers.length;
    this.more.hidden = this.shown >= found.total;
    this.more.textContent = `more (${short(found.total - this.shown)})`;
  }

  said(found, asked) {
    const { means } = found, steps = found.steps.length === 1 ? `step ${found.steps[0]}` : `${short(found.steps.length)} steps`;
    if (!found.there.length) return [asked.of === "evaluation" ? "This run has stored no answers of evaluations." : "This run has stored no answers: it has not finished a step yet, or it learns from given text."];
    if (!found.steps.length) return [`There is no such step; there are ${found.there[0]} to ${found.there.at(-1)}.`];
    return [`${short(found.total)} of ${short(found.of)} answers of ${steps}`,
      found.total ? `: mean reward ${short(means.score)}, right ${short(means.acc)}, ${short(means.length)} tokens, ${(100 * means.cut).toFixed(0)} % cut off. ` : ". ",
      found.pending ? el("b", {}, `Reading: ${short(found.pending)} steps to go. `) : null,
      ...found.broken.slice(0, 5).map(({ step, why }) => el("span", { class: "bad" }, `Step ${step} is left out: ${why}. `)),
      found.broken.length > 5 ? el("span", { class: "bad" }, `So are ${found.broken.length - 5} more.`) : null].filter((one) => one != null);
  }

  group(one, size, asked, key) {
    const where = asked.of === "evaluation" ? `after step ${one.step}` : `step ${one.step}`;
    const head = el("div", { class: "group-head" },
      el("span", { class: "faint" }, `${where}, group ${one.group}`),
      el("span", {}, `${short(size.size)} ${one.node >= 0 ? "nodes" : size.size === 1 ? "answer" : "answers"}, mean reward ${short(size.score)}`,
        size.known && one.node < 0 ? `, ${size.right} of ${size.known} right` : ""),
      asked.of === "evaluation" ? null : el("a", { href: address(["run", this.run, "step", one.step, "tree", one.group]) }, one.node >= 0 ? "tree" : "side by side"),
      one.prompt_index >= 0 ? el("a", { href: address(["run", this.run, "answers"], { of: asked.of, step: "all", question: one.prompt_index }) }, "this question over steps") : null);
    return el("section", { class: "group", "data-key": key }, head,
      el("div", { class: "question" }, textBlock(one.prompt, 400), one.answer == null ? null : el("p", { class: "gold" }, el("span", { class: "faint" }, "right answer "), el("span", { class: "text" }, visible(one.answer)))),
      el("div", { class: "cards" }));
  }

  card(one, asked) {
    const to = address(["run", this.run, "step", one.step, "answer", one.row], { of: asked.of });
    const name = one.node >= 0 ? `node ${one.node}` : `answer ${one.sample}`;
    return el("article", { class: `card ${one.acc === 1 ? "right" : one.acc === 0 ? "wrong" : ""}` },
      el("a", { href: to }, name), one.reflects ? el("span", { class: "faint" }, " reflects") : null, one.disagrees ? el("span", { class: "bad" }, " verifiers disagree") : null,
      verdict(one), textBlock(one.completion), one.longer ? el("a", { href: to }, `${short(one.longer)} more characters`) : null);
  }
}

class Pairs {
  constructor(run, query) {
    Object.assign(this, { run, query, stop: new AbortController(), kind: query.get("kind") ?? "", of: query.get("of") ?? "evaluation",
      first: query.get("first"), last: query.get("last") });
    this.head = el("div", { class: "bar" });
    this.rows = el("div", { class: "groups" });
    this.more = el("button", { hidden: true, click: () => this.read(this.shown) }, "more");
  }

  async fill(place) {
    const of = el("select", { "aria-label": "answers of", change: () => { this.of = of.value; this.kind = ""; this.read(0); } },
      [["evaluation", "evaluations"], ["training", "training"]].map(([value, text]) => el("option", { value, selected: value === this.of }, text)));
    place.append(el("p", {}, "The same question at the start and now, of ", of), this.head, this.rows, this.more);
    await this.read(0);
  }

  async read(offset) {
    history.replaceState(null, "", address(["run", this.run, "answers"], { view: "pairs", of: this.of === "evaluation" ? "" : this.of, kind: this.kind, first: this.first, last: this.last }));
    const query = new URLSearchParams({ of: this.of, kind: this.kind, offset, first: this.first ?? "", last: this.last ?? "" });
    if (!offset) this.rows.replaceChildren();
    for (let found = null; !found || found.pending;) {
      found = await ask(`/api/run/${encodeURIComponent(this.run)}/pairs?${query}`, this.stop.signal);
      this.head.replaceChildren(...this.said(found));
      if (found.pending || found.why) { this.more.hidden = true; continue; }
      this.rows.append(...found.pairs.map((pair) => this.pair(pair, found)));
      this.shown = offset + found.pairs.length;
      this.more.hidden = this.shown >= found.total;
    }
  }

  said(found) {
    if (found.why) return [el("p", {}, `${found.why[0].toUpperCase()}${found.why.slice(1)}.`)];
    if (found.pending) return [`Reading: ${short(found.pending)} steps to go.`];
    if (this.of === "training") {
      return [found.total ? `${short(found.total)} questions came at more than one step; those whose mean reward changed most come first.`
        : "No question came at more than one step of this training so far."];
    }
    const button = (kind, text) => el("button", { "aria-pressed": this.kind === kind ? "true" : "false", click: () => { this.kind = kind; this.read(0); } }, text);
    return [button("", "all"), ...found.kinds.map((one) => button(one.kind, `${one.words[0]} → ${one.words[1]}: ${one.count}`)),
      el("span", { class: "faint" }, "after step ", this.choose(found, "first"), " → after step ", this.choose(found, "last"))];
  }

  /** A choice among the evaluations. */
  choose(found, side) {
    const made = el("select", { "aria-label": `the ${side} evaluation`, change: () => { this[side] = made.value; this.kind = ""; this.read(0); } },
      found.there.map((step) => el("option", { value: step, selected: step === found[side] }, step)));
    return made;
  }

  pair(pair, found) {
    const training = this.of === "training";
    const side = (one, step, row) => el("article", { class: `card ${one.acc === 1 ? "right" : one.acc === 0 ? "wrong" : ""}` },
      el("a", { href: address(["run", this.run, "step", step, "answer", row], { of: training ? "" : "evaluation" }) }, training ? `step ${step}` : step === 0 ? "before training" : `after step ${step}`),
      training ? el("span", {}, `  mean reward ${short(one.mean)} of ${short(one.samples)} answers; the first:`) : null,
      verdict(one), textBlock(one.completion, 1200));
    const { before, after } = pair;
    return el("section", { class: "group" },
      el("div", { class: "question" }, textBlock(before.prompt, 400), before.answer == null ? null : el("p", { class: "gold" }, el("span", { class: "faint" }, "right answer "), el("span", { class: "text" }, visible(before.answer)))),
      el("div", { class: "cards two" }, side(before, training ? before.step : found.first, training ? before.row : pair.row), side(after, training ? after.step : found.last, training ? after.row : pair.row)));
  }
}
