// The page's scripts that need no document, under Node: node --test tests/report/html
"use strict";

const assert = require("node:assert");
const path = require("node:path");
const { test } = require("node:test");

const ASSETS = path.join(__dirname, "..", "..", "..", "bench", "report", "html", "assets");
for (const name of ["core", "filter", "route", "copy", "marks", "charts", "timeline"]) require(path.join(ASSETS, `${name}.js`));
const app = globalThis.trtbench;

const page = app.open({
  runs: { rows: 2, columns: { id: ["new", "old"] } },
  cases: {
    rows: 5,
    columns: {
      run: [0, 0, 0, 1, 1],
      id: ["a", "b", "c", "d", "e"],
      label: ["net/eager", "net/aoti", "bert/eager", "bert/Aoti/graph", "dla34/eager"],
      model: { of: ["net", "bert", "dla34"], at: [0, 0, 1, 1, 2] },
      backend: { of: ["eager", "aoti"], at: [0, 1, 0, 1, 0] },
      precision: { same: "fp16" },
      batch: [1, 32, 8, null, 16],
      time: [3, 1, null, 2, 2],
      device: { same: "GPU" },
      toolchain: { same: "default" },
      status: ["ok", "fastest", "failed", "ok", "ok"],
      warnings: { same: "" },
      failure: [null, null, "OutOfMemory in load", null, null],
    },
  },
});
const filter = new app.Filter(page);
const only = (facets) => Object.fromEntries(Object.entries(facets).map(([name, values]) => [name, new Set(values)]));

test("columns of all three forms are unpacked", () => {
  assert.deepStrictEqual(page.cases.column("model"), ["net", "net", "bert", "bert", "dla34"]);
  assert.deepStrictEqual(page.cases.column("precision"), Array(5).fill("fp16"));
  assert.deepStrictEqual(page.cases.column("no such"), Array(5).fill(null));
  assert.deepStrictEqual(page.cases.where("model", "bert"), [2, 3]);
  assert.deepStrictEqual(page.cases.where("model", "none"), []);
});

test("titles of times and speeds say what they are of, where all rows have the same", () => {
  const { cases } = app.open({ cases: { rows: 4, columns: { boundary: ["gpu", "gpu", "latency", null], baseline: ["eager", null, "aoti", null] } } });
  const titles = (rows) => { const { time, speed } = app.meaning(cases, rows); return [time, speed]; };
  assert.deepStrictEqual(titles([0, 1, 3]), ["time (gpu)", "vs eager"]);
  assert.deepStrictEqual(titles([0, 2]), ["time", "vs baseline"]);
  assert.deepStrictEqual(titles([3]), ["time", "vs baseline"]);
});

test("steps are numbers again", () => {
  assert.deepStrictEqual(app.fromSteps([10, 100, 0, 2, 5]), [100, 100, 120, 170]);
  assert.deepStrictEqual(app.fromSteps([]), []);
});

test("values of one facet are alternatives, facets must all match", () => {
  assert.deepStrictEqual(filter.apply({}, "").rows, [0, 1, 2, 3, 4]);
  assert.deepStrictEqual(filter.apply(only({ model: ["net", "bert"] }), "").rows, [0, 1, 2, 3]);
  assert.deepStrictEqual(filter.apply(only({ model: ["net", "bert"], backend: ["aoti"] }), "").rows, [1, 3]);
  assert.deepStrictEqual(filter.apply(only({ run: ["old"] }), "").rows, [3, 4]);
  assert.deepStrictEqual(filter.apply(only({ batch: ["none"] }), "").rows, [3]);
});

test("a facet counts what its values would have beside the other facets", () => {
  const { counts } = filter.apply(only({ model: ["net"], backend: ["aoti"] }), "");
  assert.deepStrictEqual([...counts.model], [["net", 1], ["bert", 1]]);
  assert.deepStrictEqual([...counts.backend], [["eager", 1], ["aoti", 1]]);
});

test("words of a search must all occur, in any case", () => {
  assert.deepStrictEqual(filter.apply({}, "AOTI bert").rows, [3]);
  assert.deepStrictEqual(filter.apply({}, "outofmemory").rows, [2]);
  assert.deepStrictEqual(filter.apply({}, "new eager").rows, [0, 2]);
  assert.deepStrictEqual(filter.apply({}, "<img>").rows, []);
});

test("sizes are in the order of numbers, and what has none comes last", () => {
  assert.deepStrictEqual(filter.options("batch"), ["1", "8", "16", "32", "none"]);
  assert.deepStrictEqual(filter.options("model"), ["net", "bert", "dla34"]);
  assert.deepStrictEqual(filter.sort([0, 1, 2, 3, 4], "time", false), [1, 3, 4, 0, 2]);
  assert.deepStrictEqual(filter.sort([0, 1, 2, 3, 4], "time", true), [0, 3, 4, 1, 2]);
  assert.deepStrictEqual(filter.sort([2, 0], "", false), [2, 0]);
});

test("addresses come back as they were written", () => {
  const state = { facets: only({ model: ["a/b & c=d?", "</script>"], backend: ["x[y=1,z]"] }), search: "fp16 +1%", sort: "speed", descending: true };
  const hash = app.address("cases", [], app.toQuery(state));
  const again = app.toState(app.parse(hash).query);
  assert.deepStrictEqual(again, state);
  assert.deepStrictEqual(app.parse(app.address("case", ["run/1", "id?"])), { view: "case", path: ["run/1", "id?"], query: [] });
});

test("addresses that nobody wrote are the overview, or as good as can be read", () => {
  for (const hash of ["", "#", "#/", "#/nowhere", "#top", "#/%E0%A4%A"]) assert.strictEqual(app.parse(hash).view, "overview");
  assert.deepStrictEqual(app.toState(app.parse("#/cases?model=%E0%A4%A&no=1&q").query), {
    facets: only({ model: ["%E0%A4%A"] }), search: "", sort: "", descending: false,
  });
});

test("Markdown has no cell that breaks the table", () => {
  const text = app.markdown([{ title: "case" }, { title: "time", align: "right" }], [["a|b\n<i>", "1 ms"]]);
  assert.strictEqual(text, "| case | time |\n|---|--:|\n| a\\|b &lt;i> | 1 ms |\n");
});

test("CSV is quoted, and no text is a formula", () => {
  assert.strictEqual(app.csv(["a", "b"], [["x,\"y\"", -1.5], ["=1+1", null], ["-2", true]]), "a,b\n\"x,\"\"y\"\"\",-1.5\n'=1+1,\n'-2,true\n");
});

test("figures read as in the terminal", () => {
  const figures = [[0, "0 ns"], [999.6, "1.00 us"], [1234567, "1.23 ms"], [12.345e9, "12.3 s"], [999, "999 ns"], [null, "\u2013"]];
  for (const [ns, text] of figures) assert.strictEqual(app.time(ns), text);
  assert.strictEqual(app.size(98000000), "93.5 MiB");
  assert.strictEqual(app.ratio(1.234), "1.23x");
  assert.strictEqual(app.ratio(0.05), "0.0500x");
  assert.strictEqual(app.ratio(1234.5), "1,235x");
  const short = { "1.53x ±2.3% ‡": "1.53x", "3.67x [1.50, 9.00]": "3.67x", "474x ±unknown ‡": "474x ±unknown", "undecided [0.34, 1.47]": "undecided", baseline: "baseline" };
  for (const [text, shown] of Object.entries(short)) assert.strictEqual(app.ratioInShort(text), shown);
  assert.strictEqual(app.plural(2, "process"), "2 processes");
});

test("ticks of a chart are round, even where it spans little and decades where it spans much", () => {
  assert.deepStrictEqual(app.logTicks(0.9, 3.2, 5), [1, 1.5, 2, 2.5, 3]);
  assert.deepStrictEqual(app.logTicks(300, 12_000, 10), [500, 1_000, 2_000, 5_000, 10_000]);
  assert.deepStrictEqual(app.logTicks(2, 3e6, 6), [10, 100, 1_000, 10_000, 100_000, 1_000_000]);
  assert.deepStrictEqual(app.logTicks(0.93, 1.05, 4).map((tick) => tick.toFixed(2)), ["0.95", "1.00", "1.05"]);
});

const bar = (fields) => ({ run: 0, line: 0, model: "net", sizes: "batch=1", backend: "eager", precision: "fp16", status: "ok", ...fields });

test("each model and size has a panel, with its run only where there are several", () => {
  const rows = [bar({}), bar({ backend: "aoti" }), bar({ sizes: "batch=8, seq=128" })];
  const titles = (plot, those) => app.panelsOf(plot, page, those).map((panel) => panel.title);
  assert.deepStrictEqual(titles({ panel: "size" }, rows), [["net", "batch=1"], ["net", "batch=8, seq=128"]]);
  assert.deepStrictEqual(titles({ panel: "model" }, rows), [["net"], ["net", "seq=128"]]);
  assert.deepStrictEqual(titles({ panel: "model" }, [bar({}), bar({ run: 1 })]), [["net", "new"], ["net", "old"]]);
});

test("what is rare shares a colour, and options share their backend's where there are too many", () => {
  const rows = Array.from({ length: 30 }, (_, n) => bar({ backend: n < 9 ? `b${n}` : "b0" }));
  const hues = app.huesOf({ id: "batch" }, rows, "backend");
  assert.deepStrictEqual(hues.map(({ name }) => name), ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "other"]);
  assert.strictEqual(rows[8].hue, "other");
  const options = Array.from({ length: 9 }, (_, n) => bar({ backend: `inductor[mode=${n}]` }));
  assert.deepStrictEqual(app.huesOf({ id: "batch" }, options, "backend").map(({ name }) => name), ["inductor"]);
  assert.strictEqual(new Set(hues.map(({ color }) => color)).size, 8);
});

const traced = app.open({
  names: ["outer", "inner", "kernel </script>", "net.layer"],
  timelines: [[
    { title: "modules", kind: "module", left: 2, events: { rows: 3, columns: { start: [10, 5, 30], ns: [40, 10, 20], name: [0, 1, 1], kind: { same: "module" } } } },
    { title: "stream 7", kind: "stream", left: 0, events: { rows: 1, columns: { start: [60], ns: [25], name: [2], kind: { same: "kernel" }, module: [3], delay: [12] } } },
  ]],
});

test("lanes have their events' times, texts, and rows by what lies within what", () => {
  const [modules, stream] = app.lanesOf(traced, 0);
  assert.deepStrictEqual(modules.events.map(({ start, end, row, name }) => [start, end, row, name]), [[10, 50, 0, "outer"], [15, 25, 1, "inner"], [45, 65, 1, "inner"]]);
  assert.deepStrictEqual([modules.depth, modules.left, stream.depth], [2, 2, 1]);
  assert.deepStrictEqual(stream.events[0], { start: 60, end: 85, name: "kernel </script>", kind: "kernel", module: "net.layer", delay: 12, row: 0 });
  assert.deepStrictEqual(app.lanesOf(traced, 1), []);
});

test("events too short to be seen are one mark, and apart after a zoom", () => {
  const events = Array.from({ length: 100 }, (_, n) => ({ start: 2 * n, end: 2 * n + 1, row: 0, kind: "kernel" }));
  const far = app.marksOf([...events, { start: 300, end: 900, row: 0, kind: "kernel" }], 0, 1000, 100);
  assert.strictEqual(far.reduce((sum, mark) => sum + mark.events.length, 0), 101);
  assert.ok(far.length < 10);
  assert.deepStrictEqual([far.at(-1).x, far.at(-1).width], [30, 60]);
  assert.strictEqual(app.marksOf(events, 0, 20, 100).length, 11);
});

test("a view never leaves the inference", () => {
  const whole = [0, 1000];
  assert.deepStrictEqual(app.zoomed(whole, whole, 0.5, 0.5), [250, 750]);
  assert.deepStrictEqual(app.zoomed([0, 100], whole, 2, 0.5), [0, 200]);
  assert.deepStrictEqual(app.zoomed([0, 1000], whole, 2, 0.5), whole);
  assert.deepStrictEqual(app.moved([250, 750], whole, 1), [500, 1000]);
  assert.deepStrictEqual(app.span([500, 1000], whole, 0.5, 0.25), [625, 750]);
});

test("a hash of 40 digits is shown by its first 12, and other texts as they are", () => {
  const hash = "72397d5c0cf55b7cceaf7651f7a21607bd06bf5b";
  assert.strictEqual(app.shortened(`net/eager/fp32/@${hash}`), "net/eager/fp32/@72397d5c0cf5");
  assert.strictEqual(app.shortened(`${hash} and ${hash}`), "72397d5c0cf5 and 72397d5c0cf5");
  for (const text of ["net/eager", hash.slice(1), `${hash}0`, ""]) assert.strictEqual(app.shortened(text), text);
});
