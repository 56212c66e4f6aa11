// A browser for the tests: Debian's, or whatever CHROMIUM names. Without one the tests say so and are skipped.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const CANDIDATES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = CANDIDATES.find((path) => path && existsSync(path));
export const missing = executablePath ? false : "no Chromium here: the page is not tested in a browser (apt-get install chromium, or set CHROMIUM)";
if (missing) console.log(missing);

const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
export const launch = () => chromium.launch({ executablePath, args: ARGUMENTS });
export const PAGE = new URL("../dist/inspector.html", import.meta.url).href;

/** A fresh page at an address, with everything it said and asked for. */
export async function open(browser, { hash = "", url = PAGE, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const heard = [];
  page.on("console", (message) => heard.push(message.text()));
  page.on("pageerror", (error) => heard.push(error.message));
  page.on("request", (request) => {
    if (request.url().split("#")[0] !== url && !/^(blob|data):/.test(request.url())) heard.push(`asked for ${request.url()}`);
  });
  await page.goto(url + hash);
  await page.waitForSelector("table.grid", { state: "attached" });
  await page.waitForTimeout(400);
  return { page, heard, context };
}
