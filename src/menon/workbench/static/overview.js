// The whole of a long answer as one strip: where its strongest tokens are, and a click goes there.
import { el } from "./page.js";

const HIGH = 18;
const strengths = new Map(); // class of a colour -> its number, looked up once

export class Overview {
  /** Of the tokens from `begin` to `end`; `go(token)` is called for the one that was clicked. */
  constructor(begin, end, go) {
    Object.assign(this, { begin, count: end - begin, level: () => "" });
    this.element = el("canvas", { class: "overview", height: HIGH, "aria-hidden": "true", title: "the whole answer; a click goes there",
      click: (event) => go(begin + Math.min(this.count - 1, Math.floor((event.offsetX / this.element.clientWidth) * this.count))) });
    this.size = new ResizeObserver(() => this.element.width !== this.element.clientWidth && this.paint(this.level));
    this.size.observe(this.element);
  }

  /** Draws each pixel in the colour of the strongest of its tokens. */
  paint(level) {
    this.level = level;
    const wide = this.element.width = this.element.clientWidth;
    if (!wide) return;
    const pen = this.element.getContext("2d"), colours = new Map();
    for (let x = 0; x < wide; x++) {
      const kind = this.strongest(Math.floor((x / wide) * this.count), Math.max(Math.floor((x / wide) * this.count) + 1, Math.floor(((x + 1) / wide) * this.count)));
      if (!colours.has(kind)) colours.set(kind, this.colour(kind));
      pen.fillStyle = colours.get(kind);
      pen.fillRect(x, 0, 1, HIGH);
    }
  }

  strongest(from, to) {
    let best = "", most = -1;
    for (let t = this.begin + from; t < this.begin + to; t++) {
      const kind = this.level(t);
      if (!strengths.has(kind)) strengths.set(kind, +(/\d/.exec(kind)?.[0] ?? 0));
      const strength = strengths.get(kind);
      if (strength > most) [best, most] = [kind, strength];
    }
    return best;
  }

  colour(kind) {
    const probe = el("span", { class: `tok ${kind}` });
    this.element.parentElement.append(probe);
    const { backgroundColor } = getComputedStyle(probe);
    probe.remove();
    return backgroundColor;
  }

  close() {
    this.size.disconnect();
  }
}
