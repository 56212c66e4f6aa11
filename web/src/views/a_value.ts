// A. v(u): how each loss feels a gain or a loss.
import { Chart, extent, moveCursor } from "../chart";
import { command } from "../controls";
import { h, s, sentence } from "../dom";
import { catalogue, grid, say } from "../engine";
import { exporters } from "../export";
import { axisLabel, compared, line, lines, prospectPin, tell, type Line } from "../lines";
import { differs, numbers, onChange, own, pins, set, settled, SHARED, state, togglePin, window_ } from "../state";
import { strip } from "./c_run";
import { section } from "./section";

export function value(): HTMLElement {
  const [unpaired, paired] = catalogue.pins;
  const view = section("A", "Value", "How does each loss feel a gain or a loss?", [
    ["loss aversion: λ_U = 1.5", "lu=1.5"], ["bold: β = 0.5", "beta=0.5"], ["prospect theory beside it", `l=${prospectPin()},${unpaired}`],
  ]);
  const jumps = () => lines().shown.flatMap((l) => [l.zones.learnt, l.zones.givenUp]).filter((x): x is number => x !== null);
  const chart = new Chart("Value of each pinned loss over u", { linked: true, pan, jumps });
  const table = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Values, as a table" });
  const multiples = h("div", { class: "multiples" });
  const apart = h("p", { class: "aside" });
  const math = h("div");
  const [tables, cellsMoved] = [differs(), differs()];
  let shown: Line[] = [];
  const texts = settled(() => {
    fillTable(table, shown);
    fillMath(math, shown);
  });
  const small = settled(() => drawMultiples(multiples));
  const rows = (): [string[], (number | string)[][]] => [
    ["u", ...shown.flatMap((l) => [`${l.name} v`, `${l.name} loss`])],
    Array.from(shown[0]?.xs ?? [], (u, i) => [u, ...shown.flatMap((l) => [l.values[i]!, l.loss(u)])]),
  ];
  view.body.append(chart.figure, apart, exporters("halo-value", () => chart.element(), rows),
    h("details", {}, h("summary", {}, "The same as a table"), table),
    h("details", {}, h("summary", {}, "The formulas, the papers, and a run with these settings"), math),
    h("h3", {}, `All ${catalogue.losses.length} losses of the engine`), h("p", { class: "aside" }, "Each on its own scale, at the settings on the left; a tint marks what it has learnt (green) and given up (red). Click one to pin it above."), multiples);
  onChange(() => {
    const all = lines();
    shown = all.shown;
    const window = window_();
    const y = extent(shown.map((l) => l.values));
    chart.draw({
      title: "Value over u", x: window, y, xLabel: axisLabel(), xNote: compared(shown),
      yLabel: state.y === "unit" ? "value, in units of the slope at 0" : "value against u = 0: L(0) − L(u)",
      curves: shown.map((l) => ({ name: l.name, color: l.color, xs: l.xs, ys: l.values, at: l.value })), strip: strip(),
    });
    const head = shown.find((l) => l.pin === unpaired) ?? shown.find((l) => l.entry);
    sentence(view.sentence, live(shown, unpaired!, paired!));
    apart.textContent = [...all.apart.map(({ why }) => why), ...shown.filter((l) => l.problem).map((l) => l.problem)].join(". ");
    chart.caption.textContent = head ? `Values are counted from u = 0, ${state.y === "unit" ? "and scaled so that a nat there weighs 1" : "unscaled"}. ${state.n} tokens an answer for losses of means.` : "";
    const settings = [state.side, state.y, state.n, state.eps, state.a, state.k, ...shown.flatMap((l) => (l.entry ? [l.pin, ...numbers(l.pin)] : [l.pin]))];
    if (tables(...settings, ...window)) texts();
    if (cellsMoved(...settings, state.beta, state.ld, state.lu, ...own.values())) small();
  });
  return view.element;
}

function live(shown: Line[], unpaired: string, paired: string): string {
  const kto = shown.find((l) => l.pin === unpaired);
  const dpo = shown.find((l) => l.pin === paired);
  const parts: string[] = [];
  if (kto?.saturation?.kind === "two-sided") parts.push(`Under *${kto.name}* gains and losses both stop mattering: beyond *±${say(kto.saturation.learnt, 4)}* nats its gradient is under ${say(100 * state.eps, 3)} % of the steepest, so *a desirable answer that the policy finds very unlikely is ignored exactly like a learnt one*.`);
  if (dpo?.saturation?.kind === "right") parts.push(`*${dpo.name}* is concave everywhere: it lets go of what it has learnt, never of a wrong pair.`);
  const weighted = shown.some((l) => l.entry?.params.some((param) => param.name in SHARED && SHARED[param.name] === "lu"));
  if (weighted && state.lu !== state.ld && state.ld > 0) parts.push(`With λ_U/λ_D = ${say(state.lu / state.ld, 3)} a bad answer is punished as hard as *${say(state.lu / state.ld, 3)}* good ones are rewarded.`);
  return parts.join(" ") || shown.filter((l) => l.entry).slice(0, 3).map(tell).join(" ");
}

function fillTable(target: HTMLElement, shown: Line[]): void {
  const places = grid(...window_(), 16);
  target.replaceChildren(h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "u, nats"), ...shown.flatMap((l) => [h("th", { scope: "col" }, `${l.name}: value`), l.entry ? h("th", { scope: "col" }, "loss") : null]))),
    h("tbody", {}, ...Array.from(places, (u) => h("tr", {}, h("th", { scope: "row" }, say(u, 4)),
      ...shown.flatMap((l) => [h("td", {}, say(l.value(u), 6)), l.entry ? h("td", {}, say(l.loss(u), 17)) : null]))))));
}

function fillMath(target: HTMLElement, shown: Line[]): void {
  target.replaceChildren(...shown.filter((l) => l.entry).map((l) => {
    const e = l.entry!;
    return h("article", { class: "card" }, h("h4", {}, `${e.name} — ${e.title}`), h("pre", {}, e.formula.replaceAll(",  ", "\n").replaceAll(";  ", "\n")),
      h("p", {}, e.when), h("p", { class: "aside" }, `${e.paper}. Elsewhere: ${e.elsewhere}`), h("pre", { class: "command" }, command(e.name)));
  }));
}

const cells = new Map<string, { path: SVGPathElement; zones: SVGGElement; button: HTMLElement; label: SVGTextElement }>();
const [W, H] = [150, 74];

function drawMultiples(target: HTMLElement): void {
  const pinned = pins();
  for (const e of catalogue.losses) {
    let cell = cells.get(e.name);
    if (!cell) {
      const path = s("path", { class: "curve c0" });
      const zones = s("g");
      const label = s("text", { class: "tick", x: W - 2, y: H - 3, "text-anchor": "end" });
      const button = h("button", { type: "button", title: `${e.title}. ${e.axis}`, onclick: () => togglePin(e.name) },
        s("svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": "true" }, zones, s("path", { class: "zero", d: `M${W / 2} 0V${H}` }), path, label) as unknown as Node, h("span", {}, e.name));
      target.append(button);
      cells.set(e.name, (cell = { path, zones, button, label }));
    }
    const at = pinned.indexOf(e.name);
    cell.button.setAttribute("aria-pressed", String(at >= 0));
    const reach: [number, number] = e.unit === "nats" ? [-80, 80] : line(e.name, 0, grid(-1, 1, 2)).saturation?.range ?? [-1, 1];
    const drawn = line(e.name, 0, grid(...reach, 60));
    const [low, high] = extent([drawn.values], 0.08);
    const x = (u: number) => ((u - reach[0]) / (reach[1] - reach[0])) * W;
    let d = "";
    drawn.xs.forEach((u, i) => {
      const v = drawn.values[i]!;
      if (!Number.isNaN(v)) d += `${d ? "L" : "M"}${x(u).toFixed(1)} ${(H - ((v - low) / (high - low)) * H).toFixed(1)}`;
    });
    cell.path.setAttribute("d", d);
    cell.path.setAttribute("class", `curve c${at >= 0 ? at : "n"}`);
    const mirrored = state.side === "u" && e.shape === "unpaired";
    const zone = (from: number, to: number, kind: string) => s("rect", { class: `tint ${kind}`, x: Math.max(0, x(from)), y: 0, width: Math.max(0, Math.min(W, x(to)) - Math.max(0, x(from))), height: H });
    const { learnt, givenUp } = drawn.zones;
    cell.zones.replaceChildren(
      ...(learnt === null ? [] : [mirrored ? zone(reach[0], learnt, "learnt") : zone(learnt, reach[1], "learnt")]),
      ...(givenUp === null ? [] : [mirrored ? zone(givenUp, reach[1], "given") : zone(reach[0], givenUp, "given")]));
    cell.label.textContent = e.unit === "nats" ? "" : `±${say(reach[1], 2)} ${e.unit}`;
  }
}

/** Drags and zooms of the common axis. */
export function pan(window: [number, number] | null): void {
  set("x", window ? window.map((x) => Number(x.toPrecision(6))).join(",") : "");
  if (!window) moveCursor(null);
}
