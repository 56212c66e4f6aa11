// C. Your run: every example, under its own loss and under others.
import { Chart, type Strip } from "../chart";
import { h, sentence } from "../dom";
import { entry, percent, say, unpack } from "../engine";
import { csv, save } from "../export";
import { cancel, divide, fail, load, run, type Row } from "../run";
import { changed, onChange, set, state } from "../state";
import type { Answer } from "../worker";
import { section } from "./section";

/** The density of the examples under a chart; all of them, in bins. */
export function strip(): Strip | undefined {
  const { answer, window } = run;
  if (!answer) return undefined;
  const n = (answer.bins.length - 4) / 2;
  return { low: window[0], high: window[1], desirable: answer.bins.subarray(0, n), undesirable: answer.bins.subarray(n, 2 * n) };
}

export async function example(): Promise<void> {
  const text = await unpack(document.getElementById("example")!.textContent!);
  load(new Blob([text]), "the example run", false, true);
}

export function yourRun(): HTMLElement {
  const view = section("C", "Your run", "Which of your examples does the loss still learn from?");
  const file = h("input", { type: "file", accept: ".jsonl,.json,.csv,.tsv,.gz,.txt", hidden: true, id: "file" });
  file.addEventListener("change", () => {
    if (file.files?.[0]) open(file.files[0]);
    file.value = "";
  });
  const drop = h("div", { class: "drop" },
    h("button", { type: "button", class: "primary", onclick: () => file.click() }, "Open a file …"),
    h("button", { type: "button", onclick: () => void example() }, "Use the example run"),
    h("span", {}, "or drop one here: ", h("code", {}, "examples.jsonl"), " of a run with ", h("code", {}, "--record-examples"), ", or JSON lines, JSON, CSV or TSV (also .gz) with ", h("code", {}, "label"), " and ", h("code", {}, "logp, ref_logp"), ". It stays in this page: nothing is sent anywhere."), file);
  for (const kind of ["dragover", "dragenter"]) document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const files = event.dataTransfer?.files;
    if (files && files.length > 1) tellError("one file at a time, please");
    else if (files?.[0]) open(files[0]);
    else tellError("that was no file");
  });
  const status = h("p", { class: "status", role: "status" });
  const units = h("p", { class: "chips" });
  const counts = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Exact counts of zones" });
  const scrub = h("div", { class: "knob wide" });
  const steps = new Chart("Shares of learnt, active and given-up examples over the run’s steps");
  const tableBox = h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Losses and temperatures" });
  const barred = h("details");
  const list = h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Examples furthest on the wrong side" });
  const body = h("div", {},
    units, counts, scrub, h("h3", {}, "Over the run"), steps.figure,
    h("h3", {}, "The same examples under other losses and temperatures"),
    h("p", { class: "aside" }, "Every example counted, none sampled. The gradients of one moment: more active is not better. ● marks a column’s highest."), tableBox, barred,
    h("div", { class: "exports" }, h("button", { type: "button", onclick: () => tableCsv() }, "Save the table as CSV")),
    h("h3", {}, "Furthest on the wrong side"), h("p", { class: "aside" }, "Probable label errors or hard cases: look at these."), list,
    h("div", { class: "exports" }, h("button", { type: "button", onclick: () => save("given-up.txt", `${run.answer?.given.join("\n") ?? ""}\n`, "text/plain") }, "Save the ids of all that were given up")));
  view.body.append(drop, status, body);
  let sort = { column: -1, down: true };
  let order: number[] = [];
  const tableCsv = () => csv("halo-zones", ["loss", "beta", "active", "learnt", "given_up", "utilisation", "effective_sample_size"], order.map((i) => {
    const row = run.rows[i]!;
    return [row.name, row.beta ?? "", ...columns(run.answer!, i).map((x) => x ?? NaN)];
  }));
  const slider = h("input", { type: "range", min: 0, step: 1, id: "scrub" });
  const stepName = h("output", {});
  slider.addEventListener("input", () => {
    run.until = run.loaded!.steps[Number(slider.value)]!;
    changed();
  });
  scrub.append(h("label", { for: "scrub" }, "As each example was seen last, up to step"), stepName, slider);
  run.watching.add(() => status.replaceChildren(...statusText()));
  let last: Answer | null = null;
  onChange(() => {
    const { loaded, answer } = run;
    body.hidden = !loaded || !answer;
    status.replaceChildren(...statusText());
    if (!loaded || !answer) {
      sentence(view.sentence, "Drop a run’s examples here: which of them has the loss learnt, which does it still pull on, and which has it given up?");
      return;
    }
    unitsChip(units);
    scrub.hidden = loaded.steps.length < 2;
    slider.max = String(loaded.steps.length - 1);
    slider.value = String(Math.max(0, loaded.steps.indexOf(run.until)));
    stepName.textContent = String(run.until);
    if (answer === last) return;
    last = answer;
    sentence(view.sentence, live(answer));
    counts.replaceChildren(countTable(answer));
    drawSteps(steps, answer);
    fillTable();
    barred.replaceChildren(...barredList());
    list.replaceChildren(furthest(answer));
  });
  const fillTable = () => {
    const answer = run.answer!;
    order = run.rows.map((_, i) => i);
    const fixed = run.rows.filter((row) => row.pinned).length;
    if (sort.column >= 0) {
      const key = (i: number) => (sort.column === 0 ? run.rows[i]!.name : sort.column === 1 ? run.rows[i]!.beta ?? -1 : columns(answer, i)[sort.column - 2] ?? -1);
      const rest = order.slice(fixed).sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        return (x < y ? -1 : x > y ? 1 : a - b) * (sort.down && sort.column > 0 ? -1 : 1);
      });
      order = [...order.slice(0, fixed), ...rest];
    }
    tableBox.replaceChildren(grid(answer, order, sort, (column) => {
      sort = { column, down: sort.column === column ? !sort.down : true };
      fillTable();
    }));
  };
  return view.element;
}

function open(file: File): void {
  void file.slice(0, 4).arrayBuffer().then((head) => {
    const bytes = new Uint8Array(head);
    if (file.size === 0) return fail(`${file.name} is empty, or a folder`);
    if (bytes[0] === 0x89 || bytes[0] === 0xff || (bytes[0] === 0x50 && bytes[1] === 0x4b) || bytes[0] === 0x25) return fail(`${file.name} is not a text file: JSON lines, JSON, CSV and TSV are read, also .gz`);
    set("s", "C");
    load(file, file.name, bytes[0] === 0x1f && bytes[1] === 0x8b);
  }, () => fail(`${file.name} cannot be read: is it a folder?`));
}

/** Losses that the file's columns do not suffice for, by what is missing. */
function barredList(): Node[] {
  const reasons = new Map<string, string[]>();
  for (const { name, why } of run.barred) reasons.set(why, [...(reasons.get(why) ?? []), name]);
  return [h("summary", {}, `${run.barred.length} other losses cannot be computed from this file`), h("ul", {}, ...[...reasons].map(([why, names]) => h("li", {}, `${why}: ${names.join(", ")}`)))];
}

function tellError(why: string): void {
  run.error = why;
  changed();
}

function statusText(): (Node | string)[] {
  if (run.progress >= 0) return [`Reading ${run.name} … ${run.progress > 0 ? percent(run.progress, 2) : ""} `, h("button", { type: "button", onclick: cancel }, "Cancel")];
  const out: (Node | string)[] = [];
  if (run.error) out.push(h("strong", { class: "error" }, run.error));
  const { loaded } = run;
  if (!loaded) return out;
  const { table } = loaded;
  const what = run.example ? "The example run: synthetic thumbs up and down, a fourteenth of what `halo demo` trains on, as its engine recorded it." : `${run.name}.`;
  out.push(run.error ? " " : "", what, table.engine ? ` Written by ${table.engine}, loss ${table.loss}.` : "");
  if (table.skipped) {
    out.push(h("details", {}, h("summary", {}, `${table.skipped} lines were skipped`), h("ul", {}, ...table.problems.map((problem) => h("li", {}, problem)))));
  }
  return out;
}

function unitsChip(target: HTMLElement): void {
  const { table, extent } = run.loaded!;
  const range = `u from ${say(extent[0], 4)} to ${say(extent[1], 4)} nats`;
  const z0 = table.hasZ0 ? "z₀ from the file" : `z₀ = ${say(state.z0)} from the slider`;
  if (table.units !== "β × log-ratio") return target.replaceChildren(chip(`these are ${table.units || "log-probabilities"}`), chip(range), chip(z0));
  if (target.querySelector("input")) return;
  const beta = h("input", { type: "text", inputmode: "decimal", value: run.divisor, size: 6, "aria-label": "β of the recorded rewards" });
  beta.addEventListener("change", () => divide(Number(beta.value.replace(",", "."))));
  target.replaceChildren(h("span", { class: "chip" }, "these are β × log-ratio, β = ", beta, " (1: they are log-ratios)"), chip(range), chip(z0));
}

const chip = (text: string): HTMLElement => h("span", { class: "chip" }, text);

function live(answer: Answer): string {
  if (!answer.own) return answer.why;
  const [dl, , dg, ul, , ug] = Array.from(answer.own) as [number, number, number, number, number, number];
  const total = answer.own.subarray(0, 6).reduce((a, b) => a + b, 0);
  const judge = run.judge!;
  const name = `${judge.name}${judge.beta === null ? "" : ` at ${run.own ? "its " : ""}β = ${say(judge.beta)}`}`;
  const given = dg + ug;
  return `Of *${total}* examples *${name}* has learnt *${percent((dl + ul) / total)}* and given up *${given}*${dg ? `, of them *${dg}* desirable: so unlikely for the policy that they no longer pull` : ""}. The other ${percent(1 - (dl + ul + given) / total)} move the policy.`;
}

function countTable(answer: Answer): HTMLElement {
  const own = answer.own ?? new Float64Array(8);
  const row = (name: string, at: number) => {
    const cells = [own[at]!, own[at + 1]!, own[at + 2]!];
    const sum = cells.reduce((a, b) => a + b, 0);
    return h("tr", {}, h("th", { scope: "row" }, name), ...cells.map((count, i) => h("td", { class: ["learnt", "", "given"][i] }, `${count}`, h("small", {}, sum ? ` ${percent(count / sum)}` : ""))), h("td", {}, String(sum)));
  };
  return h("table", {}, h("thead", {}, h("tr", {}, ...["label", "learnt", "active", "given up", "all"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, row(run.loaded!.table.paired ? "chosen" : "desirable", 0), row(run.loaded!.table.paired ? "rejected" : "undesirable", 3)));
}

function drawSteps(chart: Chart, answer: Answer): void {
  const n = answer.over.length / 4;
  chart.figure.hidden = n < 2;
  if (n < 2) return;
  const column = (at: number) => Array.from({ length: n }, (_, i) => answer.over[4 * i + at]!);
  const [steps, learnt, active, given] = [column(0), column(1), column(2), column(3)];
  const sum = steps.map((_, i) => learnt[i]! + active[i]! + given[i]!);
  const low = steps.map((_, i) => (100 * given[i]!) / sum[i]!);
  const high = steps.map((_, i) => 100 - (100 * learnt[i]!) / sum[i]!);
  chart.draw({
    title: "Zones over steps", x: [steps[0] ?? 0, steps.at(-1) ?? 1], y: [0, 100], xLabel: "optimiser step", yLabel: "% of the step’s examples", height: 220,
    curves: [], areas: [
      { color: "area given", xs: steps, low: steps.map(() => 0), high: low },
      { color: "area active", xs: steps, low, high },
      { color: "area learnt", xs: steps, low: high, high: steps.map(() => 100) },
    ], rules: [{ x: run.until, text: `step ${run.until}` }],
  });
  chart.caption.replaceChildren(...(["learnt", "active", "given"] as const).map((kind) => h("span", { class: "inline" }, h("i", { class: `box ${kind}` }), kind === "given" ? "given up" : kind)), " of the examples that each step saw, before its update.");
}

/** Active, learnt, given up and utilisation in per cent, effective sample size. */
function columns(answer: Answer, i: number): (number | null)[] {
  const cell = answer.grid[i];
  if (!cell || "why" in cell) return [null, null, null, null, null];
  const r = cell.row;
  const n = r.subarray(0, 6).reduce((a, b) => a + b, 0);
  const part = (a: number, b: number) => (100 * (r[a]! + r[b]!)) / n;
  return [part(1, 4), part(0, 3), part(2, 5), Number.isNaN(r[6]!) ? null : 100 * r[6]!, r[7]!];
}

function grid(answer: Answer, order: number[], sort: { column: number; down: boolean }, pick: (column: number) => void): HTMLElement {
  const names = ["loss", "β", "active %", "learnt %", "given up %", "mean |g|/max %", "effective examples"];
  const all = order.map((i) => columns(answer, i));
  const most = [0, 1, 2, 3, 4].map((c) => Math.max(...all.map((row) => row[c] ?? -1)));
  const head = names.map((name, c) => h("th", { scope: "col", "aria-sort": sort.column === c ? (sort.down ? "descending" : "ascending") : "none" }, h("button", { type: "button", class: "quiet", onclick: () => pick(c) }, name, sort.column === c ? (sort.down ? " ▾" : " ▴") : "")));
  const badge = (row: Row) => (row.pinned === "own" ? h("small", {}, " this run") : row.pinned === "page" ? h("small", {}, " as on the left") : null);
  return h("table", { class: "grid" }, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...order.map((i, at) => {
    const row = run.rows[i]!;
    return h("tr", { class: row.pinned === "page" ? "here" : row.pinned }, h("th", { scope: "row", title: entry(row.name)?.title }, row.name, badge(row)), h("td", {}, row.beta === null ? "–" : say(row.beta)),
      ...all[at]!.map((x, c) => h("td", {}, x === null ? "–" : c < 4 ? x.toFixed(1) : say(x, 4), x !== null && x === most[c] && x > 0 && all.some((other) => other[c] !== x) ? h("span", { class: "most", title: "highest" }, " ●") : null)));
  })));
}

function furthest(answer: Answer): HTMLElement {
  if (!answer.furthest.length) return h("p", {}, "No example is on the wrong side.");
  const zones = ["learnt", "active", "given up"];
  const texts = answer.furthest.some((example) => example.prompt || example.completion);
  const head = ["id", "label", "nats on the right side", "zone", "share of the pull", ...(texts ? ["prompt", "completion"] : [])];
  return h("table", {}, h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, ...answer.furthest.map((example) => h("tr", {},
    h("th", { scope: "row" }, example.id), h("td", {}, example.label ? "desirable" : "undesirable"), h("td", {}, say(example.numbers[0], 4)),
    h("td", {}, zones[example.numbers[1]!]!), h("td", {}, percent(example.numbers[2]!, 2)), ...(texts ? [h("td", { class: "text" }, example.prompt), h("td", { class: "text" }, example.completion)] : [])))));
}
