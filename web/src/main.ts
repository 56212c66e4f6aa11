// The page: starts the engine, puts the views together, keeps the address.
import { rail } from "./controls";
import { h } from "./dom";
import { catalogue, start } from "./engine";
import { copyLink, json } from "./export";
import { follow, run } from "./run";
import { changed, onChange, parse, print, set, state } from "./state";
import { value } from "./views/a_value";
import { gradient } from "./views/b_gradient";
import { example, yourRun } from "./views/c_run";
import { referencePoint } from "./views/d_reference";
import { disagreement } from "./views/e_disagreement";
import { rewardShift } from "./views/f_shift";
import { balance } from "./views/g_balance";

const $ = (id: string): HTMLElement => document.getElementById(id)!;

function notice(texts: string[]): void {
  $("notices").replaceChildren(...texts.map((text) => {
    const line = h("p", {}, text, h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => line.remove() }, "×"));
    return line;
  }));
}

function header(sections: HTMLElement[]): void {
  const nav = h("nav", { "aria-label": "Sections" }, ...sections.map((section) => h("a", { href: print(section.id), "data-to": section.id }, section.dataset["short"]!)));
  nav.addEventListener("click", (event) => {
    const to = (event.target as HTMLElement).dataset["to"];
    if (!to) return;
    event.preventDefault();
    history.pushState(null, "", print(to));
    state.s = to;
    go(to);
  });
  const copied = h("span", { role: "status", class: "copied" });
  const copy = h("button", { type: "button", onclick: () => void copyLink().then((done) => {
    copied.textContent = done ? "copied" : "copy the address bar";
    setTimeout(() => (copied.textContent = ""), 2500);
  }) }, "Copy link");
  const next: Record<string, string> = { auto: "light", light: "dark", dark: "auto" };
  const theme = h("button", { type: "button", onclick: () => set("theme", next[state.theme]!) });
  const controls = h("button", { type: "button", class: "sheet", "aria-expanded": "false", "aria-controls": "rail", onclick: () => {
    const open = $("rail").classList.toggle("open");
    controls.setAttribute("aria-expanded", String(open));
  } }, "Controls");
  $("top").append(h("div", { class: "brand" }, h("h1", {}, "halo inspector"), h("span", {}, `same mathematics as engine ${catalogue.version}`)), nav,
    h("div", { class: "tools" }, copied, controls, copy, h("button", { type: "button", onclick: () => json("halo-state") }, "State"), theme,
      h("button", { type: "button", "aria-label": "Keys", onclick: () => ($("keys") as HTMLDialogElement).showModal() }, "?")));
  onChange(() => {
    theme.textContent = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[state.theme] ?? "Theme";
    document.documentElement.dataset["theme"] = state.theme;
  });
}

function go(section: string): void {
  const target = section && document.getElementById(section);
  if (target) target.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "start" });
  else window.scrollTo(0, 0);
}

const KEYS: [string, string][] = [
  ["← →", "trace along the curve; with Shift ten times as far"], ["Home End", "to the ends"], ["↑ ↓", "another curve"], ["s", "to the next bound"], ["z", "to the reference point"],
  ["+ − 0", "zoom in, out, reset; also Ctrl and the wheel, and dragging"], ["Esc", "leave the chart"],
];

function keys(): void {
  const dialog = $("keys") as HTMLDialogElement;
  dialog.setAttribute("aria-labelledby", "keysh");
  dialog.append(h("h2", { id: "keysh" }, "Keys, while a chart has the focus"), h("dl", {}, ...KEYS.flatMap(([key, what]) => [h("dt", {}, key), h("dd", {}, what)])),
    h("form", { method: "dialog" }, h("button", {}, "Close")));
}

async function main(): Promise<void> {
  try {
    await start();
  } catch (error) {
    $("main").append(h("p", { class: "lead" }, `This page computes with WebAssembly, which this browser refuses (${String(error)}). Lockdown modes do; allow it for this page, or use the program: halo losses, halo saturation.`));
    return;
  }
  const problems = parse(location.hash);
  const sections = [value(), gradient(), yourRun(), referencePoint(), balance(), disagreement(), rewardShift()];
  $("main").append(...sections, h("footer", {}, h("p", {}, `Every number on this page is computed in it by halo ${catalogue.version}, the engine itself compiled to WebAssembly: identity, not speed, is why. Nothing is sent anywhere.`)));
  header(sections);
  rail($("rail"));
  keys();
  for (const part of state.hide.split(",").filter(Boolean)) document.getElementById(part)?.setAttribute("hidden", "");
  follow();
  window.addEventListener("popstate", () => {
    notice(parse(location.hash));
    changed();
    go(state.s);
  });
  window.addEventListener("hashchange", () => {
    notice(parse(location.hash));
    changed();
  });
  window.addEventListener("error", (event) => broken(event.message));
  window.addEventListener("unhandledrejection", (event) => broken(String(event.reason)));
  notice(problems);
  changed();
  if (state.s) {
    // the run's section grows once its examples are counted
    let gone = false;
    onChange(() => {
      if (gone || !run.answer) return;
      gone = true;
      requestAnimationFrame(() => document.getElementById(state.s)?.scrollIntoView());
    });
    go(state.s);
  }
  await example();
}

/** A trap of the engine leaves it dead: the page says so, and starts anew with the same address. */
function broken(why: string): void {
  const line = h("p", { class: "broken" }, `The engine stopped: ${why} `, h("button", { type: "button", onclick: () => location.reload() }, "Restart engine"));
  $("notices").append(line);
}

void main();
