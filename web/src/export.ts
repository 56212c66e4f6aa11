// What leaves the page: pictures, tables, the address. Always by the visitor's own click, never by the network.
import { h } from "./dom";
import { catalogue, halo } from "./engine";
import { print } from "./state";

export function save(name: string, content: BlobPart, type: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const link = (): string => (location.protocol === "file:" ? "" : location.origin + location.pathname) + print();

/** The first line says where it is from; numbers have every digit. */
export function csv(name: string, columns: string[], rows: (number | string)[][]): void {
  const cell = (value: number | string) => (typeof value === "number" ? halo.format(value, 17).replace("–", "") : /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = [`# halo ${catalogue.version} ${link()}`, columns.join(","), ...rows.map((row) => row.map(cell).join(","))];
  save(`${name}.csv`, `${lines.join("\n")}\n`, "text/csv");
}

const PROPERTIES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "stroke-linejoin", "opacity", "font-family", "font-size", "font-weight", "font-style", "text-anchor"];

/** The picture with its styles written into it, so that it needs no style sheet. */
function resolved(svg: SVGSVGElement): string {
  const copy = svg.cloneNode(true) as SVGSVGElement;
  const [from, to] = [svg.querySelectorAll("*"), copy.querySelectorAll("*")];
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    for (const property of PROPERTIES) to[i]!.setAttribute(property, style.getPropertyValue(property));
    to[i]!.removeAttribute("class");
  });
  copy.querySelector("g.cursor")?.remove();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  paper.setAttribute("width", "100%");
  paper.setAttribute("height", "100%");
  paper.setAttribute("fill", getComputedStyle(document.body).backgroundColor);
  const data = document.createElementNS("http://www.w3.org/2000/svg", "metadata");
  data.textContent = `halo ${catalogue.version} ${link()}`;
  copy.prepend(data, paper);
  return new XMLSerializer().serializeToString(copy);
}

export const svg = (name: string, picture: SVGSVGElement): void => save(`${name}.svg`, resolved(picture), "image/svg+xml");

export async function png(name: string, picture: SVGSVGElement): Promise<void> {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([resolved(picture)], { type: "image/svg+xml" }));
  image.src = url;
  await image.decode();
  const canvas = h("canvas", { width: 2 * image.naturalWidth, height: 2 * image.naturalHeight });
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  canvas.toBlob((blob) => blob && save(`${name}.png`, blob, "image/png"));
}

export const json = (name: string): void => save(`${name}.json`, JSON.stringify({ engine: catalogue.version, link: link() }, null, 1), "application/json");

export async function copyLink(): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(location.href.split("#")[0]! + print());
    return true;
  } catch {
    return false;
  }
}

/** The buttons under a figure. */
export function exporters(name: string, picture: () => SVGSVGElement, table: () => [string[], (number | string)[][]]): HTMLElement {
  return h("div", { class: "exports" }, h("span", {}, "Save as"),
    h("button", { type: "button", onclick: () => svg(name, picture()) }, "SVG"),
    h("button", { type: "button", onclick: () => void png(name, picture()) }, "PNG"),
    h("button", { type: "button", onclick: () => csv(name, ...table()) }, "CSV"));
}
