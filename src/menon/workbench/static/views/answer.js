// One answer token by token: what was stored about each token, as colours, as numbers, and as a list of forks.
import { address, answerOf, ask, el, short } from "../page.js";
import { colouring } from "../colouring.js";
import { Overview } from "../overview.js";
import { PANELS } from "../token_panels.js";
import { TokenText } from "../token_text.js";
import { line, textBlock, tokenText, visible } from "../visible.js";
import { verdict } from "../answer_card.js";

const FORKS = 20;
const LONG = 400; // tokens from which an answer has an overview
const KEYS = [
  ["← →", "the token before or after"], ["Home, End", "the first or the last token"],
  ["f, F", "the next or the last of the forking tokens (highest entropy)"],
  ["1 to 9, c, C", "a colouring by its place, the next, the one before"],
  ["n, p", "the next or the previous answer of the step"], ["g", "the group: its tree, segments or turns"],
  ["?", "these keys"],
];

export async function show(place, { parts, query }) {
  const [, run, , step, , row] = parts;
  const of = query.get("of") ?? "training";
  const path = answerOf(run, step, row);
  const data = await ask(`${path}?of=${of}`);
  for (const column of data.columns) column.values = unpacked(column);
  return new Inspector({ run, step: +step, row: +row, of, path, data, colour: query.get("colour") }).fill(place);
}

/** The numbers of a column, null where a token has none. */
function unpacked({ runs, float32 }) {
  if (runs) return runs.flatMap(([value, count]) => Array(count).fill(value));
  const text = atob(float32), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return Array.from(new Float32Array(bytes.buffer), (value) => (Number.isNaN(value) ? null : value));
}

class Inspector {
  constructor(given) {
    Object.assign(this, given);
    const { data } = this;
    this.begin = data.begin;
    this.count = data.tokens.length;
    this.columns = data.columns;
    this.forks = forks(data);
    this.asked = new Map();
    this.overview = this.count - this.begin > LONG ? new Overview(this.begin, this.count, (t) => this.go(t)) : null;
    this.text = new TokenText(data.pieces ?? data.tokens.map((id) => `[${id}]`), data.tokens, data.is_action, this.begin);
  }

  fill(place) {
    const { data, text } = this;
    this.choice = el("select", { "aria-label": "colour the tokens by", change: () => this.colourBy(this.choice.value) });
    this.legend = el("div");
    this.details = el("div", { class: "details", "aria-live": "polite" });
    this.help = el("dialog", { class: "keys" }, el("h2", {}, "Keys"),
      el("dl", {}, KEYS.flatMap(([key, what]) => [el("dt", {}, key), el("dd", {}, what)])),
      el("form", { method: "dialog" }, el("button", {}, "close")));
    const panels = el("div");
    place.append(this.head(), ...data.notes.map((note) => el("p", { class: "note" }, note)),
      el("div", { class: "inspector" },
        el("div", { class: "reading" },
          el("div", { class: "bar" }, el("label", {}, "colour by ", this.choice),
            el("button", { click: () => this.help.showModal(), title: "keys" }, "? keys")),
          this.legend,
          el("details", { class: "prompt", open: (data.prompt ?? "").length < 1500 }, el("summary", {}, `prompt, ${short(this.begin)} ${this.begin === 1 ? "token" : "tokens"}`),
            textBlock(data.pieces ? data.pieces.slice(0, this.begin).join("") : data.prompt ?? "")),
          el("h2", {}, "Answer"), this.overview?.element, text.element, panels),
        el("aside", {}, this.details, this.forkList())), this.help);
    this.listen();
    this.offer();
    this.colourBy(this.columns.some((one) => one.name === this.colour) ? this.colour : first(this.columns));
    this.go(this.begin, false);
    for (const panel of PANELS) panels.append(this.room(panel));
    return () => { document.removeEventListener("keydown", this.key); text.close(); this.overview?.close(); };
  }

  room(panel) {
    const room = el("section");
    const { run, step, row, of, begin, count } = this;
    Promise.resolve(panel(room, { run, step, row, of, begin, count, add: (column) => this.add(column) }))
      .catch((error) => room.append(el("p", { class: "bad", role: "alert" }, error.message)));
    return room;
  }

  /** Offers one more colouring, and shows it. */
  add(column) {
    this.columns = [...this.columns.filter((one) => one.name !== column.name), column];
    this.offer();
    this.colourBy(column.name);
    this.tell(this.text.current);
  }

  head() {
    const { data, run, step, of, row } = this;
    const other = (to, name) => el("a", { href: this.answer(to), class: to < 0 || to >= data.rows ? "gone" : null }, name);
    const what = data.node >= 0 ? `node ${data.node}` : `answer ${data.sample}`;
    return el("div", { class: "answer-head" },
      el("h1", {}, `${of === "training" ? "Step" : "Evaluation after step"} ${step}, group ${data.group}, ${what}`),
      el("p", { class: "bar" }, other(row - 1, "← previous"), other(row + 1, "next →"),
        of === "training" ? el("a", { href: this.group() }, data.node >= 0 ? "the tree" : "the group") : null,
        el("a", { href: address(["run", run, "answers"], { step, of }) }, "all answers of the step")),
      verdict({ ...data, length: data.is_action.reduce((sum, one) => sum + one, 0) }),
      data.answer == null ? null : el("p", {}, "right answer: ", el("span", { class: "text" }, visible(data.answer))));
  }

  answer(row) {
    return address(["run", this.run, "step", this.step, "answer", row],
      { of: this.of === "training" ? null : this.of, colour: this.choice?.value });
  }

  group() {
    return address(["run", this.run, "step", this.step, "tree", this.data.group]);
  }

  offer() {
    const chosen = this.choice.value;
    this.choice.replaceChildren(...this.columns.map((one) => el("option", { value: one.name }, one.label)), el("option", { value: "" }, "nothing"));
    this.choice.value = chosen;
  }

  colourBy(name) {
    const column = this.columns.find((one) => one.name === name);
    this.choice.value = column ? name : "";
    const colours = column ? colouring(column) : { level: () => "", legend: () => el("div", { class: "legend" }) };
    this.text.paint(colours.level);
    this.overview?.paint(colours.level);
    this.legend.replaceChildren(colours.legend());
  }

  listen() {
    const token = (event) => event.target.closest?.("[data-t]")?.dataset.t;
    this.text.element.addEventListener("mouseover", (event) => token(event) && this.tell(+token(event)));
    this.text.element.addEventListener("mouseleave", () => this.tell(this.text.current));
    this.text.element.addEventListener("click", (event) => token(event) && this.go(+token(event), false));
    this.key = (event) => this.press(event);
    document.addEventListener("keydown", this.key);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.help.open) return;
    if (event.target.closest?.("input, select, textarea")) return;
    const at = this.text.current, names = this.columns.map((one) => one.name);
    const turn = (by) => this.colourBy(names[(names.indexOf(this.choice.value) + by + names.length) % names.length]);
    const jump = (t) => t != null && this.go(t);
    const keys = {
      ArrowRight: () => this.go(at + 1), ArrowLeft: () => this.go(at - 1), Home: () => this.go(this.begin), End: () => this.go(this.count - 1),
      f: () => jump(this.forks.places.find((t) => t > at)), F: () => jump(this.forks.places.findLast((t) => t < at)),
      c: () => turn(1), C: () => turn(-1), "?": () => this.help.showModal(),
      n: () => this.row + 1 < this.data.rows && (location.hash = this.answer(this.row + 1)),
      p: () => this.row > 0 && (location.hash = this.answer(this.row - 1)),
      g: () => this.of === "training" && (location.hash = this.group()),
    };
    const act = /^[1-9]$/.test(event.key) ? () => names[event.key - 1] && this.colourBy(names[event.key - 1]) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  go(t, scroll = true) {
    if (t < this.begin || t >= this.count) return;
    this.text.go(t, scroll);
    this.tell(t);
  }

  /** The numbers of a token. */
  tell(t) {
    if (t < this.begin || t >= this.count) return;
    this.told = t;
    const { data } = this, piece = this.text.pieces[t];
    const rows = this.columns.map((one) => el("tr", { class: one.name === this.choice.value ? "chosen" : null, title: `${one.unit}: ${one.about}` },
      el("th", { scope: "row" }, one.label), el("td", { class: "number" }, numeral(one, t))));
    const others = el("div", { class: "others" });
    this.details.replaceChildren(el("div", {},
      el("h2", {}, `token ${t - this.begin}`, el("span", { class: "faint" }, ` id ${data.tokens[t]}`)),
      el("p", { class: "text piece" }, piece ? tokenText(piece) : el("span", { class: "mark" }, "a part of a character")),
      data.is_action[t] ? null : el("p", { class: "faint" }, "The environment wrote it; it is not learned from."),
      el("table", {}, el("tbody", {}, rows)), others));
    if (data.alternatives && data.is_action[t]) this.others(t, others);
  }

  async others(t, place) {
    const begin = Math.floor(t / this.data.block) * this.data.block;
    if (!this.asked.has(begin)) this.asked.set(begin, ask(`${this.path}/alternatives?of=${this.of}&begin=${begin}`));
    try {
      const found = (await this.asked.get(begin)).tokens[t - begin];
      if (found && this.told === t) place.replaceChildren(alternatives(found, this.data.tokens[t]));
    } catch (error) {
      if (this.told === t) place.replaceChildren(el("p", { class: "bad" }, error.message));
    }
  }

  forkList() {
    const { ranked, why } = this.forks, entropy = this.columns.find((one) => one.name === "entropy");
    return el("details", { class: "forks", open: innerWidth > 800 }, el("summary", {}, "Forking tokens"),
      why ? el("p", { class: "faint" }, why)
        : el("p", { class: "faint" }, `The ${ranked.length} of the highest entropy, in nats; f goes from one to the next.`),
      el("ol", {}, ranked.map((t) => el("li", {}, el("button", { click: () => this.go(t) },
        el("span", { class: "text" }, line(this.text.pieces[t] || "·")), el("span", { class: "number" }, short(entropy.values[t])))))));
  }
}

/** The tokens of the highest entropy: by rank, and by place. */
function forks({ columns }) {
  const entropy = columns.find((one) => one.name === "entropy")?.values;
  if (!entropy) return { ranked: [], places: [], why: "The sampler of this run gives no entropies." };
  const ranked = []; // kept in order: sorting all tokens of a long answer takes longer than its page
  for (let t = 0, least = 0; t < entropy.length; t++) {
    if (!(entropy[t] > least)) continue;
    const place = ranked.findIndex((other) => entropy[other] < entropy[t]);
    ranked.splice(place < 0 ? ranked.length : place, 0, t);
    if (ranked.length > FORKS) ranked.pop();
    if (ranked.length === FORKS) least = entropy[ranked[FORKS - 1]];
  }
  return { ranked, places: [...ranked].sort((a, b) => a - b) };
}

/** What a page shows first: the advantage if it differs from token to token, else the entropy. */
function first(columns) {
  const advantage = columns.find((one) => one.name === "advantage");
  const known = new Set(advantage?.values.filter((value) => value != null));
  return known.size > 1 ? "advantage" : ["entropy", "probability"].find((name) => columns.some((one) => one.name === name)) ?? "";
}

/** A token's number as a word. */
function numeral({ scale, values }, t) {
  return scale === "flag" && values[t] != null ? (values[t] ? "yes" : "no") : short(values[t]);
}

function alternatives(found, written) {
  const rows = found.map(([id, text, logp]) => {
    const share = Math.exp(logp);
    const bar = el("span", { class: "share" });
    bar.style.width = `${(100 * share).toFixed(1)}%`;
    return el("tr", { class: id === written ? "chosen" : null },
      el("td", { class: "text" }, text == null ? `id ${id}` : tokenText(text)),
      el("td", { class: "number" }, share >= 5e-4 ? share.toFixed(3) : share.toExponential(0)), el("td", { class: "bars" }, bar));
  });
  return el("table", { class: "alternatives" }, el("caption", {}, "most probable here"), el("tbody", {}, rows));
}
