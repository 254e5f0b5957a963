// Which cases match a search and facets, their counts, and their order. Pure: no document.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const FACETS = [
    { name: "model", title: "Model" },
    { name: "backend", title: "Backend" },
    { name: "precision", title: "Precision" },
    { name: "batch", title: "Batch" },
    { name: "device", title: "Device" },
    { name: "toolchain", title: "Toolchain" },
    { name: "status", title: "Status" },
    { name: "run", title: "Run" },
  ];
  const SEARCHED = ["label", "id", "device", "status", "failure", "warnings"];
  // What a facet calls a case without a value, as a size that a model does not have.
  const NOTHING = "none";

  class Filter {
    constructor(page) {
      const { cases, runs } = page;
      this.rows = cases.rows;
      this.cases = cases;
      const ids = runs.column("id");
      this.values = {};
      for (const { name } of FACETS) {
        this.values[name] = cases.column(name).map((value) => {
          if (name === "run") return ids[value];
          return value === null ? NOTHING : String(value);
        });
      }
      const texts = [...SEARCHED.map((name) => cases.column(name)), this.values.run];
      this.texts = Array.from({ length: this.rows }, (_, row) =>
        texts.map((column) => column[row] || "").join(" ").toLowerCase());
    }

    // `wanted` has a set of values for each facet in use, `search` is words that must all occur. Returns the rows in
    // their order, and for each facet how many rows each value would have beside the other facets.
    apply(wanted, search) {
      const words = (search || "").toLowerCase().split(/\s+/).filter(Boolean);
      const used = FACETS.filter(({ name }) => wanted[name] && wanted[name].size);
      const counts = {};
      for (const { name } of FACETS) counts[name] = new Map();
      const rows = [];
      for (let row = 0; row < this.rows; row += 1) {
        const text = this.texts[row];
        if (!words.every((word) => text.includes(word))) continue;
        let missed = null;
        let misses = 0;
        for (const { name } of used) {
          if (!wanted[name].has(this.values[name][row])) {
            missed = name;
            misses += 1;
            if (misses > 1) break;
          }
        }
        if (misses > 1) continue;
        if (misses === 0) rows.push(row);
        for (const { name } of FACETS) {
          if (misses === 1 && name !== missed) continue;
          const value = this.values[name][row];
          counts[name].set(value, (counts[name].get(value) || 0) + 1);
        }
      }
      return { rows, counts };
    }

    // All values of a facet in the order in which a reader looks for them.
    options(name) {
      const distinct = [...new Set(this.values[name])];
      const numeric = distinct.every((value) => value === NOTHING || value.trim() !== "" && !Number.isNaN(Number(value)));
      return numeric ? distinct.sort((a, b) => key(a) - key(b)) : distinct;
    }

    // The rows by a column; what has no value comes last in both directions, equals stay in the order of the plans.
    sort(rows, column, descending) {
      if (!column) return rows;
      const values = column === "run" ? this.values.run : this.cases.column(column);
      const sign = descending ? -1 : 1;
      return [...rows].sort((a, b) => {
        const x = values[a];
        const y = values[b];
        if (x === null || y === null || x === "" || y === "") {
          const empty = (value) => value === null || value === "";
          return empty(x) - empty(y) || a - b;
        }
        const order = typeof x === "number" && typeof y === "number" ? x - y : compare(String(x), String(y));
        return sign * order || a - b;
      });
    }
  }

  const key = (value) => (value === NOTHING ? Infinity : Number(value));
  const collator = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => collator.compare(a, b);

  Object.assign(app, { FACETS, Filter });
})(globalThis.trtbench);
