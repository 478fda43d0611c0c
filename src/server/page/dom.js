// Builds and updates elements. All text is set as text, never as markup.

// element("td", {class: "n"}, "text", child)
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map(plain));
  return made;
}

// Without characters that reverse what is beside them: they could make one path look like another.
export function plain(text) {
  return typeof text === "string" ? text.replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (c) => (c === "\n" || c === "\t" ? c : "\ufffd")) : text;
}

// Sets text only if it differs, so that a selection and a screen reader's place stay.
export function setText(node, text) {
  const shown = plain(text);
  if (node.textContent !== shown) node.textContent = shown;
}

export function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

// A path that may break after a slash or an underscore, and never within a word, not even at a hyphen.
export function pathText(path) {
  const parts = document.createDocumentFragment();
  for (const part of path.split(/(?<=[/_])/)) parts.append(element("span", {}, part), document.createElement("wbr"));
  return parts;
}

// Makes the children of `parent` those of `items`, and keeps the elements of those that were there before.
export function sync(parent, items, keyOf, create, update) {
  const known = new Map([...parent.children].filter((c) => c.dataset.key !== undefined).map((c) => [c.dataset.key, c]));
  let at = [...parent.children].find((c) => c.dataset.key !== undefined) ?? null;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    if (child) known.delete(key);
    else {
      child = create(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const gone of known.values()) gone.remove();
}

// A table that is updated in place. `columns` are {head, class, cell(item) -> text or node, header}.
export class Table {
  constructor(place, caption, columns, { key, empty, detail = null }) {
    Object.assign(this, { columns, key, empty, detail, open: new Map() });
    const head = columns.map((c) => element("th", { scope: "col", role: "columnheader", class: c.class }, c.head));
    this.table = element(
      "table",
      { role: "table" },
      element("caption", { class: "unseen" }, caption),
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...head)),
    );
    this.nothing = element("p", { class: "empty" });
    place.replaceChildren(this.table, this.nothing);
  }

  show(items) {
    this.table.hidden = items.length === 0;
    this.nothing.hidden = items.length > 0;
    if (items.length === 0) this.empty(this.nothing);
    sync(this.table, items, this.key, (item) => this.create(item), (body, item) => this.update(body, item));
  }

  create() {
    const cells = this.columns.map((column) =>
      column.header
        ? element("th", { scope: "row", role: "rowheader", class: column.class })
        : element("td", { role: "cell", class: column.class, "data-label": column.head }),
    );
    return element("tbody", { role: "rowgroup" }, element("tr", { role: "row" }, ...cells));
  }

  update(body, item) {
    body.item = item;
    const cells = body.firstElementChild.children;
    this.columns.forEach((column, i) => {
      if (column.paint) column.paint(cells[i], item, this);
      else setText(cells[i], column.cell(item));
    });
    if (this.detail && this.open.has(body.dataset.key)) this.detail.update(this.open.get(body.dataset.key), item);
  }

  // Shows or hides the detail of a row.
  toggle(body, button) {
    const key = body.dataset.key;
    const shown = this.open.get(key);
    if (shown) {
      shown.closest("tr").remove();
      this.open.delete(key);
    } else {
      const cell = element("td", { colspan: this.columns.length, role: "cell" });
      body.append(element("tr", { class: "detail", role: "row" }, cell));
      this.open.set(key, cell);
      this.detail.create(cell, body.item);
      this.detail.update(cell, body.item);
    }
    button.setAttribute("aria-expanded", String(!shown));
  }
}
