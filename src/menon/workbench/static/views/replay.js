// A step of a run under another recipe or part: the summary over the step, without the tokens of one answer.
import { el } from "../page.js";
import { replayPanel } from "../replay.js";

export async function show(place, { parts, query }) {
  const [, run, , step] = parts;
  place.append(el("h1", {}, `Step ${step} under another algorithm`));
  await replayPanel(place, { run, step: +step, of: "training", asked: query });
}
