// The dashboard in a real browser, over four shards with live traffic: every tab, the explain box, the rules editor,
// the actions, and nothing in the browser's list of errors. DASHBOARD is its address, TOKEN may act there, RULES is a
// rules file, SCREENSHOTS the folder for pictures.
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const { DASHBOARD, TOKEN, RULES, SCREENSHOTS } = process.env;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const WAIT_MS = 20_000;

async function main() {
  const port = new URL(DASHBOARD).port;
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    // As root there is no sandbox; the name that is not weir's leads to it nevertheless.
    args: ["--no-sandbox", "--host-resolver-rules=MAP rebound.example 127.0.0.1"],
  });
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 1200 }, colorScheme: "light" });
    context.setDefaultTimeout(WAIT_MS);
    const page = await context.newPage();
    const errors = [];
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(DASHBOARD);
    await overview(page);
    await everyTab(page);
    await explain(page);
    await rulesReadOnly(page);
    await signIn(page);
    await rulesEditor(page);
    await actions(page);
    await keyboard(page);
    assert.deepEqual(errors, []);
    await stranger(await context.newPage(), port);
  } finally {
    await browser.close();
  }
}

const tab = (page, name) => page.locator(`#tabs [data-page="${name}"]`);

async function open(page, name) {
  await tab(page, name).click();
  await page.locator(`#main[data-page="${name}"]`).waitFor();
}

const picture = (page, name) => page.screenshot({ path: path.join(SCREENSHOTS, `dashboard-${name}.png`) });

async function overview(page) {
  const rate = page.locator(".signal strong").first();
  await page.waitForFunction(() => parseFloat(document.querySelector(".signal strong")?.textContent) > 0, null, { timeout: WAIT_MS });
  assert.equal(await page.locator(".shards .shard h3", { hasText: /^s[0-3]$/ }).count(), 4);
  assert.ok((await page.locator(".servers li", { hasText: "primary" }).count()) >= 4);
  assert.equal(await page.locator("#ready").textContent(), "ready");
  assert.notEqual(await rate.textContent(), "–");
  // Enough looks for a line.
  await page.waitForFunction(() => document.querySelector(".signal polyline")?.points.length > 3, null, { timeout: WAIT_MS });
  await picture(page, "overview");
  await page.emulateMedia({ colorScheme: "dark" });
  await picture(page, "dark");
  await page.emulateMedia({ colorScheme: "light" });
}

async function everyTab(page) {
  const names = await page.locator("#tabs [role=tab]").evaluateAll((tabs) => tabs.map((tab) => tab.dataset.page));
  assert.ok(names.length > 10, names.join());
  for (const name of names) {
    await open(page, name);
    assert.equal(await tab(page, name).getAttribute("aria-selected"), "true");
    assert.ok(await page.locator("#problem").isHidden(), name);
    assert.ok((await page.locator("#main").textContent()).length > 10, name);
  }
  await open(page, "shard_pools");
  const rows = page.locator("tbody tr");
  assert.ok((await rows.count()) >= 4);
  await page.locator('[data-column="shard"]').click();
  await page.locator('[data-column="shard"]').click();
  assert.equal(await page.locator('th[aria-sort="ascending"]').textContent(), "shard");
  await page.keyboard.press("/");
  await page.keyboard.type("s2");
  await page.waitForFunction(() => [...document.querySelectorAll("tbody tr")].every((row) => row.textContent.includes("s2")));
}

async function explain(page) {
  await open(page, "explain");
  await page.locator("#statement").fill("SELECT * FROM orders WHERE user_id = $1");
  await page.locator("#parameters").fill("42");
  await page.locator("#statement").press("Control+Enter");
  await page.locator("#route", { hasText: "user_id = 42 → bucket" }).waitFor();
  await picture(page, "explain");
  await page.locator("#statement").fill("SELECT * FROM nothing");
  await page.locator("#explain").click();
  await page.locator("#route", { hasText: "refused" }).waitFor();
}

async function rulesReadOnly(page) {
  await open(page, "rules-files");
  await page.locator("#checked", { hasText: "the same as what is in force" }).waitFor();
  assert.ok(await page.locator("#rules-text").evaluate((text) => text.readOnly));
  assert.ok(await page.locator("#reload").isDisabled());
}

async function signIn(page) {
  await page.locator("#sign").click();
  await page.locator("#token").fill(TOKEN);
  await page.locator("#token").press("Enter");
  await page.locator("#may", { hasText: "may act" }).waitFor();
}

async function rulesEditor(page) {
  await open(page, "overview");
  await open(page, "rules-files");
  const text = page.locator("#rules-text");
  const before = await text.inputValue();
  await text.fill(before.replace('name = "orders"', 'nam = "orders"'));
  await page.locator(".problems", { hasText: "line" }).waitFor();
  await page.locator(".problems button").first().click();
  // A changed file is compared, then reloaded; the editor itself writes nothing.
  const changed = `${before}\n[[table]]\nname = "coupons"\nreference = true\n`;
  await text.fill(changed);
  await page.locator(".changes .add", { hasText: "reference" }).waitFor();
  await page.locator("#checked", { hasText: "weir rules adopt" }).waitFor();
  await text.evaluate((area) => (area.scrollTop = area.scrollHeight));
  await picture(page, "rules");
  assert.ok(!fs.readFileSync(RULES, "utf8").includes("coupons"));
  fs.writeFileSync(RULES, fs.readFileSync(RULES, "utf8").replace('database = "shop"', 'database = "shop"\nreads = "replica"'));
  await open(page, "overview");
  await open(page, "rules-files");
  await page.locator(".changes .add", { hasText: "replica" }).waitFor();
  await page.locator("#reload").click();
  await page.locator("#sure button.main").click();
  await page.locator("#checked", { hasText: "the same as what is in force" }).waitFor();
}

async function actions(page) {
  await open(page, "actions");
  for (const action of ["pause", "resume"]) {
    const form = page.locator("form", { has: page.locator(`#act-${action}`) });
    await form.locator("[name=database]").fill("shop");
    await form.locator("[name=shard]").fill("s3");
    await page.locator(`#act-${action}`).click();
    await page.locator("#sure button.main").click();
    await form.locator("[role=status]", { hasText: "done" }).waitFor();
  }
}

async function keyboard(page) {
  await open(page, "overview");
  await tab(page, "overview").focus();
  await page.keyboard.press("ArrowDown");
  await page.locator('#main[data-page="explain"]').waitFor();
  await page.keyboard.press("Home");
  await page.locator('#main[data-page="overview"]').waitFor();
}

/** A stranger's name that leads to weir's address gets nothing: DNS rebinding. */
async function stranger(page, port) {
  const answer = await page.goto(`http://rebound.example:${port}/`);
  assert.equal(answer.status(), 403);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
