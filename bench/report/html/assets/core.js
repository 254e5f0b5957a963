// Elements, tables of columns, and how figures read. Nothing here knows a view.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  // ------------------------------------------------------------------------------------------------------ tables

  // A table of columns with its rows' values by name; columns are unpacked when they are first asked for.
  class Table {
    constructor(packed) {
      this.rows = packed ? packed.rows : 0;
      this.packed = packed ? packed.columns : {};
      this.unpacked = {};
      this.groups = {};
    }

    column(name) {
      if (!(name in this.unpacked)) this.unpacked[name] = unpack(this.packed[name], this.rows);
      return this.unpacked[name];
    }

    get(row, name) {
      return this.column(name)[row];
    }

    row(index) {
      const values = {};
      for (const name of Object.keys(this.packed)) values[name] = this.get(index, name);
      return values;
    }

    // The rows whose column has the value, in order.
    where(name, value) {
      if (!(name in this.groups)) {
        const groups = new Map();
        this.column(name).forEach((each, index) => {
          if (!groups.has(each)) groups.set(each, []);
          groups.get(each).push(index);
        });
        this.groups[name] = groups;
      }
      return this.groups[name].get(value) || [];
    }
  }

  function unpack(column, rows) {
    if (column === undefined) return new Array(rows).fill(null);
    if (Array.isArray(column)) return column;
    if ("same" in column) return new Array(rows).fill(column.same);
    return column.at.map((place) => column.of[place]);
  }

  // The numbers of [unit, first, step, step, ...].
  function fromSteps(steps) {
    if (!steps.length) return [];
    const [unit, first, ...rest] = steps;
    const values = [first];
    let place = 0;
    for (const step of rest) {
      place += step;
      values.push(first + place * unit);
    }
    return values;
  }

  const TABLES = [
    "machines", "runs", "cases", "times", "processes", "distributions", "phases", "outputs", "conditions", "notes",
    "case_notes", "left_out", "leaders", "findings", "profiles", "kernels", "layers", "copies",
  ];

  function open(data) {
    const page = { timelines: [], explanations: [], names: [], ...data };
    for (const name of TABLES) page[name] = new Table(data[name]);
    return page;
  }

  // ------------------------------------------------------------------------------------------------------ figures

  const NONE = "\u2013";

  // As bench.units: three significant digits, none behind the point if the whole part has as many.
  function digits(value) {
    if (value === 0) return "0";
    const exponent = Number(value.toExponential(2).split("e")[1]);
    return value.toFixed(Math.max(2 - exponent, 0));
  }

  function inUnit(value, steps) {
    for (let index = 0; index + 1 < steps.length; index += 1) {
      const [factor, unit] = steps[index];
      const text = digits(value / factor);
      if (Math.abs(Number(text)) * factor < steps[index + 1][0]) return `${text} ${unit}`;
    }
    const [factor, unit] = steps[steps.length - 1];
    return `${digits(value / factor)} ${unit}`;
  }

  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

  const time = (ns) =>
    isNumber(ns) ? inUnit(ns, [[1, "ns"], [1e3, "us"], [1e6, "ms"], [1e9, "s"]]) : NONE;

  const size = (bytes) =>
    isNumber(bytes) ? inUnit(bytes, [[1, "B"], [2 ** 10, "KiB"], [2 ** 20, "MiB"], [2 ** 30, "GiB"]]) : NONE;

  const count = (number) => (isNumber(number) ? number.toLocaleString("en-US") : NONE);

  function ratio(value) {
    if (!isNumber(value)) return NONE;
    if (value < 0.0995) return `${digits(value)}x`;
    return value < 99.5 ? `${value.toFixed(2)}x` : `${count(Math.round(value))}x`;
  }

  // A ratio's text without its interval, which is drawn beside it; one whose interval is unknown says so.
  const ratioInShort = (text) => (text.includes("±unknown") ? text.replace(/ [†‡]+$/, "") : text.split(" ")[0]);

  const small = (value) => (isNumber(value) ? (value === 0 ? "0" : value.toExponential(1)) : NONE);

  const plain = (value) => (isNumber(value) ? Number(value.toPrecision(4)).toLocaleString("en-US") : value || NONE);

  // "a", "a and b", "a, b and c".
  const listed = (texts) => (texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} and ${texts[texts.length - 1]}`);

  const plural = (number, noun) =>
    `${count(number)} ${number === 1 ? noun : noun + (noun.endsWith("s") ? "es" : "s")}`;

  const only = (values) => {
    const distinct = new Set(values.filter(Boolean));
    return distinct.size === 1 ? [...distinct][0] : null;
  };

  // What times and speeds of these cases are of, for the titles of their columns: null where that differs by row.
  function meaning(cases, rows) {
    const boundary = only(rows.map((row) => cases.get(row, "boundary")));
    const baseline = only(rows.map((row) => cases.get(row, "baseline")));
    return { boundary, baseline, time: boundary ? `time (${boundary})` : "time", speed: baseline ? `vs ${baseline}` : "vs baseline" };
  }

  // ----------------------------------------------------------------------------------------------------- elements

  // An element; texts become text nodes, so that nothing in the data is ever read as HTML.
  function h(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  function s(tag, attributes, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  }

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(3)) {
      if (child === null || child === undefined || child === false || child === "") continue;
      element.append(child);
    }
    return element;
  }

  // The hash of a commit, as in the name of a toolchain, by its first 12 digits.
  const shortened = (text) => String(text).replace(/\b([0-9a-f]{12})[0-9a-f]{28}\b/g, "$1");
  app.shortened = shortened;

  // A name with places at which a line may break, so that it never breaks within a word if it need not.
  function breakable(text) {
    return shortened(text).split(/(?<=[[,/=_:])/).flatMap((part, index) => (index ? [document.createElement("wbr"), part] : [part]));
  }

  // A cell of several parts as one, which a phone lays out beside its title.
  const boxed = (cell) => (Array.isArray(cell) ? h("span", null, cell) : cell);

  // Whether a cell says nothing, which a phone leaves out.
  const isBlank = (cell) => (Array.isArray(cell) ? cell.every(isBlank) : cell === null || cell === undefined || ["", "-", NONE].includes(cell));

  // A table of texts or elements: `columns` are {title, align, note}, `rows` arrays of cells.
  function grid(columns, rows, attributes) {
    const head = columns.map((column) =>
      h("th", { scope: "col", class: column.align === "right" ? "figure" : column.title && column.style !== "chart-cell" ? null : column.style, title: column.note }, column.title));
    const body = rows.map((cells) =>
      h("tr", { class: cells.style }, cells.map((cell, index) =>
        h(index === 0 ? "th" : "td", {
          scope: index === 0 ? "row" : null,
          class: columns[index].align === "right" ? "figure" : columns[index].style,
          "data-title": columns[index].title || null,
          "data-blank": isBlank(cell) || null,
        }, boxed(cell)))));
    const caption = attributes && attributes.caption;
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || "table" },
      h("table", { class: attributes && attributes.class },
        caption && h("caption", { class: "unseen" }, caption),
        h("thead", null, h("tr", null, head)),
        h("tbody", null, body)));
  }

  const MOST = 100; // rows of a table that is not filtered before a reader asks for more

  // A grid of rows that are made when they are drawn: the first ones, and all of them by a button.
  function longGrid(columns, count, rowOf, attributes) {
    const rows = (number) => Array.from({ length: number }, (_, index) => rowOf(index));
    const place = h("div", null, grid(columns, rows(Math.min(count, MOST)), attributes));
    if (count > MOST) {
      place.append(h("p", { class: "more" }, h("button", { type: "button", onclick: () => {
        place.replaceChildren(grid(columns, rows(count), attributes));
        place.firstChild.focus();
      } },
        `Show all ${count.toLocaleString("en-US")}`)));
    }
    return place;
  }

  Object.assign(app, {
    Table, open, fromSteps, time, size, count, ratio, ratioInShort, small, plain, listed, plural, isNumber, meaning, h, s, grid, longGrid, boxed, breakable, NONE,
  });
})(globalThis.trtbench);
