// The frame of a view: a question, a sentence with numbers of now, presets.
import { h } from "../dom";
import { own, parse, print, state, changed } from "../state";

export interface Section { element: HTMLElement; sentence: HTMLElement; body: HTMLElement }

export function section(letter: string, short: string, question: string, presets: [string, string][] = []): Section {
  const sentence = h("p", { class: "live" });
  const body = h("div");
  const buttons = presets.map(([text, hash]) => h("button", { type: "button", onclick: () => preset(hash, letter) }, text));
  const element = h("section", { id: letter, "aria-labelledby": `${letter}h`, "data-short": short },
    h("h2", { id: `${letter}h` }, question), sentence,
    presets.length ? h("div", { class: "presets" }, h("span", {}, "Try"), ...buttons) : null, body);
  return { element, sentence, body };
}

/** A preset changes what it names, and leaves the rest. */
function preset(hash: string, letter: string): void {
  const kept = new Map(own);
  parse(`${print(letter).slice(1)}&${hash}`);
  for (const [key, value] of kept) own.set(key, value);
  state.s = letter;
  changed();
}
