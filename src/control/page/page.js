// SPDX-License-Identifier: MIT OR Apache-2.0
// Keeps the page current and sorts its tables. Without it the page is whole, as of the moment it was asked for.
//
// Every two seconds the same address is asked again and the answer is put in place node by node, so that focus, scroll
// positions, open details and what was typed stay. Nothing is evaluated: nodes of the parsed answer are compared, and text
// is only ever set as text.

const EVERY = 2000;
const PATIENCE = 10000;

/** Per table, by id: the column that it is sorted by, and which way (1 or -1). */
const sorted = new Map();

const pause = document.getElementById("pause");
const link = document.getElementById("link");
const main = document.getElementById("main");
let paused = false;

// ---- sorting

/** What a cell is sorted by: its bare number, else its text. */
function worth(row, column) {
  const cell = row.cells[column];
  if (!cell) return "";
  const bare = cell.dataset.value;
  return bare === undefined ? cell.textContent.trim() : bare === "" ? -Infinity : Number(bare);
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/** Brings the rows of a table into the order that was asked for; equal ones stay as they came. */
function order(table) {
  const by = sorted.get(table.id);
  const heads = table.tHead.rows[0].cells;
  for (const [index, head] of [...heads].entries()) {
    if (by && by.column === index) head.setAttribute("aria-sort", by.way > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  if (!by) return;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [worth(row, by.column), row]);
  rows.sort((a, b) => by.way * compare(a[0], b[0]));
  if (rows.some(([, row], index) => row !== body.rows[index])) body.append(...rows.map(([, row]) => row));
}

/** Gives the columns of all tables under `root` their buttons, and the rows their order. */
function dress(root) {
  for (const table of root.querySelectorAll("table[data-sort]")) {
    for (const head of table.tHead.rows[0].cells) {
      if (head.dataset.still !== undefined || head.querySelector("button")) continue;
      const button = root.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
    }
    order(table);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button.sort");
  if (!button) return;
  const head = button.closest("th");
  const table = head.closest("table");
  const column = head.cellIndex;
  const before = sorted.get(table.id);
  // Numbers are looked at from the largest on.
  const first = head.classList.contains("number") ? -1 : 1;
  sorted.set(table.id, { column, way: before?.column === column ? -before.way : first });
  holding(() => order(table));
});

// ---- putting a fresh page in place

/** Attributes that belong to whoever looks at the page. */
const THEIRS = new Set(["open", "aria-busy"]);

function put(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  // What is being filled in stays.
  if (old.matches("form.filter") || old.isEqualNode(fresh)) return;
  for (const { name, value } of [...fresh.attributes]) {
    if (!THEIRS.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!THEIRS.has(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  children(old, fresh);
}

const keyOf = (node) => node.dataset?.key ?? (node.id || undefined);

const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

/** Makes the children of `old` those of `fresh`: the same node for the same key, else for the same place. */
function children(old, fresh) {
  const staying = new Set([...fresh.childNodes].map(keyOf));
  const keyed = new Map();
  for (const child of [...old.childNodes]) {
    const key = keyOf(child);
    if (key === undefined) continue;
    if (staying.has(key) && !keyed.has(key)) keyed.set(key, child);
    else child.remove();
  }
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const key = keyOf(next);
    let match = key === undefined ? at : keyed.get(key);
    if (match && !alike(match, next)) match = undefined;
    if (!match) {
      old.insertBefore(document.importNode(next, true), at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else old.insertBefore(match, at);
    put(match, next);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

/** Does something to the page and gives the focus back if a move of its node took it. */
function holding(change) {
  const focused = document.activeElement;
  change();
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

// ---- asking again

/** Whether somebody has marked text, which a change would unmark. */
function marking() {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && main.contains(selection.anchorNode);
}

async function refresh() {
  const response = await fetch(location.href, {
    headers: { accept: "text/html" },
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  // Another version of the program has other assets.
  const script = (root) => root.querySelector("script[src]")?.getAttribute("src");
  if (script(fresh) !== script(document)) return location.reload();
  if (paused || marking()) return;
  dress(fresh);
  holding(() => {
    for (const id of ["pulse", "main", "footer"]) put(document.getElementById(id), fresh.getElementById(id));
  });
  document.title = fresh.title;
}

function say(text) {
  if (link.textContent !== text) link.textContent = text;
}

async function live() {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY));
    if (paused || document.hidden || marking()) continue;
    try {
      await refresh();
      say("");
    } catch {
      say("No answer: what is shown is old");
    }
  }
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Resume" : "Pause";
  pause.setAttribute("aria-pressed", String(paused));
});

dress(document);
live();
