// What every view uses: elements made of text alone, questions to the server, addresses.

/** An element with attributes (a function is a listener) and children; text is never read as HTML. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null));
  return made;
}

let begun = new Map();

/** Asks for addresses before a view does; `ask` takes these answers, once. */
export function askEarly(paths) {
  begun = new Map(paths.map((path) => [path, fetch(path)]));
  for (const answer of begun.values()) answer.catch(() => null); // who takes it hears of it
}

/** The JSON at an address; throws an Error with the server's own sentence. */
export async function ask(path, signal) {
  const early = begun.get(path);
  begun.delete(path);
  const answer = await (early ?? fetch(path, { signal }));
  const found = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(found.error ?? `the server answered ${answer.status}`);
  return found;
}

/** An address of the page: parts of a path, and what is asked of it. */
export function address(parts, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  const tail = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${tail && `?${tail}`}`;
}

/** The runs of a run's page: itself, and those that are drawn over it. */
export function runsOf(name, query) {
  return [name, ...(query.get("with") ?? "").split(",").filter((one) => one && one !== name)];
}

/** Where the charts of runs are, with the lines of the first ones. */
export function chartsOf(names) {
  return `/api/charts?${new URLSearchParams({ runs: names.join(","), pixels: 800 })}`;
}

/** Where an answer is. */
export function answerOf(run, step, row) {
  return `/api/run/${encodeURIComponent(run)}/step/${step}/answer/${row}`;
}

/** A number in at most four digits. */
export function short(value) {
  if (value == null) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4 ? String(+value.toPrecision(4)) : value.toExponential(2);
}
