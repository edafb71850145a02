// Text of models, data and programs as a reader can check it: what is invisible, or would turn the direction of
// writing, is shown by its number. The same characters as in printable.py.
import { el } from "./page.js";

const STEERS = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e" +
  "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\u{e0000}-\\u{e0fff}]", "gu");
const BROKEN = new RegExp(`${STEERS.source}|[\\n\\t]`, "gu");
const PLAIN = /^[ -~\u00a1-\u024f]*$/; // no such character, as of nearly every token

/** Whether a text is of letters from left to right that need no mark. */
export const isPlain = (text) => PLAIN.test(text);

/** The text as nodes; with `breaks` line breaks and tabs have a mark too. */
export function visible(text, breaks = false) {
  if (isPlain(text)) return text ? [text] : [];
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(breaks ? BROKEN : STEERS)) {
    if (found.index > end) nodes.push(text.slice(end, found.index));
    nodes.push(...mark(found[0]));
    end = found.index + found[0].length;
  }
  if (end < text.length) nodes.push(text.slice(end));
  return nodes;
}

function mark(character) {
  if (character === "\n") return [el("span", { class: "mark", "aria-hidden": "true" }, "↵"), "\n"];
  if (character === "\t") return [el("span", { class: "mark", "aria-hidden": "true" }, "⇥"), "\t"];
  return [el("span", { class: "mark", title: "an invisible or control character" }, named(character))];
}

/** What a token alone wrote: blanks have a mark too. */
export function tokenText(text) {
  return /^ +$/.test(text) ? [el("span", { class: "mark", title: "blanks" }, "␣".repeat(text.length))] : visible(text, true);
}

/** The text on one line, at most so long. */
export function line(text, most = 40) {
  const whole = text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(STEERS, named);
  return whole.length > most ? `${whole.slice(0, most)}…` : whole;
}

/** A character by its number. */
function named(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

/** A block of such text; long texts are folded until they are asked for. */
export function textBlock(text, most = 4000, kind = "text") {
  const block = el("div", { class: kind, dir: "auto" }, visible(text.slice(0, most)));
  if (text.length > most) {
    block.append(el("button", { class: "more", click: () => block.replaceChildren(...visible(text)) },
      `${(text.length - most).toLocaleString("en")} more characters`));
  }
  return block;
}
