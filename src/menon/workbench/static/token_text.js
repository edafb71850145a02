// The tokens of an answer, coloured by one column. Only blocks near the window have elements, so that an answer of
// 32,000 tokens scrolls as a short one does.
import { el } from "./page.js";
import { isPlain, visible } from "./visible.js";

const LEAST = 50, MOST = 250; // tokens of a block, which ends with a line where it can
const NEAR = "400px 0px";
const AT_ONCE = 150; // tokens of several blocks that a frame fills
const FRAMES = 4; // frames after a jump in which the token is held in view
const LINE = 23; // pixels, as in answers.css

export class TokenText {
  /** `pieces` are the texts of all tokens, shown from `begin` on; `acts` says which the policy wrote. */
  constructor(pieces, ids, acts, begin) {
    Object.assign(this, { pieces, ids, acts, begin, level: () => "", current: -1 });
    this.element = el("div", { class: "tokens", tabindex: 0, role: "group", dir: "ltr",
      "aria-label": "the tokens of the answer; arrow keys move from token to token" });
    this.blocks = this.cut();
    this.waiting = new Set();
    this.watcher = new IntersectionObserver((seen) => this.moved(seen), { rootMargin: NEAR });
    this.element.append(...this.blocks.map((block) => block.element));
    requestAnimationFrame(() => {
      this.estimate();
      this.blocks.forEach((block) => this.watcher.observe(block.element));
    });
  }

  cut() {
    const blocks = [];
    for (let from = this.begin; from < this.pieces.length;) {
      let to = from + 1;
      while (to < this.pieces.length && to - from < MOST && !(to - from >= LEAST && this.pieces[to - 1].includes("\n"))) to++;
      const block = { from, to, filled: false, element: el("div", { class: "block" }) };
      block.element.block = block;
      blocks.push(block);
      from = to;
    }
    return blocks;
  }

  /** Heights of blocks that were never shown, from their number of characters. */
  estimate() {
    const probe = el("span", {}, "x".repeat(100));
    this.element.append(probe);
    const one = probe.getBoundingClientRect().width / 100;
    probe.remove();
    const wide = Math.max(100, this.element.clientWidth - one);
    for (const block of this.blocks) {
      if (block.filled) continue;
      const text = this.pieces.slice(block.from, block.to).join("");
      const each = one + (block.to - block.from) / Math.max(1, text.length); // every token has a border
      const lines = text.split("\n").map((line) => Math.max(1, Math.ceil(line.length * each / wide)));
      const count = lines.reduce((sum, one) => sum + one, 0) - (text.endsWith("\n") ? 1 : 0);
      block.element.style.height = `${count * LINE}px`;
    }
  }

  moved(seen) {
    for (const { target, isIntersecting, boundingClientRect } of seen) {
      if (isIntersecting) this.waiting.add(target.block);
      else this.empty(target.block, boundingClientRect.height);
    }
    this.work ??= requestAnimationFrame(() => this.fillSome());
  }

  /** Fills a few blocks in a frame, so that no frame takes long. */
  fillSome() {
    this.work = null;
    let made = 0;
    for (const block of this.waiting) {
      const count = block.to - block.from;
      if (made && made + count > AT_ONCE) break;
      this.fill(block);
      made += count;
    }
    if (this.waiting.size) this.work = requestAnimationFrame(() => this.fillSome());
  }

  fill(block) {
    this.waiting.delete(block);
    if (block.filled) return;
    block.filled = true;
    block.element.style.height = "";
    const made = [];
    for (let t = block.from; t < block.to; t++) made.push(...this.token(t));
    block.element.replaceChildren(...made);
  }

  empty(block, height) {
    this.waiting.delete(block);
    if (!block.filled) return;
    block.element.style.height = `${height}px`;
    block.element.replaceChildren();
    block.filled = false;
  }

  /** A token; a line break at its end stands after it, so that its frame stays on its own line. */
  token(t) {
    const piece = this.pieces[t], made = document.createElement("span");
    made.className = this.kind(t);
    made.dataset.t = t;
    if (piece && isPlain(piece)) { // as nearly every token, of which a frame makes hundreds
      made.textContent = piece;
      return [made];
    }
    made.dataset.mixed = "";
    const nodes = visible(piece, true), breaks = nodes.at(-1) === "\n" ? [nodes.pop()] : [];
    made.append(...nodes);
    if (!piece) made.append(el("span", { class: "mark", title: "a part of a character; the token that completes it shows it" }, "·"));
    return [made, ...breaks];
  }

  kind(t) {
    return `tok ${this.acts[t] ? this.level(t) : "given"}${t === this.current ? " current" : ""}`;
  }

  /** Colours every token by a function from its number to a class. */
  paint(level) {
    this.level = level;
    for (const block of this.blocks) {
      if (block.filled) for (const one of block.element.children) one.className = this.kind(+one.dataset.t);
    }
  }

  /** Marks a token, and scrolls to it if asked. */
  go(t, scroll = true) {
    const before = this.current;
    this.current = t;
    for (const place of [before, t]) {
      const one = this.at(place);
      if (one) one.className = this.kind(place);
    }
    if (!scroll) return;
    const block = this.blocks.find((one) => t >= one.from && t < one.to);
    if (!block) return;
    this.fill(block);
    this.keep(t, FRAMES);
  }

  /** Scrolls to a token, and again while blocks near it get their true heights. */
  keep(t, frames) {
    if (t !== this.current || !frames) return;
    this.at(t)?.scrollIntoView({ block: "nearest" });
    requestAnimationFrame(() => this.keep(t, this.waiting.size ? FRAMES : frames - 1));
  }

  at(t) {
    return this.element.querySelector(`[data-t="${t}"]`);
  }

  close() {
    this.watcher.disconnect();
    cancelAnimationFrame(this.work);
  }
}
