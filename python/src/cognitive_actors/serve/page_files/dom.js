// Elements made without markup: what comes from the cluster is text, whatever it looks like.

const SVG = "http://www.w3.org/2000/svg";
const numbers = new Map();

/** An HTML element. children: elements, and strings that become text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An element of a drawing. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The element of an id of this page. */
export function at(id) {
  return document.getElementById(id);
}

/** Text where it is another: a screen reader is not told the same twice. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A number with so many digits behind the point, a dash for none. */
export function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  if (!numbers.has(digits)) {
    const shape = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    numbers.set(digits, new Intl.NumberFormat("en", shape));
  }
  return numbers.get(digits).format(value);
}

/** Rows of a list by key, kept where they are already there. make: returns {node, ...} for a key. */
export class Rows {
  constructor(list, make) {
    this.list = list;
    this.make = make;
    this.known = new Map();
  }

  /** The rows of these keys, in this order, and no others. */
  of(keys) {
    if (keys.length !== this.known.size || keys.some((key) => !this.known.has(key))) {
      this.known = new Map(keys.map((key) => [key, this.known.get(key) ?? this.make(key)]));
      this.list.replaceChildren(...[...this.known.values()].map((row) => row.node));
    }
    return keys.map((key) => this.known.get(key));
  }
}

/** A row of a list: a name, what is said of it, and drawings below. */
export function row(name, ...drawings) {
  const said = element("span", { class: "said" });
  const node = element("li", { class: "row", "data-key": name }, element("span", { class: "name" }, name), said);
  node.append(...drawings);
  return { node, said };
}
