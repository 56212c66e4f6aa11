// B. |dL/du|: where learning stops.
import { Chart, extent, type Rule } from "../chart";
import { choice } from "../controls";
import { h, s, sentence } from "../dom";
import { catalogue, say } from "../engine";
import { exporters } from "../export";
import { axisLabel, compared, lines, stretches, tell, type Line } from "../lines";
import { onChange, set, state, window_ } from "../state";
import { pan } from "./a_value";
import { strip } from "./c_run";
import { section } from "./section";

export function gradient(): HTMLElement {
  const [unpaired, paired] = catalogue.pins;
  const view = section("B", "Gradient", "Where does learning stop?", [
    ["who gives up?", `l=${unpaired},${paired}&eps=0.01`], ["the tails", "log=1&x=-150,150"], ["stay near the reference: β = 0.5", "beta=0.5"],
  ]);
  const jumps = () => lines().shown.flatMap((l) => [l.zones.learnt, l.zones.givenUp]).filter((x): x is number => x !== null);
  const chart = new Chart("Size of the gradient of each pinned loss over u", { linked: true, pan, jumps });
  const scale = choice("Vertical scale", [["0", "linear"], ["1", "logarithmic"]], () => state.log, (value) => set("log", value as never));
  const lanes = h("div", { class: "lanes" });
  const table = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Gradients, as a table" });
  let shown: Line[] = [];
  const rows = (): [string[], (number | string)[][]] => [["u", ...shown.map((l) => `${l.name} |dL/du|`)], Array.from(shown[0]?.xs ?? [], (u, i) => [u, ...shown.map((l) => l.pulls[i]!)])];
  view.body.append(scale.element, chart.figure, lanes, h("p", { class: "aside" }, "The gradients of one moment. More active is not better: letting go of far-wrong examples is how a loss resists wrong labels."),
    exporters("halo-gradient", () => chart.element(), rows), h("details", {}, h("summary", {}, "Bounds, as a table"), table));
  onChange(() => {
    shown = lines().shown.filter((l) => l.entry);
    if (!shown.length) shown = lines().shown;
    scale.refresh();
    const window = window_();
    const log = state.log === "1";
    const zoned = shown.find((l) => l.zones.givenUp !== null) ?? shown[0];
    const rules: Rule[] = [];
    if (zoned) {
      if (zoned.zones.learnt !== null) rules.push({ x: zoned.zones.learnt, text: `${zoned.name} learnt ${say(zoned.zones.learnt, 4)}`, color: zoned.color });
      if (zoned.zones.givenUp !== null) rules.push({ x: zoned.zones.givenUp, text: `${zoned.name} given up ${say(zoned.zones.givenUp, 4)}`, color: zoned.color });
    }
    const [, high] = extent(shown.map((l) => l.pulls));
    let least = Infinity;
    for (const l of shown) for (const pull of l.pulls) if (pull > 0 && pull < least) least = pull;
    const dots = shown.flatMap((l) => {
      let best = 0;
      l.pulls.forEach((pull, i) => (best = pull > (l.pulls[best] || 0) ? i : best));
      const inner = best > 0 && best < l.pulls.length - 1;
      return inner && l.saturation?.kind === "two-sided" ? [{ x: l.xs[best]!, y: l.pulls[best]!, text: `max ${say(l.pulls[best]!, 4)}`, color: l.color }] : [];
    });
    chart.draw({
      title: "Gradient over u", x: window, y: log ? [Math.max(least, high / 1e12), high * 1.5] : [0, high], logY: log, xLabel: axisLabel(), xNote: compared(shown), yLabel: "|dL/du|, per nat",
      curves: shown.map((l) => ({ name: l.name, color: l.color, xs: l.xs, ys: log ? l.pulls.map((p) => (p > 0 ? p : NaN)) : l.pulls, at: l.pull })),
      zones: zoned ? stretches(zoned, window) : [], rules, dots, strip: strip(), height: 340,
    });
    chart.caption.textContent = zoned ? `Hatched: the zones of ${zoned.name} at ε = ${say(100 * state.eps, 3)} %. Each loss’s own zones stand in the lanes below.` : "";
    sentence(view.sentence, shown.slice(0, 3).map(tell).join(" "));
    drawLanes(lanes, shown, window, chart.element());
    table.replaceChildren(bounds(shown));
  });
  return view.element;
}

/** One bar a loss: given up, active, learnt, on the chart's own axis. */
function drawLanes(target: HTMLElement, shown: Line[], window: [number, number], chart: SVGSVGElement): void {
  const frame = chart.querySelector("rect.frame")!;
  const [left, width] = [Number(frame.getAttribute("x")), Number(frame.getAttribute("width"))];
  const total = Number(chart.getAttribute("width"));
  const x = (u: number) => left + Math.min(1, Math.max(0, (u - window[0]) / (window[1] - window[0]))) * width;
  const row = 26;
  const svg = s("svg", { viewBox: `0 0 ${total} ${shown.length * row + 4}`, width: total, height: shown.length * row + 4, role: "img", "aria-label": shown.map((l) => tell(l).replaceAll("*", "")).join(" ") });
  shown.forEach((l, i) => {
    const y = i * row + 4;
    svg.append(s("rect", { class: "lane", x: left, y, width, height: row - 8 }));
    const zones = stretches(l, window);
    for (const zone of zones) {
      const [a, b] = [x(zone.from), x(zone.to)];
      if (b - a > 0.5) svg.append(s("rect", { class: `tint strong ${zone.kind}`, x: a, y, width: b - a, height: row - 8 }));
      if (b - a > 56) svg.append(s("text", { class: `zonename ${zone.kind}`, x: (a + b) / 2, y: y + 13, "text-anchor": "middle" }, zone.kind === "learnt" ? "learnt" : "given up"));
    }
    const a = Math.max(left, ...zones.filter((z) => z.from === window[0]).map((z) => x(z.to)));
    const b = Math.min(left + width, ...zones.filter((z) => z.to === window[1]).map((z) => x(z.from)));
    if (b - a > 50) svg.append(s("text", { class: "tick", x: (a + b) / 2, y: y + 13, "text-anchor": "middle" }, zones.length ? "active" : "active everywhere: no zone"));
    svg.append(s("text", { class: `name c${l.color}`, x: left + width + 14, y: y + 13 }, total - left - width > 60 ? l.name : ""));
  });
  target.replaceChildren(svg);
}

function bounds(shown: Line[]): HTMLElement {
  const head = ["loss", "how it lets go", "learnt above", "given up below", "rests at", "steepest |dL/du|", "bound’s formula"];
  return h("table", {}, h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, ...shown.map((l) => h("tr", {}, h("th", { scope: "row" }, l.name), ...[
      l.saturation?.kind ?? "–", say(l.saturation?.learnt, 6), say(l.saturation?.givenUp, 6), say(l.saturation?.target, 6), say(l.steepest, 6), l.saturation?.formula || "–",
    ].map((text) => h("td", {}, text))))));
}
