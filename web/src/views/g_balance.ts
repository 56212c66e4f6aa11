// G. Class balance: λ_D n_D / (λ_U n_U) beside the band that the paper recommends.
import { shared } from "../controls";
import { h, s, sentence } from "../dom";
import { halo, say, type Balance } from "../engine";
import { run } from "../run";
import { changed, onChange, set, state } from "../state";
import { section } from "./section";

export function balance(): HTMLElement {
  const view = section("G", "Balance", "Nine to one, good to bad: which weights?", [["9 : 1", "nd=900&nu=100&ld=1&lu=1"], ["1 : 9", "nd=100&nu=900&ld=1&lu=1"], ["only thumbs up", "nd=500&nu=0"]]);
  const knobs = [shared("nd", "n_D", "desirable examples", [0, 10000], false, 1), shared("nu", "n_U", "undesirable examples", [0, 10000], false, 1), shared("ld", "λ_D", "--set desirable_weight", [0, 20]), shared("lu", "λ_U", "--set undesirable_weight", [0, 20])];
  const mend = h("button", { type: "button", class: "primary" }, "Fix it");
  const prefill = h("button", { type: "button", onclick: () => {
    const [, , d, u] = run.answer!.extent;
    set("nd", d!);
    set("nu", u!);
  } }, "Take the counts of the run above");
  const line = h("div", { class: "numberline" });
  view.body.append(h("div", { class: "beside" }, ...knobs.map((knob) => knob.element)), line, h("div", { class: "exports" }, mend, prefill),
    h("p", { class: "aside" }, "Band [1, 3/2]: the KTO paper from its fourth version. Its first says [1, 4/3], and TRL still warns by 1.33."));
  let found: Balance;
  mend.addEventListener("click", () => {
    if (!found.mend) return;
    [state.ld, state.lu] = found.mend;
    changed();
  });
  onChange(() => {
    for (const knob of knobs) knob.refresh();
    prefill.hidden = !run.answer || run.loaded?.table.paired === true;
    found = JSON.parse(halo.balance(state.nd, state.nu, state.ld, state.lu, 1.25));
    mend.disabled = !found.mend || found.inside;
    draw(line, found);
    sentence(view.sentence, found.why ? found.why : found.rho === null ? "A class whose weight is 0 has no balance with the other." : found.inside ? `ρ = λ_D n_D / (λ_U n_U) = *${say(found.rho, 4)}*, within the paper’s band.` : `ρ = λ_D n_D / (λ_U n_U) = *${say(found.rho, 4)}*, outside the paper’s band. λ_D = *${say(found.mend?.[0], 4)}*, λ_U = *${say(found.mend?.[1], 4)}* would bring it to 1.25.`);
  });
  return view.element;
}

const [LOW, HIGH] = [0.05, 20];

function draw(target: HTMLElement, found: Balance): void {
  const width = Math.max(300, target.clientWidth || 700);
  const logs = halo.log10(Float64Array.of(LOW, HIGH, found.rho || LOW, found.band[0], found.band[1], 4 / 3));
  const x = (log: number) => 20 + (Math.min(logs[1]!, Math.max(logs[0]!, log)) - logs[0]!) / (logs[1]! - logs[0]!) * (width - 40);
  const marks = [0.1, 0.2, 0.5, 1, 2, 5, 10];
  const places = halo.log10(Float64Array.from(marks));
  target.replaceChildren(s("svg", { viewBox: `0 0 ${width} 92`, width, height: 92, role: "img", "aria-label": `Balance ${say(found.rho, 4)}; the band is 1 to 1.5` },
    s("rect", { class: "tint strong learnt", x: x(logs[3]!), y: 30, width: x(logs[4]!) - x(logs[3]!), height: 26 }),
    s("path", { class: "rule", d: `M${x(logs[5]!)} 30v26` }), s("text", { class: "tick", x: x(logs[3]!) - 6, y: 24, "text-anchor": "start" }, "[1, 3/2]"),
    s("path", { class: "frame", d: `M20 56H${width - 20}` }),
    ...marks.flatMap((mark, i) => [s("path", { class: "frame", d: `M${x(places[i]!)} 56v5` }), s("text", { class: "tick", x: x(places[i]!), y: 76, "text-anchor": "middle" }, String(mark))]),
    found.rho === null ? null : s("path", { class: "needle", d: `M${x(logs[2]!)} 56l-7 -12h14z` }), found.rho === null ? null : s("text", { class: "dotname", x: x(logs[2]!), y: 14, "text-anchor": "middle" }, `ρ = ${say(found.rho, 4)}`)));
}
