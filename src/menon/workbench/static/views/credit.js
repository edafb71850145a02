// Where the credit of a group comes from: a tree of continuations, segments with values, or turns of an environment.
import { address, ask, el, short } from "../page.js";
import { hierarchy, tree } from "../vendor/d3-hierarchy.js";
import { verdict } from "../answer_card.js";
import { line, textBlock, visible } from "../visible.js";

const SNIPPET = 220; // pixels for the text beside a leaf
const SVG = "http://www.w3.org/2000/svg";
const ROW = 34, COLUMN = 190, SIDE = 60;

export async function show(place, { parts, query }) {
  const [, run, , step, , group] = parts;
  const data = await ask(`/api/run/${encodeURIComponent(run)}/step/${step}/tree/${group}`);
  const what = { tree: "tree", segments: "segments", turns: "turns", answers: "group" }[data.kind];
  place.append(el("h1", {}, `Step ${step}, ${what === "tree" ? "tree" : "group"} ${group}`),
    el("p", { class: "bar" }, el("a", { href: address(["run", run, "answers"], { step }) }, "all answers of the step")),
    el("div", { class: "question" }, textBlock(data.prompt ?? "", 1500), data.answer == null ? null
      : el("p", { class: "gold" }, el("span", { class: "faint" }, "right answer "), el("span", { class: "text" }, visible(data.answer)))));
  const link = (row, text) => el("a", { href: address(["run", run, "step", step, "answer", row]) }, text);
  if (data.kind === "tree") return void new Tree(data, link, +query.get("node")).fill(place);
  place.append(el("p", { class: "faint" }, {
    segments: "Each segment shows the value where it begins (mean reward of new answers from there, ± standard error), what it gained, and the advantages of its tokens.",
    turns: "What the policy wrote, and what the environment answered, which is not learned from.",
    answers: "The answers of this group side by side; they have neither segments nor turns." }[data.kind]));
  place.append(el("div", { class: "cards wide" }, data.answers.map((one) => card(one, data.kind, link))));
}

function card(one, kind, link) {
  const body = kind === "segments" ? (one.segments.length ? one.segments.map(segment) : [textBlock(one.completion)])
    : kind === "turns" ? one.turns.map(turn) : [textBlock(one.completion)];
  return el("article", { class: `card ${one.acc === 1 ? "right" : one.acc === 0 ? "wrong" : ""}` },
    link(one.row, `answer ${one.sample}`), verdict(one), el("div", { class: kind }, body));
}

function segment(one) {
  const sampled = one.samples > 0;
  const value = one.value == null ? "no value" : `value ${short(one.value)}${sampled ? ` ± ${short(one.error)}` : ""}`;
  const about = sampled ? `mean of ${one.samples} new answers` : "not estimated: it takes the value of the next, or the outcome";
  const [least, most] = one.advantage;
  return el("div", { class: `segment ${side(one.gain)}` },
    el("div", { class: "edge" }, el("span", { title: about }, value),
      one.gain == null ? null : el("span", { title: "the value where the next segment begins, or the reward, minus this one" }, `gain ${signed(one.gain)}`),
      el("span", { class: "faint", title: "of its tokens, as the losses read it" }, `advantage ${least === most ? short(least) : `${short(least)} to ${short(most)}`}`)),
    el("div", { class: "text" }, visible(one.text, true)));
}

function turn(one) {
  return el("div", { class: `turn ${one.by}` },
    el("div", { class: "edge" }, el("span", {}, one.by), el("span", { class: "faint" }, one.length === 1 ? "1 token" : `${short(one.length)} tokens`), one.reward ? el("span", {}, `reward ${short(one.reward)}`) : null),
    el("div", { class: "text" }, visible(one.text, true)));
}

/** A value with its standard error, to two places. */
const worth = (one) => `${+one.value.toFixed(2)}${one.error == null ? "" : ` ± ${one.error.toFixed(2)}`}`;

const signed = (value) => `${value > 0 ? "+" : ""}${value.toFixed(2)}`;

const side = (advantage) => (advantage > 0 ? "up" : advantage < 0 ? "down" : "");

class Tree {
  constructor(data, link, chosen) {
    Object.assign(this, { data, link });
    const nodes = [{ node: 0, value: data.value, error: data.error, text: data.prompt ?? "", root: true }, ...data.nodes];
    const below = new Map();
    for (const one of data.nodes) below.set(one.parent, [...(below.get(one.parent) ?? []), one]);
    this.root = tree().nodeSize([ROW, COLUMN])(hierarchy(nodes[0], (one) => below.get(one.node)));
    this.places = new Map(this.root.descendants().map((one) => [one.data.node, one]));
    this.chosen = this.places.has(chosen) ? chosen : 0;
  }

  fill(place) {
    const all = this.root.descendants(), top = Math.min(...all.map((one) => one.x)), bottom = Math.max(...all.map((one) => one.x));
    const wide = Math.max(...all.map((one) => one.y)) + 2 * SIDE + SNIPPET;
    const high = bottom - top + 2 * ROW;
    this.svg = svg("svg", { class: "tree", width: wide, height: high, viewBox: `${-SIDE} ${top - ROW} ${wide} ${high}`, tabindex: 0, role: "tree",
      "aria-label": "the tree; arrow keys move from node to node" });
    this.svg.append(...this.root.links().map((one) => this.edge(one)), ...all.map((one) => this.node(one)));
    this.details = el("div", { class: "details node-text", "aria-live": "polite" });
    place.append(el("p", { class: "faint" }, "A node has its value ± standard error; an edge the advantage of its tokens, where the step learned from them (thick). ",
        "Click a node, or move with the arrow keys, to read its text."),
      el("div", { class: "tree-view" }, el("div", { class: "scroll" }, this.svg), this.details));
    this.svg.addEventListener("keydown", (event) => this.press(event));
    this.choose(this.chosen);
  }

  edge({ source, target }) {
    const one = target.data, middle = (source.y + target.y) / 2;
    const line = svg("path", { class: `edge-line ${side(one.advantage)} ${one.learn ? "learned" : ""} ${one.loose ? "loose" : ""}`,
      d: `M${source.y + 46},${source.x}C${middle},${source.x} ${middle},${target.x} ${target.y - 46},${target.x}` });
    const text = svg("text", { class: `edge-text ${side(one.advantage)}`, x: target.y - 52, y: target.x - 5, "text-anchor": "end" });
    text.textContent = one.advantage == null ? "" : signed(one.advantage);
    const both = svg("g", {});
    both.append(line, text);
    return both;
  }

  node(place) {
    const one = place.data;
    const made = svg("g", { class: `node ${one.acc === 1 ? "right" : one.acc === 0 ? "wrong" : ""}`, transform: `translate(${place.y},${place.x})`, role: "treeitem", "data-node": one.node });
    const text = svg("text", { "text-anchor": "middle", y: 4 });
    text.textContent = one.value == null ? (one.root ? "prompt" : "failed") : worth(one);
    made.append(svg("rect", { x: -46, y: -12, width: 92, height: 24, rx: 5 }), text);
    if (!place.children && !one.root) {
      const own = svg("text", { class: "own", x: 54, y: 4 });
      own.textContent = line(one.text, 28);
      made.append(own);
    }
    made.addEventListener("click", () => this.choose(one.node));
    return made;
  }

  choose(node) {
    this.chosen = node;
    for (const made of this.svg.querySelectorAll(".node")) made.classList.toggle("chosen", +made.dataset.node === node);
    const place = this.places.get(node), one = place.data;
    this.svg.querySelector(".chosen").scrollIntoView({ block: "nearest", inline: "nearest" });
    if (one.root) {
      this.details.replaceChildren(el("h2", {}, "The prompt"), el("p", {}, one.value == null ? "An edge of an earlier step waits here without the nodes above it." : `value ${short(one.value)} ± ${short(one.error)}, the mean of its ${place.children?.length ?? 0} children`));
      return;
    }
    const fact = (name, value) => [el("dt", {}, name), el("dd", {}, value)];
    this.details.replaceChildren(el("div", {}, el("h2", {}, this.link(one.row, `node ${node}`)),
      el("dl", {}, fact("value", `${short(one.value)}${one.error == null ? "" : ` ± ${short(one.error)}`}`), fact("starts at", short(one.start)),
        fact("advantage", short(one.advantage)), fact("tokens", short(one.length)), fact("ended", one.finish), fact("learned from", one.learn ? "yes" : "no"),
        one.age ? fact("steps old", short(one.age)) : null),
      one.loose ? el("p", { class: "faint" }, "The node above it is of an earlier step.") : null,
      textBlock(one.text, 6000)));
  }

  press(event) {
    const place = this.places.get(this.chosen), level = place.parent?.children ?? [place], at = level.indexOf(place);
    const to = { ArrowLeft: place.parent, ArrowRight: place.children?.[0], ArrowUp: level[at - 1], ArrowDown: level[at + 1] }[event.key];
    if (event.key === "Enter" && !place.data.root) this.details.querySelector("a").click();
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    if (to) this.choose(to.data.node);
  }
}

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
