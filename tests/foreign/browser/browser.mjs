// Drives Chromium for the tests: reads commands from standard input, one JSON object a line, and answers each with one
// line; ends when its standard input does. CHROMIUM is the program to start.
//
//   {"do":"person"}                          another person's browser: no cookies, nothing cached; {"person"}
//   {"do":"open","person","url"}             all of these answer with the page that they end at:
//   {"do":"read","person"}                   {"url","status","title","text"}
//   {"do":"fill","person","label","value"}
//   {"do":"click","person","role","name"}
//   {"do":"check","person"}                  what can be said of a page without knowing it, see below
//   {"do":"picture","person","path"}         a screenshot
// An error is {"error"}, in words.

import axe from 'axe-core';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

/** Milliseconds for one step, on a machine that builds something else meanwhile. */
const STEP_MAX = 20_000;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  chromiumSandbox: false,
  args: [
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
    // Pages of other people's servers ask for fonts from far away.
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
  ],
});

const people = [];

async function person() {
  const context = await browser.newContext();
  context.setDefaultTimeout(STEP_MAX);
  const page = await context.newPage();
  const one = { page, answer: undefined, asked: [], said: [] };
  page.on('request', (request) => {
    if (request.isNavigationRequest() && request.frame() === page.mainFrame()) Object.assign(one, { asked: [], said: [] });
    else one.asked.push(request.url());
  });
  page.on('response', (response) => {
    const request = response.request();
    if (request.isNavigationRequest() && request.frame() === page.mainFrame()) one.answer = response;
  });
  page.on('console', (message) => one.said.push(message.text()));
  return { person: people.push(one) - 1 };
}

async function seen({ page, answer }) {
  await page.waitForLoadState('load');
  return {
    url: page.url(),
    status: answer?.status(),
    title: await page.title(),
    text: await page.locator('body').innerText(),
  };
}

/** What every page owes to whoever reads it, and what axe-core finds wrong. */
async function check({ page, answer, asked, said }) {
  const facts = await page.evaluate(() => ({
    lang: document.documentElement.lang,
    headings: [...document.querySelectorAll('h1')].map((heading) => heading.textContent.trim()),
    scripts: document.scripts.length,
    html: document.documentElement.outerHTML,
    referrer: document.referrer,
    overflows: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  }));
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return {
    ...facts,
    headers: await answer.allHeaders(),
    // Other than the page itself.
    asked,
    said,
    violations: violations.map(({ id, help }) => `${id}: ${help}`),
  };
}

const can = {
  person,
  async open(one, { url }) {
    await one.page.goto(url);
    return seen(one);
  },
  read: seen,
  async fill(one, { label, value }) {
    await one.page.getByLabel(label).or(one.page.getByPlaceholder(label)).fill(value);
    return seen(one);
  },
  async click(one, { role, name }) {
    await one.page.getByRole(role, { name }).click();
    return seen(one);
  },
  check,
  async picture({ page }, { path }) {
    await page.screenshot({ path, fullPage: true });
    return {};
  },
};

console.log(JSON.stringify({ issuer: browser.version() }));
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    console.log(JSON.stringify(await can[command.do](people[command.person], command)));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await browser.close();
