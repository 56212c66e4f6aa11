// E. When people disagree: which answer each loss ends at.
import { Chart } from "../chart";
import { shared } from "../controls";
import { h, sentence } from "../dom";
import { catalogue, grid, halo, percent, say, type Disagreement } from "../engine";
import { exporters } from "../export";
import { differs, numbers, onChange, set, settled, state } from "../state";
import { section } from "./section";

const STEPS = 3000;

export function disagreement(): HTMLElement {
  const [unpaired, paired] = catalogue.pins as [string, string];
  const view = section("E", "Disagreement", "When people disagree, whose answer wins?", [
    ["first, the caveat: λ_U = 1.6", "p=0.6&ref=0.01&beta=0.1&lu=1.6&ld=1"], ["the minority’s answer ahead", "p=0.6&ref=0.01&beta=0.1&lu=1&ld=1"], ["β = 1", "p=0.6&ref=0.35&beta=1&lu=1&ld=1"],
  ]);
  const chart = new Chart("Share that prefers a, against the reference’s probability of a", { click: (x, y) => {
    state.p = Number(Math.min(0.99, Math.max(0.5, x)).toFixed(3));
    set("ref", Number(Math.min(0.999, Math.max(0.001, y)).toFixed(3)));
  } });
  const knobs = [shared("p", "p", "share of the judgements that prefer a"), shared("ref", "π_ref(a)", "the reference’s probability of a"), shared("beta", "β", "of both losses", [0.02, 5], true), shared("lu", "λ_U", "weight of the undesirable; λ_D stands in the rail", [0, 5])];
  const ends = h("p", { class: "status", "aria-live": "polite" });
  let boundary: [number[], number[]] = [[], []];
  view.body.append(h("div", { class: "beside" }, ...knobs.map((knob) => knob.element)), chart.figure, ends,
    h("p", { class: "aside" }, "The condition on weights is this project’s own, to first order at the reference; it is not a theorem of the paper. Click or drag in the plane to move the point."),
    exporters("halo-disagreement", () => chart.element(), () => [["p", "reference"], boundary[0].map((p, i) => [p, boundary[1][i]!])]));
  const trained = settled(() => {
    const end = (name: string): string => {
      try {
        return say(halo.descend(name, numbers(name), state.p, Float64Array.of(state.ref), STEPS)[0], 4);
      } catch (error) {
        return String(error);
      }
    };
    ends.textContent = `Trained here, ${STEPS} steps of descent from the reference: ${paired} ends at π(a) = ${end(paired)}, ${unpaired} at ${end(unpaired)}.`;
  });
  const moved = differs();
  onChange(() => {
    for (const knob of knobs) knob.refresh();
    if (!moved(state.p, state.ref, state.beta, state.ld, state.lu)) return;
    const ps = grid(0.5, 0.99, 200);
    const line = halo.boundary(ps, state.beta);
    boundary = [Array.from(ps), Array.from(line)];
    const found: Disagreement = JSON.parse(halo.disagreement(state.p, state.ref, state.beta, state.ld, state.lu));
    chart.draw({
      title: "Plane of disagreement", x: [0.5, 0.99], y: [0, 1], xLabel: "p, the share of judgements that prefers a", yLabel: "π_ref(a)", height: 320,
      curves: [{ name: "boundary", color: 1, xs: ps, ys: line }], areas: [{ color: "area pale", xs: ps, low: ps.map(() => 0), high: line }],
      dots: [{ x: state.p, y: state.ref, text: `p = ${say(state.p, 3)}, π_ref(a) = ${say(state.ref, 3)}`, color: 0 }],
    });
    chart.caption.textContent = `Tinted: below p^{1/β}·π_ref(a) = (1−p)^{1/β}·π_ref(b) the optimum of ${paired} prefers the minority’s answer b.`;
    trained();
    const turn = found.turning === null ? "" : ` It turns at λ_U/λ_D = *${say(found.turning, 5)}*.`;
    const drift = { majority: `*${unpaired}* leaves the reference towards the majority’s answer`, minority: `with these weights *${unpaired}* leaves the reference towards the *minority’s* answer: loss aversion can turn it`, none: `*${unpaired}* does not move` }[found.drift];
    sentence(view.sentence, `*${percent(state.p)}* prefer a, which the reference gives ${percent(state.ref)}. The optimum of *${paired}* gives it *${percent(found.optimum)}*${found.minority ? ", so the *minority’s* answer stays ahead" : ""}; ${drift}.${turn}`);
  });
  return view.element;
}
