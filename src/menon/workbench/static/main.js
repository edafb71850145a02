// From the address after # to a view. A view is a module with `show(place, route)`: it fills the element and may
// return a function that is called before the next view (to end timers and listeners). The third entry names what a
// view asks first: it is asked for while the view's modules come.
import { address, answerOf, askEarly, chartsOf, el, runsOf } from "./page.js";

const VIEWS = [
  [/^$/, "listing", () => ["/api/runs"]],
  [/^playground$/, "playground"],
  [/^run\/[^/]+\/answers$/, "answers"],
  [/^run\/[^/]+\/step\/\d+\/answer\/\d+$/, "answer", ({ parts, query }) => [`${answerOf(parts[1], parts[3], parts[5])}?of=${query.get("of") ?? "training"}`]],
  [/^run\/[^/]+\/step\/\d+\/tree\/\d+$/, "credit"],
  [/^run\/[^/]+\/step\/\d+\/replay$/, "replay"],
  [/^run\/[^/]+$/, "run", ({ parts, query }) => [chartsOf(runsOf(parts[1], query)), `/api/run/${encodeURIComponent(parts[1])}`]],
  [/^compare$/, "compare"],
];

let leave = null;

export function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  return { parts: path ? path.split("/").map(decodeURIComponent) : [], query: new URLSearchParams(query ?? "") };
}

async function open() {
  const route = parse(location.hash);
  const known = VIEWS.find(([form]) => form.test(route.parts.join("/")));
  const place = document.getElementById("view");
  leave?.();
  leave = null;
  document.getElementById("where").replaceChildren(...trail(route));
  const fresh = el("div", { class: `of-${known?.[1]}` }); // stylesheets of views begin with it
  place.replaceChildren(fresh);
  askEarly(known?.[2]?.(route) ?? []);
  try {
    if (!known) throw new Error("there is no such page");
    const view = await import(`./views/${known[1]}.js`);
    leave = (await view.show(fresh, route)) ?? null;
  } catch (error) {
    fresh.replaceChildren(el("p", { class: "bad", role: "alert" }, error.message));
  }
}

function trail({ parts }) {
  return parts.map((part, i) => {
    const there = parts.slice(0, i + 1);
    return VIEWS.some(([form]) => form.test(there.join("/"))) ? el("a", { href: address(there) }, part) : el("span", { class: "faint" }, part);
  });
}

addEventListener("hashchange", open);
open();
