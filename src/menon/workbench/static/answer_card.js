// What is said of an answer in one place: verdict, length, how it ended, and why it counts or not.
import { el, short } from "./page.js";
import { visible } from "./visible.js";

/** The numbers of an answer as a line of small labels. */
export function verdict(one) {
  const right = one.acc === 1 ? el("span", { class: "good" }, "right") : one.acc === 0 ? el("span", { class: "bad" }, "wrong") : null;
  return el("p", { class: "verdict" },
    right, fact("reward", one.score == null ? "none" : short(one.score)),
    ...Object.entries(one.parts ?? {}).map(([name, value]) => fact(name, short(value))),
    one.length == null ? null : fact("tokens", short(one.length)),
    one.finish === "stop" ? null : el("span", { class: "bad" }, one.finish === "length" ? "cut off" : "aborted"),
    "advantage" in one ? fact("advantage", short(one.advantage)) : null,
    one.age > 0 ? fact("steps old", short(one.age)) : null,
    one.learn === false ? el("span", { class: "faint" }, "not learned from") : null,
    one.error ? el("span", { class: "bad" }, visible(one.error.slice(0, 300))) : null);
}

const fact = (name, value) => el("span", { class: "fact" }, el("span", { class: "faint" }, visible(`${name} `)), value);
