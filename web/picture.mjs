// The picture of README: views B and C of the built page. `node picture.mjs` writes docs/inspector.png.
import { launch, open } from "./test/browser.mjs";

const browser = await launch();
const { page } = await open(browser, { colorScheme: "light" });
await page.locator("#B").evaluate((section) => section.scrollIntoView());
await page.waitForTimeout(600);
await page.screenshot({ path: new URL("../docs/inspector.png", import.meta.url).pathname });
await browser.close();
