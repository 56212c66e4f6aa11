// A chart of curves in SVG: axes, zones, rules, direct labels, a linked cursor, keys. It draws; every number comes from the engine.
import { fit, h, s } from "./dom";
import { halo, say } from "./engine";

export interface Curve {
  name: string; color: number; xs: ArrayLike<number>; ys: ArrayLike<number>;
  /** The exact value at a place, for the cursor. */
  at?: (x: number) => number;
  faint?: boolean;
}
export interface Zone { from: number; to: number; kind: "learnt" | "given"; text?: string }
export interface Rule { x: number; text: string; color?: number; row?: number }
export interface Dot { x: number; y: number; text: string; color: number }
export interface Strip { low: number; high: number; desirable: ArrayLike<number>; undesirable: ArrayLike<number> }
export interface Picture {
  title: string; x: [number, number]; y: [number, number]; xLabel: string; xNote?: string; yLabel: string; logY?: boolean; logX?: boolean;
  curves: Curve[]; zones?: Zone[]; rules?: Rule[]; dots?: Dot[]; strip?: Strip; height?: number; areas?: { color: string; xs: ArrayLike<number>; low: ArrayLike<number>; high: ArrayLike<number> }[];
  bars?: { from: number; to: number; y: number; color: number }[];
}
export interface Options { linked?: boolean; pan?: (window: [number, number] | null) => void; click?: (x: number, y: number) => void; jumps?: () => number[] }

/** The cursor that all linked charts share. */
export const cursor = { u: null as number | null, listeners: new Set<() => void>() };
export function moveCursor(u: number | null): void {
  cursor.u = u;
  for (const listener of cursor.listeners) listener();
}

let serial = 0;

export class Chart {
  readonly figure = h("figure", { class: "chart" });
  readonly caption = h("figcaption", { "aria-live": "off" });
  private svg = s("svg", { role: "application", tabindex: 0 });
  private note = h("p", { class: "note" });
  private readout = h("output", { class: "readout", "aria-live": "polite" });
  private picture: Picture | undefined;
  private overlay = s("g", { class: "cursor" });
  private id = (serial += 1);
  private frame = { left: 58, right: 20, top: 14, bottom: 46, width: 720, height: 380 };
  private traced = 0;

  constructor(private label: string, private options: Options = {}) {
    this.svg.setAttribute("aria-label", label);
    this.figure.append(this.svg, this.note, this.readout, this.caption);
    let width = 0;
    new ResizeObserver(() => requestAnimationFrame(() => {
      if (!this.picture || this.figure.clientWidth === width) return;
      width = this.figure.clientWidth;
      this.draw(this.picture);
    })).observe(this.figure);
    if (options.linked) cursor.listeners.add(() => this.point());
    this.listen();
  }

  /** The picture as it stands, for a file. */
  element(): SVGSVGElement {
    return this.svg;
  }

  draw(picture: Picture): void {
    this.picture = picture;
    const width = Math.max(280, Math.floor(this.figure.clientWidth || 720));
    const narrow = width < 560;
    const direct = !narrow && picture.curves.some((curve) => !curve.faint && curve.name);
    this.frame = {
      left: narrow ? 54 : 58, right: direct ? 172 : 16, top: picture.rules?.length ? 40 : 14, bottom: picture.xNote && !narrow ? 62 : 46, width,
      height: (narrow ? 300 : picture.height ?? 380) + (picture.strip ? 54 : 0),
    };
    const { left, right, top, bottom, height } = this.frame;
    const strip = picture.strip ? 54 : 0;
    const [w, hh] = [width - left - right, height - top - bottom - strip];
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("width", String(width));
    this.svg.setAttribute("height", String(height));
    const clip = `clip${this.id}`;
    const body = s("g", { "clip-path": `url(#${clip})` });
    const parts: Node[] = [
      s("title", {}, picture.title),
      s("defs", {}, s("clipPath", { id: clip }, s("rect", { x: left, y: top, width: w, height: hh })), hatch(`l${this.id}`, "learnt", 45), hatch(`g${this.id}`, "given", -45)),
    ];
    const [x, y] = [(v: number) => this.px(v), (v: number) => this.py(v)];
    for (const zone of picture.zones ?? []) {
      const [a, b] = [fit(x(zone.from), left, left + w), fit(x(zone.to), left, left + w)];
      if (b - a < 0.5) continue;
      parts.push(s("rect", { class: `zone ${zone.kind}`, x: a, y: top, width: b - a, height: hh, fill: `url(#${zone.kind === "learnt" ? "l" : "g"}${this.id})` }));
      if (b - a > 54) parts.push(s("text", { class: `zonename ${zone.kind}`, x: (a + b) / 2, y: top + hh - 9, "text-anchor": "middle" }, zone.text ?? (zone.kind === "learnt" ? "learnt" : "given up")));
    }
    const xs = picture.logX ? halo.logTicks(...picture.x) : halo.ticks(...picture.x, Math.max(4, Math.floor(w / 80)));
    for (const tick of xs) {
      parts.push(s("path", { class: "grid", d: `M${x(tick)} ${top}v${hh}` }), s("text", { class: "tick", x: x(tick), y: top + hh + 18, "text-anchor": "middle" }, say(tick, 6)));
    }
    const ys = picture.logY ? halo.logTicks(...picture.y) : halo.ticks(...picture.y, Math.max(4, Math.floor(hh / 48)));
    for (const tick of ys) {
      parts.push(s("path", { class: "grid", d: `M${left} ${y(tick)}h${w}` }), s("text", { class: "tick", x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, say(tick, 6)));
    }
    if (!picture.logX && picture.x[0] < 0 && picture.x[1] > 0) parts.push(s("path", { class: "zero", d: `M${x(0)} ${top}v${hh}` }));
    if (!picture.logY && picture.y[0] < 0 && picture.y[1] > 0) parts.push(s("path", { class: "zero", d: `M${left} ${y(0)}h${w}` }));
    for (const area of picture.areas ?? []) body.append(s("path", { class: area.color, d: this.area(area.xs, area.low, area.high) }));
    for (const bar of picture.bars ?? []) {
      const [a, b] = [x(bar.from), x(bar.to)];
      body.append(s("rect", { class: `bar c${bar.color}`, x: a + 0.5, y: y(bar.y), width: Math.max(0.5, b - a - 1), height: Math.max(0, y(picture.y[0]) - y(bar.y)) }));
    }
    for (const curve of [...picture.curves].sort((a, b) => Number(b.faint ?? false) - Number(a.faint ?? false))) {
      body.append(s("path", { class: `curve c${curve.color}${curve.faint ? " faint" : ""}`, d: this.line(curve.xs, curve.ys) }));
    }
    parts.push(s("rect", { class: "frame", x: left, y: top, width: w, height: hh }), body);
    for (const rule of picture.rules ?? []) {
      const at = x(rule.x);
      if (at < left - 1 || at > left + w + 1) continue;
      const anchor = at > left + w - 80 ? "end" : at < left + 80 ? "start" : "middle";
      parts.push(s("path", { class: `rule${rule.color === undefined ? "" : ` c${rule.color}`}`, d: `M${at} ${top}v${hh}` }), s("text", { class: "rulename", x: at, y: top - 8 - 14 * (rule.row ?? 0), "text-anchor": anchor }, rule.text));
    }
    for (const dot of picture.dots ?? []) {
      const [cx, cy] = [x(dot.x), y(dot.y)];
      if (cx < left || cx > left + w || !Number.isFinite(cy)) continue;
      parts.push(s("circle", { class: `dot c${dot.color}`, cx, cy: fit(cy, top, top + hh), r: 4 }));
      if (dot.text) parts.push(s("text", { class: `dotname`, x: cx + 8, y: fit(cy, top + 8, top + hh - 20) + 18 }, dot.text));
    }
    if (picture.strip) parts.push(...this.density(picture.strip, top + hh + 24, w));
    const note = narrow ? undefined : picture.xNote;
    this.note.textContent = narrow ? picture.xNote ?? "" : "";
    const foot = height - (note ? 26 : 8);
    parts.push(s("text", { class: "axis", x: left + w / 2, y: foot, "text-anchor": "middle" }, picture.xLabel));
    if (note) parts.push(s("text", { class: "note", x: left + w / 2, y: height - 8, "text-anchor": "middle" }, note));
    parts.push(s("text", { class: "axis", transform: `translate(13 ${top + hh / 2}) rotate(-90)`, "text-anchor": "middle" }, picture.yLabel));
    if (direct) parts.push(...this.names(left + w + 8, top, hh));
    this.overlay = s("g", { class: "cursor" });
    this.svg.replaceChildren(...parts, this.overlay);
    this.point();
  }

  private px(v: number): number {
    const { x, logX } = this.picture!;
    const { left, right, width } = this.frame;
    const [a, b, c] = logX ? (halo.log10(Float64Array.of(v, x[0], x[1])) as unknown as [number, number, number]) : [v, x[0], x[1]];
    return left + ((a - b) / (c - b)) * (width - left - right);
  }

  private py(v: number): number {
    return this.rows(Float64Array.of(v))[0]!;
  }

  /** Rows of the picture for many values at once: one call for a logarithmic axis. */
  private rows(values: ArrayLike<number>): number[] {
    const { y, logY, strip } = this.picture!;
    const { top, bottom, height } = this.frame;
    const full = height - top - bottom - (strip ? 54 : 0);
    const all = logY ? halo.log10(Float64Array.from(values)) : values;
    const [low, high] = logY ? halo.log10(Float64Array.from(y)) as unknown as [number, number] : y;
    return Array.from(all, (v) => fit(top + full - ((v - low) / (high - low)) * full, -4000, 8000));
  }

  private line(xs: ArrayLike<number>, ys: ArrayLike<number>): string {
    const rows = this.rows(ys);
    let path = "";
    let pen = "M";
    for (let i = 0; i < xs.length; i += 1) {
      const row = rows[i]!;
      if (Number.isNaN(row)) {
        pen = "M";
        continue;
      }
      path += `${pen}${this.px(xs[i]!).toFixed(1)} ${row.toFixed(1)}`;
      pen = "L";
    }
    return path;
  }

  private area(xs: ArrayLike<number>, low: ArrayLike<number>, high: ArrayLike<number>): string {
    const there = this.line(xs, high);
    const back = this.line(Array.from(xs).reverse(), Array.from(low).reverse());
    return there ? `${there}${back.replace("M", "L")}Z` : "";
  }

  /** Names at the ends of the curves, pushed apart. */
  private names(left: number, top: number, height: number): Node[] {
    const { curves, x } = this.picture!;
    const ends = curves.filter((curve) => !curve.faint && curve.name).map((curve) => {
      let last = curve.ys.length - 1;
      while (last > 0 && (!Number.isFinite(curve.ys[last]!) || curve.xs[last]! > x[1])) last -= 1;
      const own = this.py(curve.ys[last] ?? NaN);
      return { curve, own: Number.isFinite(own) ? fit(own, top + 6, top + height - 2) : top + 6, at: 0 };
    }).sort((a, b) => a.own - b.own);
    let floor = top;
    for (const end of ends) floor = end.at = Math.max(end.own, floor + 17);
    const over = Math.max(0, floor - (top + height));
    for (const end of ends) end.at -= over;
    for (let i = ends.length - 2; i >= 0; i -= 1) ends[i]!.at = Math.min(ends[i]!.at, ends[i + 1]!.at - 17);
    return ends.flatMap(({ curve, own, at }) => [
      s("path", { class: `lead c${curve.color}`, d: `M${left - 8} ${own}L${left + 2} ${at}h8` }),
      s("text", { class: `name c${curve.color}`, x: left + 14, y: at + 4 }, curve.name.length > 23 ? `${curve.name.slice(0, 22)}…` : curve.name),
    ]);
  }

  /** Two mirrored histograms: desirable above the line, undesirable below. */
  private density(strip: Strip, top: number, width: number): Node[] {
    const { left, right } = this.frame;
    const n = strip.desirable.length;
    const most = Math.max(1, ...Array.from(strip.desirable), ...Array.from(strip.undesirable));
    const [a, b] = [this.px(strip.low), this.px(strip.high)];
    const middle = top + 22;
    const shape = (counts: ArrayLike<number>, sign: number) => {
      let d = `M${a} ${middle}`;
      for (let i = 0; i < n; i += 1) {
        const y = middle - sign * 20 * Math.min(1, counts[i]! / most);
        d += `L${a + ((b - a) * i) / n} ${y.toFixed(1)}L${a + ((b - a) * (i + 1)) / n} ${y.toFixed(1)}`;
      }
      return `${d}L${b} ${middle}Z`;
    };
    return [
      s("path", { class: "desirable", d: shape(strip.desirable, 1) }),
      s("path", { class: "undesirable", d: shape(strip.undesirable, -1) }),
      s("path", { class: "grid", d: `M${left} ${middle}h${width}` }),
      ...(right > 100
        ? [s("text", { class: "tick", x: left + width + 8, y: middle - 8 }, "your desirable"), s("text", { class: "tick", x: left + width + 8, y: middle + 14 }, "your undesirable")]
        : [s("text", { class: "tick", x: left + width, y: middle - 8, "text-anchor": "end" }, "desirable"), s("text", { class: "tick", x: left + width, y: middle + 14, "text-anchor": "end" }, "undesirable")]),
    ];
  }

  private point(): void {
    const { picture } = this;
    if (!picture || !this.options.linked) return;
    const u = cursor.u;
    const { left, right, top, bottom, width, height } = this.frame;
    const inside = u !== null && u >= picture.x[0] && u <= picture.x[1];
    if (!inside) {
      this.overlay.replaceChildren();
      const names = right > 100 ? [] : picture.curves.filter((curve) => curve.name).map((curve) => h("span", {}, h("i", { class: `key c${curve.color}` }), curve.name));
      this.readout.replaceChildren(...names, h("span", { class: "hint" }, "Point at the chart, or focus it and use ← → to read values; ? lists the keys."));
      return;
    }
    const at = this.px(u);
    const shown = picture.curves.filter((curve) => curve.at && !curve.faint);
    const values = shown.map((curve) => curve.at!(u));
    this.overlay.replaceChildren(
      s("path", { d: `M${at} ${top}V${height - bottom - (picture.strip ? 54 : 0)}` }),
      ...shown.map((curve, i) => {
        const cy = this.py(values[i]!);
        return Number.isFinite(cy) && at <= width - right && at >= left ? s("circle", { class: `dot c${curve.color}`, cx: at, cy: fit(cy, top, height), r: 3.5 }) : s("g");
      }),
    );
    this.readout.replaceChildren(h("span", {}, `u = ${say(u, 4)}`), ...shown.map((curve, i) => h("span", {}, h("i", { class: `key c${curve.color}` }), `${curve.name} `, h("b", {}, say(values[i]!, 5)))));
  }

  private listen(): void {
    const place = (event: PointerEvent | MouseEvent | WheelEvent): number => {
      const box = this.svg.getBoundingClientRect();
      const { left, right, width } = this.frame;
      const share = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right);
      const [low, high] = this.picture!.x;
      return low + fit(share, 0, 1) * (high - low);
    };
    const height = (event: PointerEvent): number => {
      const box = this.svg.getBoundingClientRect();
      const { top, bottom, height } = this.frame;
      const share = 1 - (((event.clientY - box.top) / box.height) * height - top) / (height - top - bottom);
      const [low, high] = this.picture!.y;
      return low + fit(share, 0, 1) * (high - low);
    };
    let held: { x: number; window: [number, number]; id: number } | null = null;
    this.svg.addEventListener("pointermove", (event) => {
      if (!this.picture) return;
      if (this.options.click && event.buttons === 1) return this.options.click(place(event), height(event));
      if (held && this.options.pan) {
        const box = this.svg.getBoundingClientRect();
        const { left, right, width } = this.frame;
        const [low, high] = held.window;
        const by = ((held.x - event.clientX) / (box.width * ((width - left - right) / width))) * (high - low);
        if (by) this.options.pan([low + by, high + by]);
      }
      if (this.options.linked) moveCursor(place(event));
    });
    this.svg.addEventListener("pointerdown", (event) => {
      if (!this.picture) return;
      if (this.options.click) {
        this.svg.setPointerCapture(event.pointerId);
        this.options.click(place(event), height(event));
      } else if (event.pointerType === "mouse") held = { x: event.clientX, window: this.picture.x, id: event.pointerId };
    });
    const drop = () => (held = null);
    this.svg.addEventListener("pointerup", drop);
    this.svg.addEventListener("pointercancel", drop);
    this.svg.addEventListener("pointerleave", () => {
      drop();
      if (this.options.linked && document.activeElement !== this.svg) moveCursor(null);
    });
    this.svg.addEventListener("dblclick", () => this.options.pan?.(null));
    this.svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey || !this.options.pan || !this.picture) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, place(event));
    }, { passive: false });
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("blur", () => this.options.linked && moveCursor(null));
  }

  private zoom(by: number, around: number): void {
    const [low, high] = this.picture!.x;
    this.options.pan?.([around - (around - low) * by, around + (high - around) * by]);
  }

  private key(event: KeyboardEvent): void {
    if (!this.picture || !this.options.linked || event.ctrlKey || event.metaKey || event.altKey) return;
    const [low, high] = this.picture.x;
    const step = ((high - low) / 200) * (event.shiftKey ? 10 : 1);
    const now = cursor.u ?? (low + high) / 2;
    const jumps = [...(this.options.jumps?.() ?? [])].sort((a, b) => a - b);
    const act: Record<string, () => void> = {
      ArrowLeft: () => moveCursor(Math.max(low, now - step)),
      ArrowRight: () => moveCursor(Math.min(high, now + step)),
      Home: () => moveCursor(low),
      End: () => moveCursor(high),
      s: () => moveCursor(jumps.find((jump) => jump > now + 1e-9) ?? jumps[0] ?? now),
      z: () => moveCursor(0),
      "+": () => this.zoom(1 / 1.5, now),
      "-": () => this.zoom(1.5, now),
      "0": () => this.options.pan?.(null),
      Escape: () => this.svg.blur(),
      ArrowUp: () => (this.traced -= 1),
      ArrowDown: () => (this.traced += 1),
      "?": () => document.querySelector<HTMLDialogElement>("#keys")?.showModal(),
    };
    const action = act[event.key];
    if (!action) return;
    event.preventDefault();
    action();
    const curves = this.picture.curves.filter((curve) => curve.at && !curve.faint);
    const curve = curves[((this.traced % curves.length) + curves.length) % curves.length];
    if (curve && cursor.u !== null) this.svg.setAttribute("aria-label", `${this.label}. ${curve.name}: ${say(curve.at!(cursor.u), 5)} at ${say(cursor.u, 4)}`);
  }
}

function hatch(id: string, kind: string, angle: number): SVGElement {
  return s("pattern", { id, class: `hatch ${kind}`, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${angle})` }, s("rect", { width: 7, height: 7 }), s("path", { d: "M0 0V7" }));
}

/** Least and greatest of finite numbers, with some air. */
export function extent(rows: ArrayLike<number>[], air = 0.06): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const row of rows) for (let i = 0; i < row.length; i += 1) {
    const v = row[i]!;
    if (!Number.isFinite(v)) continue;
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  if (low > high) return [-1, 1];
  const width = high - low || Math.abs(high) || 1;
  return [low - air * width, high + air * width];
}
