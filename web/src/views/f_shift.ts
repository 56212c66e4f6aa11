// F. A shift of all rewards of one prompt: a margin does not see it, a reference point does.
import { Chart, extent } from "../chart";
import { shared } from "../controls";
import { h, sentence } from "../dom";
import { catalogue, entry, grid, halo, percent, say } from "../engine";
import { exporters } from "../export";
import { differs, numbers, onChange, state } from "../state";
import { section } from "./section";

export function rewardShift(): HTMLElement {
  const [unpaired, paired] = catalogue.pins as [string, string];
  const view = section("F", "Shift", "What if every answer to one prompt is worth more?", [["a generous prompt: h = 30", "h=30"], ["a harsh one: h = −30", "h=-30"], ["none", "h=0"]]);
  const chart = new Chart("Weights of the shifted prompt’s answers over the shift");
  const knob = shared("h", "h", "added to the rewards of both answers to one prompt, nats", [-60, 60]);
  const table = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Weights before and after the shift" });
  const by = grid(-60, 60, 120);
  let columns: number[][] = [];
  view.body.append(h("div", { class: "beside" }, knob.element), chart.figure, table,
    h("p", { class: "aside" }, "Reward functions that differ by a function of the prompt have the same optimal policy; that is what h is. Two notes: a constant h on all prompts moves an estimated z₀ with it, so nothing changes until its clamp bites; and with r = ln π/π_ref, h is not free, because probabilities sum to one: this speaks of reward functions of one equivalence class."),
    exporters("halo-shift", () => chart.element(), () => [["h", `${unpaired} chosen`, `${unpaired} rejected`, `${paired} pair`], Array.from(by, (x, i) => [x, ...columns.map((column) => column[i]!)])]));
  const moved = differs();
  onChange(() => {
    knob.refresh();
    if (!moved(state.h, numbers(unpaired), numbers(paired))) return;
    const of = (name: string, x: number) => halo.shift(name, numbers(name), x);
    const rows = Array.from(by, (x) => [of(unpaired, x), of(paired, x)] as const);
    columns = [rows.map(([kto]) => kto[6]!), rows.map(([kto]) => kto[7]!), rows.map(([, dpo]) => dpo[6]!)];
    const names = [`${unpaired}, chosen`, `${unpaired}, rejected`, `${paired}, both`];
    chart.draw({
      title: "Weight over shift", x: [-60, 60], y: [0, extent(columns)[1]], xLabel: "h, nats", yLabel: "weight |dL/dr| of an answer", height: 280,
      curves: columns.map((ys, i) => ({ name: names[i]!, color: [1, 3, 2][i]!, xs: by, ys })), rules: [{ x: state.h, text: `h = ${say(state.h, 4)}` }],
    });
    chart.caption.textContent = "Reference points stay where they are.";
    const [kto, dpo] = [of(unpaired, state.h), of(paired, state.h)];
    const rewards = halo.rewards();
    const head = ["answer", "reward", "with h", `${unpaired} before`, "after", `${paired} before`, "after"];
    table.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, ...Array.from(rewards, (r, i) => h("tr", {},
      h("th", { scope: "row" }, `prompt ${1 + (i - (i % 2)) / 2}, ${i % 2 ? "rejected" : "chosen"}`),
      ...[r, i < 2 ? r + state.h : r].map((x) => h("td", {}, say(x, 4))), ...[kto[i], kto[6 + i], dpo[i], dpo[6 + i]].map((x) => h("td", {}, say(x, 5))))))));
    const change = kto[0] ? kto[6]! / kto[0]! : NaN;
    sentence(view.sentence, `With *h = ${say(state.h, 4)}* on the first prompt the loss of *${paired}* on it stays *${say(dpo[13], 17)}*: not a digit moves, because ${entry(paired)!.compared} is shifted too. Under *${unpaired}* its chosen answer keeps *${percent(change)}* of its weight: it is compared with a point that others set.`);
  });
  return view.element;
}
