// The rail: what is pinned, and the numbers that move it. Built from the catalogue; each control says what it means and its name in a run.
import { fit, h } from "./dom";
import { catalogue, entry, halo, say, type Param } from "./engine";
import { pinName } from "./lines";
import { initially, numbers, onChange, own, pins, prospect, range, set, setOwn, SHARED, state, togglePin, type Key } from "./state";

interface Knob { refresh: () => void; element: HTMLElement }

/** A slider and a number that are one: out-of-range numbers are clamped visibly, a decimal comma is read. */
export function knob(label: string, meaning: string, [low, high]: [number, number], log: boolean, get: () => number, put: (value: number) => void, step = 0): Knob {
  const steps = 400;
  const floor = log ? Math.max(low, high / 1e6) : low;
  const places = log ? halo.logGrid(floor, high, steps) : null;
  const round = (x: number) => Number(x.toPrecision(3));
  const id = `k${label}${Math.floor(performance.now() * 1000) % 1e9}`.replace(/\W/g, "");
  const slider = h("input", { type: "range", min: 0, max: steps, step: 1, "aria-label": `${label}, slider` });
  const input = h("input", { type: "text", inputmode: "decimal", id, autocomplete: "off", "aria-describedby": `${id}m` });
  slider.addEventListener("input", () => {
    const raw = places ? places[Number(slider.value)]! : low + ((high - low) * Number(slider.value)) / steps;
    put(fit(step ? Math.round(raw / step) * step : round(raw), low, high));
  });
  input.addEventListener("change", () => {
    const typed = Number(input.value.replace(",", ".").replace("−", "-"));
    const clamped = Number.isFinite(typed) && input.value.trim() !== "" ? fit(step ? Math.round(typed) : typed, low, high) : get();
    input.classList.toggle("clamped", clamped !== typed);
    put(clamped);
    input.value = String(clamped);
  });
  const refresh = () => {
    const value = get();
    if (document.activeElement !== input) input.value = String(value);
    let at = ((value - low) / (high - low)) * steps;
    if (places) at = places.findIndex((place) => place >= value * (1 - 1e-9));
    slider.value = String(at < 0 ? steps : at);
  };
  refresh();
  return { refresh, element: h("div", { class: "knob" }, h("label", { for: id }, label), input, slider, h("small", { id: `${id}m` }, meaning)) };
}

export function shared(key: Key, label: string, meaning: string, limits = range(key), log = false, step = 0): Knob {
  return knob(label, meaning, limits, log, () => state[key] as number, (value) => set(key, value as never), step);
}

export function choice(label: string, options: [string, string][], get: () => string, put: (value: string) => void): Knob {
  const buttons = options.map(([value, text]) => h("button", { type: "button", onclick: () => put(value), "data-value": value }, text));
  const refresh = () => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset["value"] === get())));
  refresh();
  return { refresh, element: h("div", { class: "choice", role: "group", "aria-label": label }, ...buttons) };
}

export function rail(target: HTMLElement): void {
  const list = h("ul", { class: "pins" });
  const add = h("select", { "aria-label": "Pin a loss" });
  add.append(h("option", { value: "" }, "Pin a loss …"));
  for (const value of catalogue.values) add.append(h("option", { value: `v:${value}` }, pinName(`v:${value}`)));
  for (const loss of catalogue.losses) add.append(h("option", { value: loss.name }, `${loss.name}: ${loss.title}`));
  add.addEventListener("change", () => {
    if (add.value && !pins().includes(add.value)) togglePin(add.value);
    add.value = "";
  });
  const knobs = [
    shared("beta", "β", "inverse temperature; --set beta", [1e-3, 10], true),
    shared("ld", "λ_D", "weight of desirable answers; --set desirable_weight", [0, 5]),
    shared("lu", "λ_U", "weight of undesirable answers; --set undesirable_weight", [0, 5]),
    shared("z0", "z₀", "reference point of examples whose file gives none, nats", [-50, 50]),
    shared("n", "tokens", "assumed length of an answer, for losses of means", [1, 1000], false, 1),
  ];
  const prospects = [
    shared("a", "α", "curvature of prospect theory’s value"),
    shared("k", "λ", "loss aversion of prospect theory", [0, 5]),
  ];
  const tolerance = choice("Tolerance ε", [["0.01", "1 %"], ["0.05", "5 %"], ["0.1", "10 %"]], () => String(state.eps), (value) => set("eps", Number(value)));
  const free = shared("eps", "ε", "below this share of the steepest slope counts as saturated", [0.001, 0.5], true);
  const sides = choice("Which answer", [["d", "desirable"], ["u", "undesirable"]], () => state.side, (value) => set("side", value as never));
  const values = choice("Vertical scale", [["unit", "unit slope"], ["raw", "raw"]], () => state.y, (value) => set("y", value as never));
  const details = h("div", { class: "own" });
  const prospectBox = h("div", {}, ...prospects.map((knob) => knob.element));
  const reset = h("button", { type: "button", class: "quiet", onclick: resetAll }, "Reset everything");
  target.append(
    h("h2", {}, "Pinned"), list, add,
    h("h2", {}, "Parameters"), sides.element, values.element, ...knobs.map((knob) => knob.element), prospectBox,
    h("h2", {}, "Saturated below"), tolerance.element, free.element,
    details, reset,
  );
  let drawn = "";
  const refresh = () => {
    const now = pins();
    list.replaceChildren(...now.map((pin, i) => h("li", {},
      legend(i), h("span", { title: entry(pin)?.title ?? "a bare value function" }, pinName(pin)),
      h("button", { type: "button", class: "quiet", "aria-label": `Unpin ${pinName(pin)}`, onclick: () => togglePin(pin), disabled: now.length === 1 }, "×"))));
    prospectBox.hidden = !now.some(prospect);
    for (const knob of [...knobs, ...prospects, free, tolerance, sides, values, ...mine]) knob.refresh();
    if (now.join() !== drawn) {
      drawn = now.join();
      mine = [];
      details.replaceChildren(...now.filter((pin) => entry(pin)).map(ownBox));
    }
  };
  let mine: Knob[] = [];
  const ownBox = (loss: string): HTMLElement => {
    const params = entry(loss)!.params.filter((param) => !(param.name in SHARED) || initially(SHARED[param.name]!) !== param.default);
    const made = params.map((param) => ownKnob(loss, param));
    mine.push(...made);
    return h("details", {}, h("summary", {}, `${loss}: its own`), ...made.map((knob) => knob.element));
  };
  onChange(refresh);
  refresh();
}

function ownKnob(loss: string, param: Param): Knob {
  const key = `${loss}.${param.name}`;
  const get = () => own.get(key) ?? param.default;
  const put = (value: number) => setOwn(key, value === param.default ? null : value);
  const meaning = param.meaning;
  if (param.type === "number") {
    const [low, high] = param.range!;
    const reach = Math.min(high, Math.max(10 * Math.abs(param.default), 5));
    return knob(param.name, meaning, [low, reach], low > 0 && reach / low > 100, get, put);
  }
  const options: [string, string][] = param.type === "flag" ? [["0", "no"], ["1", "yes"]] : param.choices!.map((word, i) => [String(i), word]);
  const select = h("select", { "aria-label": param.name });
  for (const [value, text] of options) select.append(h("option", { value }, text));
  select.addEventListener("change", () => put(Number(select.value)));
  const refresh = () => (select.value = String(get()));
  refresh();
  return { refresh, element: h("div", { class: "knob" }, h("label", {}, param.name, select), h("small", {}, meaning)) };
}

/** A curve's colour and dashes. */
export function legend(color: number): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "swatch");
  svg.setAttribute("viewBox", "0 0 28 10");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("class", `curve c${color}`);
  path.setAttribute("d", "M1 5H27");
  svg.append(path);
  return svg;
}

function resetAll(): void {
  location.hash = "v=1";
}

/** A loss's parameters that are not its defaults, as a run's command line has them. */
export function command(loss: string): string {
  const params = entry(loss)!.params;
  const values = numbers(loss);
  const sets = params.flatMap((param, i) => {
    const value = values[i]!;
    if (Number.isNaN(value) || value === param.default) return [];
    const word = param.type === "choice" ? param.choices![value] : param.type === "flag" ? String(value === 1) : say(value, 17);
    return [`--set ${param.name}=${word}`];
  });
  return ["halo train --model MODEL --data DATA", `--loss ${loss}`, ...sets, "--record-examples --out run"].join(" ");
}
