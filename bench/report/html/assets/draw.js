// Draws panels: a specification with its rows, domains and colours becomes a chart that Vega keeps.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h } = app;
  const SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"; // a name, which is never loaded

  // Colours are the page's own, by name: a chart follows light, dark and print without being drawn again.
  function configuration() {
    const text = { labelColor: "var(--soft)", titleColor: "var(--soft)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: 400 };
    return {
      aria: false, // the figure has a label, and the table has the figures
      background: "transparent",
      font: getComputedStyle(document.body).fontFamily,
      view: { stroke: null },
      axis: { ...text, gridColor: "var(--line)", domainColor: "var(--edge)", tickColor: "var(--edge)", titlePadding: 8 },
      axisY: { labelColor: "var(--text)" },
      text: { fontSize: 12 },
    };
  }

  const NARROW = 480; // pixels: below it names stand above their bars, not beside them
  const canvas = document.createElement("canvas").getContext("2d");
  function breadth(text) {
    canvas.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    return canvas.measureText(text).width;
  }
  const widest = (lines) => Math.ceil(Math.max(0, ...lines.map(breadth)));

  // The text in two lines of at most `room` pixels if one is too short, broken where a word or an option ends.
  function folded(text, room) {
    if (breadth(text) <= room) return text;
    const parts = text.split(/(?<=[\],[ /])/);
    let first = "";
    while (parts.length > 1 && breadth(first + parts[0]) <= room) first += parts.shift();
    return first ? `${first.trimEnd()}\n${parts.join("")}` : text;
  }

  // Folds names, so that no two that begin alike look the same; {narrow, room, labels (pixels), heightOf(rows)}.
  function namesOf(rows, width) {
    const narrow = width < NARROW;
    const room = narrow ? width : Math.floor(width * 0.44);
    for (const row of rows) {
      if (narrow && row.aside) row.name = `${row.name}, ${row.aside}`;
      row.name = row.name.includes("\n") && !narrow ? row.name : folded(row.name.replace("\n", ", "), room);
      if (narrow && row.short) row.figure = row.short;
    }
    const double = rows.some((row) => row.name.includes("\n"));
    const labels = narrow ? 0 : Math.min(widest(rows.flatMap((row) => row.name.split("\n"))) + 2, room);
    const line = (narrow ? 40 : 22) + (double ? 14 : 0);
    return { narrow, room, labels, double, line, heightOf: (some) => app.distinct(some, "name").length * line };
  }

  // What stands for the names' axis, and for lines that would run through names above their bars.
  const nameValues = (names) => ({ "@names": nameAxis(names), "@grid": !names.narrow, "@line": names.narrow ? 18 : names.line });

  function nameAxis({ narrow, room, labels, double }) {
    const isDouble = { test: "indexof(datum.label, '\\n') >= 0", value: "bottom" };
    const axis = { labelExpr: "split(datum.label, '\\n')", labelLimit: room, domain: false, ticks: false, grid: false };
    if (!narrow) return { ...axis, labelPadding: 8, minExtent: labels, labelBaseline: { condition: isDouble, value: "middle" } };
    return { ...axis, labelAlign: "left", labelPadding: 0, labelOffset: double ? -24 : -15, minExtent: 0, maxExtent: 0, labelBaseline: { condition: isDouble, value: "middle" } };
  }

  // A specification with each "@name" replaced by its value.
  function filled(spec, values) {
    if (Array.isArray(spec)) return spec.map((each) => filled(each, values));
    if (spec && typeof spec === "object") return Object.fromEntries(Object.entries(spec).map(([name, value]) => [name, filled(value, values)]));
    return typeof spec === "string" && spec.startsWith("@") && spec in values ? values[spec] : spec;
  }

  function colorBy(by, rows, hues) {
    const number = app.BY.find((each) => each.name === by && each.form);
    if (!number) return { field: "hue", type: "nominal", legend: null, scale: { domain: hues.map((hue) => hue.name), range: hues.map((hue) => hue.color) } };
    const values = rows.filter((row) => row.sound).map((row) => row[by]).filter((value) => app.isNumber(value) && (!number.log || value > 0));
    if (!values.length) return { value: "var(--soft)" };
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const place = (value) => (number.log ? `log(${value})` : value);
    const part = low < high ? `(${place(`datum['${by}']`)} - ${place(low)}) / (${place(high)} - ${place(low)})` : "1";
    // Mixed by the browser, so that it follows the theme without being drawn again.
    const expr = `'color-mix(in srgb, var(--ramp-high) ' + format(100 * clamp(${part}, 0, 1), '.1f') + '%, var(--ramp-low))'`;
    return { condition: { test: `isValid(datum['${by}'])`, value: { expr } }, value: "var(--edge)" };
  }

  // The lines of the roofline over the whole width, one for each precision of the panel.
  function ceilings(rows, { x0, x1 }) {
    const seen = new Map();
    for (const row of rows) if (!seen.has(row.hue)) seen.set(row.hue, row);
    const lines = [];
    for (const [hue, { peak, copy }] of seen) {
      const ridge = peak / copy;
      const at = [x0, ridge, x1].filter((x) => x >= x0 && x <= x1).sort((a, b) => a - b);
      for (const x of new Set(at)) {
        lines.push({ hue, intensity: x, achieved: Math.min(peak, x * copy) });
      }
      Object.assign(lines[lines.length - 1], { text: "peak", figure: `${hue} ${app.flops(peak)}` });
    }
    if (lines.length && lines[1].achieved > lines[0].achieved) {
      Object.assign(lines[0], { text: "copy", figure: `copy ${app.bandwidth(rows[0].copy)}` });
    }
    return lines;
  }

  // What "@..." stands for in all panels of a plot.
  function common(rows, hues, by) {
    const precisions = app.distinct(rows, "precision");
    const shaped = app.distinct(rows, "form");
    const ticks = Object.fromEntries(Object.entries(app.TICKS).map(([name, text]) => [`@${name}`, text]));
    return {
      ...ticks,
      "@hues": hues.map((hue) => hue.name),
      "@colors": hues.map((hue) => hue.color),
      "@color": colorBy(by, rows, hues),
      "@dashed": precisions,
      "@dashes": precisions.map((_, index) => app.DASHES[index % app.DASHES.length]),
      "@shaped": shaped,
      "@shapes": shaped.map((_, index) => app.SHAPES[index % app.SHAPES.length]),
    };
  }

  // Scales and ticks of the axes that have a domain.
  function axes(plot, { x0, x1, y0, y1 }, width) {
    const log = !(plot.id in app.STACKS) && plot.id !== "history";
    const most = Math.max(3, Math.round(width / 70));
    const scale = (low, high) => ({ type: log ? "log" : "linear", domain: [low, high], nice: false, ...(log ? {} : { zero: false }) });
    const ticks = log ? app.logTicks : app.ticks;
    return {
      "@x": x1 ? scale(x0, x1) : {},
      "@xticks": x1 ? ticks(x0, x1, most) : [],
      "@y": y1 ? scale(y0, y1) : {},
      "@yticks": y1 ? ticks(y0, y1, plot.id === "history" ? 4 : 10) : [],
    };
  }

  // So much more of the axis that a figure fits right of the longest bar.
  function stretched(plot, domain, rows, width, narrow) {
    const figures = rows.map((row) => row.figure).filter(Boolean);
    if (!figures.length || (plot.id !== "speed" && !(plot.id in app.STACKS))) return domain;
    const beside = narrow ? 32 : 12; // the tick's label left of the bars, and a scrollbar that comes later
    const more = width / Math.max(width - widest(figures) - beside, width * 0.4);
    const { x0, x1 } = domain;
    return { ...domain, x1: plot.id in app.STACKS ? x1 * more : x0 * (x1 / x0) ** more };
  }

  // A function that draws one panel into an element, for the panels of one plot.
  function drawer(plot, page, rows, hues, by) {
    const shared = app.SHARED.has(plot.id) && app.domains(plot, rows);
    const named = "y" in (plot.spec.encoding || {});
    const values = common(rows, hues, by);
    let names = null;
    return async (panel, element) => {
      const width = element.clientWidth;
      if (named && !names) names = namesOf(rows, width); // of all panels, so that their axes stand in one line
      const labels = names ? names.labels : 0;
      const own = {};
      const domain = stretched(plot, shared || app.domains(plot, panel.rows), shared ? rows : panel.rows, width - labels, names && names.narrow);
      if (plot.id === "roof") {
        own["@ceilings"] = ceilings(panel.rows, domain);
        for (const line of own["@ceilings"]) domain.y1 = Math.max(domain.y1, line.achieved * 1.6);
      }
      for (const row of panel.rows) [row.x0, row.x1] = [domain.x0, domain.x1];
      const spec = {
        $schema: SCHEMA,
        width: "container",
        autosize: { type: "fit-x", contains: "padding" },
        padding: { left: 0, right: 4, top: 2, bottom: 2 },
        ...(named ? { height: names.heightOf(panel.rows) } : {}),
        ...filled(plot.spec, { ...values, ...(names && nameValues(names)), ...axes(plot, domain, width - labels), ...own, ...panel.own }),
        data: { values: panel.rows }, // whose texts may begin with "@"
        config: configuration(),
      };
      try {
        const result = await globalThis.vegaEmbed(element, spec, {
          ast: true, actions: false, renderer: "svg", tooltip: { theme: "page" },
        });
        element.querySelector("svg").setAttribute("aria-hidden", "true");
        result.view.addEventListener("click", (event, item) => {
          if (item && item.datum && typeof item.datum.case === "number") location.hash = app.caseAddress(page, item.datum.case);
        });
        app.onLeave(() => result.finalize());
      } catch (error) {
        element.replaceChildren(h("p", { class: "empty" }, `This chart cannot be drawn here (${error.message}); its table is below.`));
      }
    };
  }

  Object.assign(app, { drawer });
})(globalThis.trtbench);
