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

/** The JSON at an address; throws an Error with the server's own sentence. */
export async function ask(path, signal) {
  const answer = await fetch(path, { signal });
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

/** A number in at most four digits. */
export function short(value) {
  if (value == null) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4 ? String(+value.toPrecision(4)) : value.toExponential(2);
}
