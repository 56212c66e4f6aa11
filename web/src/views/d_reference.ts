// D. The reference point: what a clamp at 0 does to an estimate.
import { Chart } from "../chart";
import { shared } from "../controls";
import { h, sentence } from "../dom";
import { halo, percent, say } from "../engine";
import { exporters } from "../export";
import { differs, onChange, state } from "../state";
import { section } from "./section";

const TRIALS = 2000;

export function referencePoint(): HTMLElement {
  const view = section("D", "Reference point", "My KL is 0. Is that normal?", [
    ["one batch of 4", "mu=0&sd=2&m=4"], ["mismatched answers lose probability", "mu=-1&sd=2&m=32"], ["a policy far away", "mu=2&sd=3&m=16"],
  ]);
  const chart = new Chart("Histogram of the estimated reference point over batches");
  const knobs = [
    shared("mu", "μ", "mean log-ratio of mismatched answers, nats", [-10, 10]), shared("sd", "s", "their standard deviation, nats", [0, 10]),
    shared("m", "batch", "mismatched answers in a batch", [1, 256], false, 1), shared("seed", "seed", "of the draws; the same in every browser", [0, 100], false, 1),
  ];
  let bars: { from: number; to: number; y: number; color: number }[] = [];
  view.body.append(h("div", { class: "beside" }, ...knobs.map((knob) => knob.element)), chart.figure,
    exporters("halo-reference-point", () => chart.element(), () => [["from", "to", "batches"], bars.map((bar) => [bar.from, bar.to, bar.y])]));
  const moved = differs();
  onChange(() => {
    for (const knob of knobs) knob.refresh();
    if (!moved(state.mu, state.sd, state.m, state.seed)) return;
    const raw = halo.means(state.mu, state.sd, state.m, TRIALS, state.seed);
    const [expected, zero] = halo.clamped(state.mu, state.sd, state.m) as unknown as [number, number];
    let [low, high, sum, fired] = [0, 0, 0, 0];
    for (const z of raw) {
      low = Math.min(low, z);
      high = Math.max(high, z);
      sum += Math.max(0, z);
      fired += z <= 0 ? 1 : 0;
    }
    const width = (high - low || 1) / 48;
    const edge = Math.floor(low / width);
    const counts = new Map<number, number>();
    for (const z of raw) counts.set(Math.floor(z / width), (counts.get(Math.floor(z / width)) ?? 0) + 1);
    bars = [...counts].sort(([a], [b]) => a - b).map(([bin, y]) => ({ from: bin * width, to: (bin + 1) * width, y, color: bin < 0 ? 1 : 0 }));
    const most = Math.max(...bars.map((bar) => bar.y));
    chart.draw({
      title: "Estimated reference points", x: [edge * width, high + width], y: [0, most * 1.08], xLabel: "mean log-ratio of a batch before the clamp, nats", yLabel: `of ${TRIALS} batches`, curves: [], bars, height: 260,
      rules: [{ x: state.mu, text: `truth ${say(state.mu, 3)}`, row: 1 }, { x: expected, text: `expected after the clamp ${say(expected, 3)}`, color: 2 }],
    });
    chart.caption.textContent = `Orange: batches whose estimate is below 0 and is clamped to it (${fired} of ${TRIALS}). Closed form: E = μΦ(μ/a) + aφ(μ/a) = ${say(expected, 6)}, P(0) = Φ(−μ/a) = ${say(zero, 6)}, a = s/√m; this simulation: ${say(sum / TRIALS, 6)} and ${say(fired / TRIALS, 4)}.`;
    const expectedText = state.mu < 0 ? "Mismatched answers usually lose probability, so that their mean is below 0: *the clamp is expected to fire*, and more surely the larger the batch." : "The mean is not below 0: the clamp fires by chance alone, and biases the estimate up.";
    sentence(view.sentence, `With these answers a batch’s estimate is exactly 0 in *${percent(zero)}* of the batches. ${expectedText} A KL of 0 in a log is usually the clamp, not a divergence that vanished.`);
  });
  return view.element;
}
