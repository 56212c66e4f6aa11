// The page as one file: style, scripts and the engine inside, so that it opens from a disk, asks no network, and can be sent by mail.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const here = new URL("./", import.meta.url);
const read = (name) => readFileSync(new URL(name, here));
const text = (name) => read(name).toString("utf8");

async function bundle(entry, more = {}) {
  const result = await build({
    entryPoints: [new URL(entry, here).pathname],
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    // the glue's default address of the module: the bytes come from the page itself
    define: { "import.meta.url": '"about:blank"' },
    write: false,
    logLevel: "warning",
    ...more,
  });
  // an end tag inside of a script would end it
  return result.outputFiles[0].text.replaceAll("</script", "<\\/script").trim();
}

const pack = (bytes) => gzipSync(bytes, { level: 9 }).toString("base64");
const hash = (code) => `'sha256-${createHash("sha256").update(code).digest("base64")}'`;

const worker = await bundle("src/worker.ts");
const script = await bundle("src/main.ts");
const style = (await build({
  entryPoints: [new URL("src/style.css", here).pathname], minify: true, write: false, charset: "utf8", target: "es2022",
})).outputFiles[0].text.trim();

const policy = [
  "default-src 'none'",
  `script-src ${hash(script)} 'wasm-unsafe-eval'`,
  `style-src ${hash(style)}`,
  "img-src data: blob:",
  "worker-src blob:",
  "connect-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const parts = {
  POLICY: policy,
  STYLE: style,
  // as deflate packs them: a quarter of the bytes, and browsers unpack them themselves
  ENGINE: pack(read("generated/halo_bg.wasm")),
  EXAMPLE: read("example.jsonl.gz").toString("base64"),
  WORKER: pack(worker),
  SCRIPT: script,
};
const page = text("src/index.html").replace(/%%([A-Z]+)%%/g, (_, name) => parts[name]);
mkdirSync(new URL("dist/", here), { recursive: true });
writeFileSync(new URL("dist/inspector.html", here), page);
writeFileSync(new URL("dist/main.js", here), script + worker);
