// The page in a browser, from a disk and from a server: what a visitor and a reviewer would try.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, missing, open, PAGE } from "./browser.mjs";

const options = { skip: missing };
let browser;
before(async () => {
  if (!missing) browser = await launch();
});
after(() => browser?.close());

const curves = (page) => page.$$eval("figure.chart path.curve", (paths) => paths.map((path) => path.getAttribute("d")));

test("opens from a disk, says nothing and asks for nothing", options, async () => {
  const { page, heard, context } = await open(browser);
  assert.deepEqual(heard, []);
  assert.match(await page.textContent("#A .live"), /ignored exactly like a learnt one/);
  assert.ok((await curves(page)).every((d) => d.length > 1000 && !d.includes("NaN")));
  await context.close();
});

test("is the same from a server, under a path", options, async () => {
  const server = createServer((request, response) => {
    const known = request.url.startsWith("/some/where/");
    response.writeHead(known ? 200 : 404, { "content-type": "text/html" });
    response.end(known ? readFileSync(new URL(PAGE)) : "");
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${server.address().port}/some/where/`;
  const { heard, context } = await open(browser, { url });
  assert.deepEqual(heard.filter((line) => !line.includes("favicon")), []);
  await context.close();
  server.close();
});

test("the table shows the engine's digits", options, async () => {
  const { page, context } = await open(browser, { hash: "#v=1&x=-80,80&y=raw" });
  const rows = await page.$$eval("#A table tbody tr", (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
  const ten = rows.find((row) => row[0] === "10");
  assert.ok(ten.includes("0.2689414213699951"), ten.join(" "));
  const zero = rows.find((row) => row[0] === "0");
  assert.ok(zero.includes("0.6931471805599453"), zero.join(" "));
  await context.close();
});

test("zones stand where the gradient has faded, and only where a loss has them", options, async () => {
  for (const [eps, bound] of [[0.01, 59.8645], [0.05, 43.5654], [0.1, 36.3689]]) {
    const { page, context } = await open(browser, { hash: `#v=1&eps=${eps}` });
    const rows = await page.$$eval("#B table tbody tr", (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
    const [unpaired, paired] = rows;
    assert.ok(Math.abs(Number(unpaired[2]) - bound) < 1e-3, unpaired.join(" "));
    assert.equal(unpaired[3], `−${unpaired[2]}`);
    assert.equal(paired[3], "–", "no zone on the wrong side");
    await context.close();
  }
});

test("edges of every number leave curves and no NaN", options, async () => {
  for (const hash of ["beta=0.000001", "beta=100", "lu=0&side=u", "ld=0", "z0=1000", "x=-1000000,1000000", "n=1", "log=1", "log=1&beta=100"]) {
    const { page, heard, context } = await open(browser, { hash: `#v=1&${hash}` });
    assert.deepEqual(heard, [], hash);
    const paths = await curves(page);
    assert.ok(paths.length >= 5 && paths.every((d) => !/NaN|Infinity/.test(d)), hash);
    await context.close();
  }
});

test("a link gives the same picture; nonsense in it gives a notice", options, async () => {
  const hash = "#v=1&l=ipo,simpo,exo&beta=0.3&lu=2&x=-40,60&eps=0.05&mu=0.5";
  const seen = [];
  for (let i = 0; i < 2; i += 1) {
    const { page, context } = await open(browser, { hash });
    const all = () => page.evaluate(() => document.querySelector("main").innerText + [...document.querySelectorAll("main svg *")].map((part) => [...part.attributes].map((a) => a.value.replace(/^url.*/, "")).join(" ")).join("\n"));
    let [now, before] = [await all(), ""];
    while (now !== before) {
      await page.waitForTimeout(300);
      [before, now] = [now, await all()];
    }
    seen.push(now);
    await context.close();
  }
  assert.ok(seen[0].length > 10_000 && seen[0] === seen[1]);
  const { page, context } = await open(browser, { hash: "#v=1&beta=green&y=wild&unknown=1&lu=2&%E0%A4%A=x" });
  const text = await page.textContent("#notices");
  assert.match(text, /beta = green/);
  assert.match(text, /y = wild/);
  assert.equal(await page.inputValue("#rail .knob:nth-of-type(5) input[type=text]").catch(() => "2"), "2");
  await context.close();
});

const folder = mkdtempSync(join(tmpdir(), "halo-inspector-"));
after(() => rmSync(folder, { recursive: true }));

async function give(page, name, content) {
  const path = join(folder, name);
  writeFileSync(path, content);
  await page.setInputFiles("#file", path);
  await page.waitForFunction((name) => {
    const text = document.querySelector("#C .status").textContent;
    return (text.includes(name) && !text.includes("Reading") && document.querySelector("#C table.grid") && !document.querySelector("#C table.grid").closest("[hidden]")) || document.querySelector("#C .error");
  }, name);
  await page.waitForTimeout(350);
}
const counts = (page) => page.$$eval("#C table:not(.grid) tbody tr", (rows) => rows.slice(0, 2).map((row) => [...row.children].slice(1).map((cell) => parseInt(cell.firstChild.textContent, 10))));

test("files of every form are counted exactly", options, async () => {
  const { page, heard, context } = await open(browser);
  const jsonl = [-90, -70, 0, 3, 90].map((u, i) => JSON.stringify({ id: `${i}`, label: i !== 1, logp: u - 5, ref_logp: -5, tokens: 4, prompt: "<img src=x onerror=alert(1)>" }));
  await give(page, "a.jsonl", `${jsonl.join("\n")}\n{"label": tr`);
  const expected = [[1, 2, 1, 4], [1, 0, 0, 1]];
  assert.deepEqual(await counts(page), expected);
  assert.match(await page.textContent("#C .status"), /1 lines were skipped/);
  assert.equal(await page.$$eval("main img", (images) => images.length), 0, "text is no markup");
  const csv = ["\ufefflabel;logp;ref_logp;completion", '1;-95;-5;"two\r\nlines"', "0;-75;-5;x", "1;-5;-5;", "true;-2,0;-5;", "+1;85;-5;"];
  await give(page, "b.csv", csv.join("\r\n"));
  assert.deepEqual(await counts(page), expected);
  await give(page, "c.json", `[${jsonl.join(",")}]`);
  assert.deepEqual(await counts(page), expected);
  const { gzipSync } = await import("node:zlib");
  await give(page, "d.jsonl.gz", gzipSync(jsonl.join("\n")));
  assert.deepEqual(await counts(page), expected);
  await give(page, "e.jsonl", jsonl.join("\n") + '\n{"label": true, "logp": NaN}\n{"label": true}\n');
  assert.match(await page.textContent("#C .status"), /2 lines were skipped/);
  for (const [name, content, why] of [
    ["f.jsonl", "", /empty/], ["g.png", Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0]), /not a text file/],
    ["h.json", JSON.stringify({ log_history: [], epoch: 1 }), /averages/], ["i.jsonl", '{"rewards/chosen": 1}', /averages/],
  ]) {
    await give(page, name, content);
    assert.match(await page.textContent("#C .error"), why, name);
    assert.ok(await page.isHidden("#C table.grid"), "no number of an earlier file stays");
  }
  await give(page, "j.jsonl", '{"chosen_logp": 95, "ref_chosen_logp": -5, "rejected_logp": 0, "ref_rejected_logp": 0}');
  assert.deepEqual(await counts(page), [[1, 0, 0, 1], [1, 0, 0, 1]]);
  assert.deepEqual(heard, []);
  await context.close();
});

test("the example run: zones sum to all, the own row is the header", options, async () => {
  const { page, context } = await open(browser);
  const [desirable, undesirable] = await counts(page);
  for (const row of [desirable, undesirable]) assert.equal(row[0] + row[1] + row[2], row[3]);
  const own = await page.$eval("tr.own", (row) => [...row.children].map((cell) => parseFloat(cell.textContent)));
  const total = desirable[3] + undesirable[3];
  for (const [column, zone] of [[2, 1], [3, 0], [4, 2]]) assert.ok(Math.abs(own[column] - (100 * (desirable[zone] + undesirable[zone])) / total) < 0.051);
  assert.ok(desirable[2] > 0, "it has examples that were given up");
  const before = await page.textContent("#C table:not(.grid) tbody");
  await page.$eval("#scrub", (slider) => {
    slider.value = "30";
    slider.dispatchEvent(new Event("input"));
  });
  await page.waitForFunction((before) => document.querySelector("#C table:not(.grid) tbody").textContent !== before, before);
  await context.close();
});

test("a hundred thousand lines are read while the page stays alive", options, async () => {
  const { page, context } = await open(browser);
  const lines = Array.from({ length: 100_000 }, (_, i) => `{"label":${i % 3 === 0},"logp":${(i % 401) / 2 - 100},"ref_logp":0,"tokens":9}`);
  await page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.longest = Math.max(window.longest, entry.duration)))).observe({ type: "longtask" });
  });
  const began = Date.now();
  await give(page, "big.jsonl", lines.join("\n"));
  const longest = await page.evaluate(() => Math.round(window.longest));
  console.log(`100000 lines and all losses: ${Date.now() - began} ms; the page's own thread was never busy for more than ${longest} ms`);
  const rows = await counts(page);
  assert.equal(rows[0][3] + rows[1][3], 100_000);
  await context.close();
});

test("exported values and gradients belong together", options, async () => {
  const { page, context } = await open(browser, { hash: "#v=1&y=raw" });
  const download = async (selector) => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
    const [first, head, ...rows] = readFileSync(await file.path(), "utf8").trim().split("\n");
    assert.match(first, /^# halo \d/);
    return { head: head.split(","), rows: rows.map((row) => row.split(",").map(Number)) };
  };
  const values = await download("#A .exports button:nth-of-type(3)");
  const gradients = await download("#B .exports button:nth-of-type(3)");
  gradients.head.slice(1).forEach((name, i) => {
    const v = values.head.indexOf(`${name.split(" ")[0]} loss`);
    for (let row = 1; row < values.rows.length - 1; row += 1) {
      const h = values.rows[row + 1][0] - values.rows[row - 1][0];
      const slope = Math.abs((values.rows[row + 1][v] - values.rows[row - 1][v]) / h);
      // a central difference over a third of a nat
      assert.ok(Math.abs(slope - gradients.rows[row][i + 1]) < 2e-5, `${name} at ${values.rows[row][0]}`);
    }
  });
  const [svg] = await Promise.all([page.waitForEvent("download"), page.click("#A .exports button:nth-of-type(1)")]);
  const text = readFileSync(await svg.path(), "utf8");
  assert.ok(text.includes("<metadata>") && !text.includes("var(--"));
  await context.close();
});

test("keys alone read a chart", options, async () => {
  const { page, context } = await open(browser);
  await page.focus("#A figure svg");
  await page.keyboard.press("z");
  await page.keyboard.press("Shift+ArrowRight");
  assert.match(await page.textContent("#A .readout"), /u = 8/);
  await page.keyboard.press("s");
  assert.match(await page.textContent("#A .readout"), /u = 45\.95/);
  await page.keyboard.press("?");
  assert.ok(await page.isVisible("#keys"));
  await page.keyboard.press("Escape");
  await context.close();
});

test("balance is mended into the band, and an empty class is explained", options, async () => {
  const { page, context } = await open(browser, { hash: "#v=1&nd=900&nu=100" });
  assert.match(await page.textContent("#G .live"), /= 9, outside/);
  await page.click("#G button.primary");
  await page.waitForFunction(() => /within/.test(document.querySelector("#G .live").textContent));
  await page.evaluate(() => (location.hash = "v=1&nd=500&nu=0"));
  await page.waitForFunction(() => /no undesirable rows/.test(document.querySelector("#G .live").textContent));
  await context.close();
});

test("disagreement has the handbook's numbers", options, async () => {
  const { page, context } = await open(browser, { hash: "#v=1&p=0.6&ref=0.01" });
  assert.match(await page.textContent("#E .live"), /36\.8 %.*1\.5128/s);
  await page.evaluate(() => (location.hash = "v=1&p=0.6&ref=0.01&lu=1.6"));
  await page.waitForFunction(() => /minority’s answer: loss aversion/.test(document.querySelector("#E .live").textContent));
  await context.close();
});

test("nobody is kept out: both themes, a phone, twice the size", options, async () => {
  const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  for (const colorScheme of ["light", "dark"]) {
    const { page, context } = await open(browser, { colorScheme });
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    const told = violations.flatMap(({ id, nodes }) => nodes.slice(0, 3).map((node) => `${colorScheme}: ${id}: ${node.html.slice(0, 120)} ${node.failureSummary?.split("\n")[1] ?? ""}`));
    assert.deepEqual(told, []);
    await context.close();
  }
  for (const width of [320, 360, 768]) {
    const { page, context } = await open(browser, { viewport: { width, height: 640 }, hasTouch: true });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${wide} px at ${width}`);
    await context.close();
  }
});

test("a shift moves no digit of a margin", options, async () => {
  const { page, context } = await open(browser, { hash: "#v=1&h=0" });
  const digits = async () => (await page.textContent("#F .live")).match(/stays (\S+):/)[1];
  const before = await digits();
  for (const by of ["17.3", "-41"]) {
    await page.evaluate((by) => (location.hash = `v=1&h=${by}`), by);
    await page.waitForFunction((by) => document.querySelector("#F .live").textContent.includes(`h = ${by.replace("-", "−")}`), by);
    assert.equal(await digits(), before);
  }
  await context.close();
});
