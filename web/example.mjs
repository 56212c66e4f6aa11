// The example run of the page, from one of the demo:
//   halo train --config testdata/demo/kto.toml --record-examples --out target/demo-run
//   node web/example.mjs target/demo-run testdata/demo/feedback.jsonl
// A fourteenth of the examples, spread over the file, with all its sights, log-probabilities to three decimals, and the texts beside the first.
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const [run, feedback] = process.argv.slice(2);
const lines = (name) => readFileSync(name, "utf8").split("\n").filter(Boolean);
const texts = lines(feedback).map((line) => JSON.parse(line));
const [head, ...sights] = lines(`${run}/examples.jsonl`);
const told = new Set();
const round = (x) => Math.round(1000 * x) / 1000;
const kept = [];
for (const line of sights) {
  const sight = JSON.parse(line);
  const number = Number(sight.id.split(":")[1]);
  if ((number * 7919) % 3607 >= 260) continue;
  sight.logp = round(sight.logp);
  sight.ref_logp = round(sight.ref_logp);
  if (!told.has(sight.id)) {
    told.add(sight.id);
    const { prompt, completion } = texts[number - 1];
    Object.assign(sight, { prompt, completion });
  }
  kept.push(JSON.stringify(sight));
}
const file = new URL("example.jsonl.gz", import.meta.url);
writeFileSync(file, gzipSync(`${[head, ...kept].join("\n")}\n`, { level: 9 }));
console.log(`${told.size} examples, ${kept.length} sights, ${readFileSync(file).length} bytes`);
