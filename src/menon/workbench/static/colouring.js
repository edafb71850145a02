// From the numbers of a column to classes of colour, and the legend that says what they mean.
import { el, short } from "./page.js";

const STEPS = 10, SIDES = 5;

/** A colouring of a column: level(t) is a class, legend() an element. */
export function colouring(column) {
  const known = column.values.filter((value) => value != null);
  if (!known.length) return { level: () => "none", legend: () => note(column, "no token of this answer has it") };
  if (column.scale === "flag") {
    return { level: (t) => (column.values[t] == null ? "none" : column.values[t] ? "p4" : "off"),
      legend: () => legend(column, [["p4", "yes"], ["off", "no"]]) };
  }
  return ["signed", "ratio"].includes(column.scale) ? aroundZero(column, known) : upwards(column, known);
}

function upwards(column, known) {
  const rare = column.scale === "rare", share = rare || column.scale === "share";
  const low = share ? 0 : column.scale === "order" ? least(known) : Math.min(0, least(known));
  const high = share ? 1 : Math.max(topmost(known), low + 1e-12);
  const place = (value) => {
    const at = (value - low) / (high - low);
    return Math.max(0, Math.min(STEPS - 1, Math.floor((rare ? 1 - at : at) * STEPS)));
  };
  const ends = Array.from({ length: STEPS }, (_, i) => [`q${i}`, i === 0 ? short(rare ? high : low) : i === STEPS - 1 ? short(rare ? low : high) : ""]);
  return { level: (t) => (column.values[t] == null ? "none" : `q${place(column.values[t])}`), legend: () => legend(column, ends) };
}

function aroundZero(column, known) {
  const ratio = column.scale === "ratio";
  const signed = (value) => (ratio ? Math.log(Math.max(value, 1e-9)) : value);
  const far = Math.max(topmost(known.map((value) => Math.abs(signed(value)))), 1e-12);
  const level = (value) => {
    const at = signed(value) / far;
    if (Math.abs(at) < 0.02) return "zero";
    return `${at < 0 ? "n" : "p"}${Math.min(SIDES, Math.max(1, Math.ceil(Math.abs(at) * SIDES)))}`;
  };
  const end = (sign) => short(ratio ? Math.exp(sign * far) : sign * far);
  const steps = [...Array.from({ length: SIDES }, (_, i) => [`n${SIDES - i}`, i ? "" : end(-1)]), ["zero", ratio ? "1" : "0"],
    ...Array.from({ length: SIDES }, (_, i) => [`p${i + 1}`, i === SIDES - 1 ? end(1) : ""])];
  return { level: (t) => (column.values[t] == null ? "none" : level(column.values[t])), legend: () => legend(column, steps) };
}

const least = (values) => values.reduce((a, b) => Math.min(a, b));

/** The largest value; of many the one below which 99.5 % lie, so that one outlier does not hide the rest. */
function topmost(values) {
  if (values.length < 200) return values.reduce((a, b) => Math.max(a, b));
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.ceil(0.995 * sorted.length) - 1] || sorted[sorted.length - 1];
}

function legend(column, steps) {
  return el("div", { class: "legend" },
    el("span", { class: "steps" }, steps.map(([kind, text]) => el("span", { class: `tok ${kind}` }, text || " "))),
    el("span", { class: "faint" }, `${column.label}, ${column.unit}: ${column.about}`));
}

const note = (column, text) => el("div", { class: "legend faint" }, `${column.label}: ${text}`);
