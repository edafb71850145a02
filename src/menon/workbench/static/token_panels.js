import { replayPanel } from "./replay.js";

// Panels below the tokens of an answer, a function each: `panel(place, inspector)` fills the element `place`.
// `inspector` has run, step, row, of ("training" or "evaluation"), begin, count (tokens), and add(column), which
// offers one more colouring: { name, label, unit, about, scale, values } as the server's columns, values one per
// token, null where there is none. A column of the same name is replaced.
export const PANELS = [replayPanel];
