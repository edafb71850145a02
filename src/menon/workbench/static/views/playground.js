// A prompt or a chat with the model of `menon serve`: tokens as they are drawn, coloured by their entropy, each
// with what stood beside it.
import { ask, el, short } from "../page.js";

const SHOWN = 8; // alternatives beside a token
const MOST = 3; // nats of entropy with the strongest colour
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text with control characters and marks of direction spelt out. */
export function visible(text) {
  return text.replace(HIDDEN, (found) => `⟨U+${found.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** The events of a stream, as objects. */
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n\n");
    rest = lines.pop();
    for (const line of lines) {
      const data = line.replace(/^data: /, "");
      if (data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

/** A chunk of either protocol as tokens: { text, name, logp, entropy, others: [[name, logp]] }. */
function tokensOf(choice, chat) {
  const text = (chat ? choice.delta.content : choice.text) ?? "";
  const numbers = choice.logprobs;
  if (!numbers) return [];
  const tokens = chat
    ? numbers.content.map((one) => ({ name: one.token, logp: one.logprob, others: one.top_logprobs.map((o) => [o.token, o.logprob]) }))
    : numbers.tokens.map((name, i) => ({ name, logp: numbers.token_logprobs[i], others: Object.entries(numbers.top_logprobs[i]).sort((a, b) => b[1] - a[1]) }));
  tokens.forEach((token, i) => {
    token.entropy = choice.entropies[i];
    token.text = i === tokens.length - 1 ? text : "";
  });
  return tokens;
}

function field(name, title, attributes) {
  const input = el("input", { id: `play-${name}`, ...attributes });
  return { input, label: el("label", { for: `play-${name}`, title }, name, input) };
}

class Playground {
  constructor(place, model) {
    this.place = place;
    this.model = model;
    this.messages = [];
    this.tokens = [];
    this.selected = -1;
    this.abort = null;
    this.build();
  }

  build() {
    this.mode = el("select", { id: "play-mode", change: () => this.restart() },
      el("option", { value: "prompt" }, "prompt"),
      el("option", { value: "chat", disabled: !this.model.chat }, this.model.chat ? "chat" : "chat (the model has no chat template)"));
    this.temperature = field("temperature", "0 takes the likeliest token always", { type: "number", min: 0, max: 5, step: 0.1, value: 1 });
    this.top = field("top_p", "draw from the likeliest tokens that hold this much of the probability", { type: "number", min: 0.01, max: 1, step: 0.01, value: 1 });
    this.most = field("max_tokens", "the longest answer", { type: "number", min: 1, max: this.model.max_model_len, step: 1, value: Math.min(128, this.model.max_model_len >> 1) });
    this.seed = field("seed", "the same seed gives the same answer; empty: a new one each time", { type: "number", step: 1 });
    this.text = el("textarea", { id: "play-text", rows: 3, keydown: (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.write();
    } });
    this.go = el("button", { type: "button", class: "primary", click: () => (this.abort ? this.abort.abort() : this.write()) }, "Write");
    this.fresh = el("button", { type: "button", click: () => this.restart() }, "Clear");
    this.said = el("div", { class: "said" });
    this.about = el("p", { class: "faint", role: "status" }, "Ctrl+Enter writes. Colour: how uncertain the model was at a token; hover it, or use ← and →, to see what else it could have written.");
    this.detail = el("div", { class: "detail", "aria-live": "polite" });
    this.place.append(
      el("h1", {}, `Playground: ${this.model.id}`),
      el("div", { class: "settings" }, el("label", { for: "play-mode" }, "mode", this.mode), this.temperature.label, this.top.label, this.most.label, this.seed.label),
      el("label", { for: "play-text", class: "faint" }, "What the model reads"),
      this.text, el("div", { class: "buttons" }, this.go, this.fresh), this.about,
      el("div", { class: "scale faint" }, "certain", el("span", { class: "ramp" }), `entropy ${MOST} nats or more`),
      el("div", { class: "beside" }, this.said, this.detail));
    this.said.tabIndex = 0;
    this.said.setAttribute("aria-label", "What the model wrote; arrow keys go from token to token");
    this.said.addEventListener("keydown", (event) => this.move(event));
  }

  restart() {
    this.abort?.abort();
    this.messages = [];
    this.tokens = [];
    this.selected = -1;
    this.said.replaceChildren();
    this.detail.replaceChildren();
  }

  body(chat) {
    const value = (one) => (one.input.value === "" ? undefined : Number(one.input.value));
    const shared = { model: this.model.id, temperature: value(this.temperature), top_p: value(this.top), max_tokens: value(this.most),
      seed: value(this.seed), stream: true, return_entropies: true, stream_options: { include_usage: true } };
    return chat
      ? { ...shared, messages: this.messages, logprobs: true, top_logprobs: SHOWN }
      : { ...shared, prompt: this.text.value, logprobs: SHOWN };
  }

  async write() {
    const chat = this.mode.value === "chat";
    if (this.abort || !this.text.value) return;
    if (chat) this.messages.push({ role: "user", content: this.text.value });
    if (!chat) this.restart();
    this.said.append(el("span", { class: "given text" }, visible(this.text.value)));
    const line = el("span", { class: "text" });
    this.said.append(line);
    if (chat) this.text.value = "";
    this.abort = new AbortController();
    this.go.textContent = "Stop";
    this.about.textContent = "writing …";
    const begun = performance.now();
    let written = "", finish = null, count = 0, surprise = 0, failed = null;
    try {
      const answer = await fetch(chat ? "/v1/chat/completions" : "/v1/completions", {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(this.body(chat)), signal: this.abort.signal });
      if (!answer.ok) throw new Error((await answer.json()).error.message ?? `the server answered ${answer.status}`);
      for await (const event of events(answer)) {
        if (event.error) throw new Error(event.error.message);
        for (const choice of event.choices) {
          for (const token of tokensOf(choice, chat)) {
            this.show(line, token);
            count += 1;
            surprise += token.entropy;
          }
          const text = (chat ? choice.delta.content : choice.text) ?? "";
          if (text && !choice.logprobs?.tokens?.length && !choice.logprobs?.content?.length) line.append(visible(text));
          written += text;
          finish = choice.finish_reason ?? finish;
        }
        this.about.textContent = `${count} tokens, mean entropy ${short(count ? surprise / count : null)} nats, ${short(count / ((performance.now() - begun) / 1000))} tokens a second${finish ? `, ended by ${finish}` : ""}`;
      }
    } catch (error) {
      failed = error.name === "AbortError" ? "stopped" : error.message;
      this.about.textContent = failed;
    }
    if (chat) {
      if (written) this.messages.push({ role: "assistant", content: written });
      else if (failed) this.messages.pop();
    }
    this.abort = null;
    this.go.textContent = "Write";
  }

  show(line, token) {
    const place = this.tokens.length;
    const part = !token.text && token.name.startsWith("bytes:"); // bytes of a character that a later token completes
    const special = !token.text && !part;
    const made = el("span", { class: token.text ? "token" : "token special", title: part ? "a part of a character" : null, "data-place": place, mouseenter: () => this.select(place), click: () => this.select(place) },
      visible(token.text || (special ? token.name : "▫")));
    made.style.setProperty("--heat", `${Math.round(Math.min(1, token.entropy / MOST) * 70)}%`);
    this.tokens.push({ ...token, made });
    line.append(made);
  }

  move(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.tokens.length) return;
    event.preventDefault();
    this.select(Math.max(0, Math.min(this.tokens.length - 1, this.selected + by)));
  }

  select(place) {
    this.tokens[this.selected]?.made.classList.remove("selected");
    this.selected = place;
    const token = this.tokens[place];
    token.made.classList.add("selected");
    const named = (name) => el("td", {}, el("code", { class: "name" }, visible(name).replaceAll("\n", "↵").replaceAll(" ", "␣")));
    const rows = token.others.map(([name, logp]) => {
      const bar = el("span", { class: "bar" });
      bar.style.setProperty("--share", `${100 * Math.exp(logp)}%`);
      return el("tr", { class: name === token.name ? "drawn" : null }, named(name), el("td", { class: "number" }, percent(logp)), el("td", {}, bar));
    });
    this.detail.replaceChildren(
      el("p", {}, `token ${place + 1}: probability ${percent(token.logp)}, entropy ${short(token.entropy)} nats`),
      el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "could be"), el("th", { class: "number" }, "probability"), el("th"))), el("tbody", {}, rows)));
  }
}

function percent(logp) {
  const share = 100 * Math.exp(logp);
  return share > 0 && share < 0.01 ? "< 0.01 %" : `${share.toFixed(share < 1 ? 2 : 1)} %`;
}

export async function show(place) {
  let models;
  try {
    models = await ask("/v1/models");
  } catch {
    place.append(el("h1", {}, "Playground"),
      el("p", {}, "The playground talks to a model that is served. Type ", el("code", {}, "menon serve MODEL"), " with a model folder, a run or base, and open the address that it prints."));
    return;
  }
  const playground = new Playground(place, models.data[0]);
  return () => playground.abort?.abort();
}
