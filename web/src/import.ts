// Files to columns: the engine's examples, JSON lines, a JSON array, CSV and TSV with anybody's names. What a line lacks is said by its
// number, and the rest is read.

export interface Columns { label: number[]; logp: number[]; ref: number[]; tokens: number[]; z0: number[]; weight: number[]; step: number[]; unit: number[] }
export interface Table {
  columns: Columns; ids: string[]; texts: Map<number, [string, string]>; paired: boolean;
  /** From the engine's header. */
  loss: string; params: Record<string, unknown>; engine: string;
  /** What rewards were taken for: "" where log-probabilities leave nothing to guess. */
  units: string; skipped: number; problems: string[]; hasReference: boolean; hasTokens: boolean; hasZ0: boolean; averages: boolean;
}

type Record_ = Record<string, unknown>;

const FORMAT = "halo.examples";

export class Reader {
  private rest = "";
  private line = 0;
  private kind: "" | "lines" | "array" | "table" = "";
  private names: string[] = [];
  private separator = ",";
  private whole = "";
  private units = new Map<string, number>();
  private table: Table = {
    columns: { label: [], logp: [], ref: [], tokens: [], z0: [], weight: [], step: [], unit: [] }, ids: [], texts: new Map(), paired: false,
    loss: "", params: {}, engine: "", units: "", skipped: 0, problems: [], hasReference: true, hasTokens: true, hasZ0: true, averages: false,
  };

  push(piece: string): void {
    this.rest += piece;
    if (!this.kind) {
      this.rest = this.rest.replace(/^\ufeff/, "");
      const first = this.rest.trimStart()[0];
      if (first === undefined) return;
      if (this.rest.slice(0, 200).includes("\u0000") || this.rest.startsWith("\ufffd")) throw new Error("this is not a text file: JSON lines, JSON, CSV or TSV are read");
      this.kind = first === "[" ? "array" : first === "{" ? "lines" : "table";
    }
    if (this.kind === "array") {
      this.whole += this.rest;
      this.rest = "";
      return;
    }
    let from = 0;
    let quoted = false;
    for (let at = 0; at < this.rest.length; at += 1) {
      const c = this.rest.charCodeAt(at);
      // a quoted field of a table may hold line breaks
      if (c === 34 && this.kind === "table") quoted = !quoted;
      if (c !== 10 || quoted) continue;
      this.take(this.rest.slice(from, at).replace(/\r$/, ""));
      from = at + 1;
    }
    this.rest = this.rest.slice(from);
  }

  finish(): Table {
    if (this.kind === "array") this.array(this.whole);
    else if (this.rest.trim()) this.take(this.rest.replace(/\r$/, ""));
    if (!this.kind) throw new Error("the file is empty");
    const { table } = this;
    const n = table.columns.label.length;
    if (table.paired && n % 2) {
      for (const column of Object.values(table.columns) as number[][]) column.pop();
      this.problem("the last pair has no rejected completion");
    }
    if (!n) throw new Error(table.problems[0] ? `no example could be read; ${table.problems[0]}` : "no example in the file");
    return table;
  }

  private array(text: string): void {
    const rows: unknown = JSON.parse(text);
    if (!Array.isArray(rows)) throw new Error("the file is neither a list nor lines of JSON");
    for (const row of rows) {
      this.line += 1;
      this.record(row as Record_);
    }
  }

  private take(line: string): void {
    this.line += 1;
    if (!line.trim()) return;
    if (this.kind === "table") {
      if (this.line === 1) {
        this.separator = ["\t", ";", ","].find((c) => line.includes(c)) ?? ",";
        this.names = fields(line, this.separator);
        return;
      }
      const values = fields(line, this.separator);
      this.record(Object.fromEntries(this.names.map((name, i) => [name, values[i] ?? ""])));
      return;
    }
    let row: Record_;
    try {
      row = JSON.parse(line);
    } catch {
      if (this.line === 1 && line.trim() === "{") throw new Error("one JSON object over many lines: averages of another program, in which I can’t place examples");
      this.problem(`line ${this.line} is not JSON: cut off?`);
      return;
    }
    if (row["format"] !== undefined) this.header(row);
    else this.record(row);
  }

  private header(row: Record_): void {
    if (row["format"] !== FORMAT || row["version"] !== 1) throw new Error(`format ${String(row["format"])}, version ${String(row["version"])}: this page reads ${FORMAT}, version 1`);
    this.table.loss = String(row["loss"] ?? "");
    this.table.params = (row["params"] ?? {}) as Record_;
    this.table.engine = String(row["engine"] ?? "");
  }

  private record(row: Record_): void {
    if ("log_history" in row || ("rewards/chosen" in row && !("label" in row))) {
      this.table.averages = true;
      throw new Error("these are averages over steps: I can’t place examples. A file with one example a line is needed, such as examples.jsonl of a run with --record-examples");
    }
    const get = (...names: string[]) => names.map((name) => row[name]).find((value) => value !== undefined && value !== "");
    const chosen = get("chosen_logp", "policy_chosen_logp", "chosen_logps", "policy_chosen_logps");
    if (chosen !== undefined) {
      const rejected = get("rejected_logp", "policy_rejected_logp", "rejected_logps", "policy_rejected_logps");
      const refs = [get("ref_chosen_logp", "reference_chosen_logp", "ref_chosen_logps", "reference_chosen_logps"), get("ref_rejected_logp", "reference_rejected_logp", "ref_rejected_logps", "reference_rejected_logps")];
      const [w, l] = [real(chosen), real(rejected)];
      if (Number.isNaN(w) || Number.isNaN(l)) return this.problem(`line ${this.line}: a log-probability of the pair is missing or no number`);
      this.table.paired = true;
      this.add(row, 1, w, real(refs[0]), "chosen");
      this.add(row, 0, l, real(refs[1]), "rejected");
      return;
    }
    const label = truth(get("label", "kto_tag", "desirable"));
    if (label < 0) return this.problem(`line ${this.line}: \`label\` is missing or neither true nor false`);
    let logp = real(get("logp", "policy_logp", "logps", "completion_logp"));
    let ref = real(get("ref_logp", "reference_logp", "ref_logps", "reference_logps"));
    const ratio = real(get("log_ratio", "logratio"));
    const reward = real(get("reward", "rewards"));
    if (Number.isNaN(logp) && !Number.isNaN(ratio)) [logp, ref, this.table.units] = [ratio, 0, "log-ratio"];
    else if (Number.isNaN(logp) && !Number.isNaN(reward)) [logp, ref, this.table.units] = [reward, 0, "β × log-ratio"];
    if (Number.isNaN(logp)) return this.problem(`line ${this.line}: \`logp\` is missing or no number`);
    this.add(row, label, logp, ref, "");
  }

  private add(row: Record_, label: number, logp: number, ref: number, side: string): void {
    const { columns, ids, texts } = this.table;
    const read = (name: string) => real(row[name]);
    const id = String(row["id"] ?? `line ${this.line}`);
    const key = `${id}\u0000${side === "rejected" ? "chosen" : side}`;
    const unit = this.units.get(key) ?? this.units.size;
    this.units.set(key, unit);
    const tokens = read(side ? `${side}_tokens` : "tokens");
    const z0 = read("z0");
    const group = label ? "desirable_weight" : "undesirable_weight";
    const of = Number(this.table.params[group] ?? 1);
    columns.label.push(label);
    columns.logp.push(logp);
    columns.ref.push(ref);
    columns.tokens.push(tokens > 0 ? tokens : 0);
    columns.z0.push(z0);
    columns.weight.push(read("weight") / (of > 0 ? of : 1));
    columns.step.push(read("step") >= 0 ? read("step") : 0);
    columns.unit.push(unit);
    ids.push(id);
    if (row["prompt"] !== undefined || row["completion"] !== undefined) {
      const text = (value: unknown) => (typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value));
      texts.set(unit, [text(row["prompt"]), text(row[side || "completion"])]);
    }
    this.table.hasReference &&= !Number.isNaN(ref);
    this.table.hasTokens &&= tokens > 0;
    this.table.hasZ0 &&= !Number.isNaN(z0);
  }

  private problem(text: string): void {
    this.table.skipped += 1;
    if (this.table.problems.length < 20) this.table.problems.push(text);
  }
}

/** A finite number, or NaN; a comma may stand for the point. */
function real(value: unknown): number {
  if (typeof value === "number") return Number.isFinite(value) ? value : NaN;
  if (typeof value !== "string" || value.trim() === "") return NaN;
  const number = Number(value.trim().replace(/^([^.,]*),([^.,]*)$/, "$1.$2"));
  return Number.isFinite(number) ? number : NaN;
}

function truth(value: unknown): number {
  const text = String(value).trim().toLowerCase();
  if (["true", "1", "desirable", "chosen", "+1"].includes(text)) return 1;
  return ["false", "0", "-1", "undesirable", "rejected"].includes(text) ? 0 : -1;
}

function fields(line: string, separator: string): string[] {
  const out: string[] = [];
  let field = "";
  let quoted = false;
  for (let at = 0; at < line.length; at += 1) {
    const c = line[at]!;
    if (c === '"') {
      if (quoted && line[at + 1] === '"') {
        field += '"';
        at += 1;
      } else quoted = !quoted;
    } else if (c === separator && !quoted) {
      out.push(field.trim());
      field = "";
    } else field += c;
  }
  return [...out, field.trim()];
}
