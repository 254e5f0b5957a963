// Charts by Vega-Lite: the rows of a plot, their division into panels, and what a screen and a filter decide.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h, s } = app;
  const FROM_CASE = [
    "run", "machine", "model", "backend", "precision", "sizes", "batch", "setting", "device", "toolchain", "status", "label",
    "time", "time_low", "time_high", "time_text", "speed", "speed_low", "speed_high", "speed_text", "against", "rate",
    "rate_text", "accuracy", "rel_l2", "memory", "memory_text", "energy", "energy_text", "light", "light_text", "bound",
    "processes", "boundary",
  ];
  const WRONG = { inaccurate: "\u2260", varies: "\u223f" };
  const MOST_HUES = 7; // colours that can be told apart; what is rarer shares one
  const OTHER = "other";
  // What bars are stacked of, in order, with their colours.
  const STACKS = {
    start: { "export": "--step1", "compile or build": "--step2", "import": "--step3", "load": "--step4", "first call": "--step5" },
    waterfall: {
      kernels: "--s1", copies: "--s3", launch: "--s2", wait: "--s4", tail: "--s7", operators: "--s1", threads: "--s3", python: "--s5",
      unexplained: "--soft",
    },
  };
  const DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3]];
  const SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left", "triangle-right"];

  // ------------------------------------------------------------------------------------------------------------ texts

  const inSteps = (value, steps, unit) => {
    if (!app.isNumber(value)) return app.NONE;
    const [factor, prefix] = steps.find(([each]) => Math.abs(value) >= each) || steps[steps.length - 1];
    return `${Number((value / factor).toPrecision(3))} ${prefix}${unit}`;
  };
  const DECIMAL = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
  const flops = (value) => inSteps(value, DECIMAL, "FLOP/s");
  const bandwidth = (value) => inSteps(value, DECIMAL, "B/s");
  const energy = (joules) => (joules >= 1 ? inSteps(joules, [[1, ""]], "J") : inSteps(joules * 1e3, [[1, ""]], "mJ"));
  const share = (value) => (app.isNumber(value) ? `${(value * 100).toFixed(value < 0.0995 ? 1 : 0)}%` : app.NONE);
  const many = (value) => (app.isNumber(value) ? (value < 100 ? app.plain(value) : app.count(Math.round(value))) : app.NONE);
  const FORMS = {
    time: app.time, size: app.size, ratio: app.ratio, small: app.small, count: many, plain: app.plain, flops, share,
    energy: (value) => (app.isNumber(value) ? energy(value) : app.NONE),
    when: (value) => app.when(value),
    yes: (value) => (value ? "yes" : ""),
  };

  // How ticks read, in Vega's expressions: "@time" in a specification stands for TICKS.time.
  const unitTicks = (steps) => {
    const [[factor, unit], ...rest] = steps;
    const text = `format(datum.value / ${factor}, '~r') + '${unit}'`;
    return rest.length ? `datum.value >= ${factor} ? ${text} : ${unitTicks(rest)}` : text;
  };
  const TICKS = {
    time: `datum.value === 0 ? '0' : ${unitTicks([[1e9, " s"], [1e6, " ms"], [1e3, " us"], [1, " ns"]])}`,
    rate: unitTicks([[1e6, "M"], [1e3, "k"], [1, ""]]),
    count: "format(datum.value, ',~r')",
    ratio: "format(datum.value, '~r') + 'x'",
    flops: unitTicks([[1e15, " PFLOP/s"], [1e12, " TFLOP/s"], [1e9, " GFLOP/s"], [1e6, " MFLOP/s"], [1, " FLOP/s"]]),
    when: "split(split(datum.label, '#')[0], ' ')",
  };

  // ------------------------------------------------------------------------------------------------------------- rows

  // The rows of a plot as objects, of the cases in `matches` (a set of places; null for all).
  function plotRows(plot, page, matches) {
    const table = new app.Table(plot.rows);
    const names = Object.keys(plot.rows.columns);
    const rows = [];
    for (let index = 0; index < table.rows; index += 1) {
      const place = table.get(index, "case");
      if (matches && !matches.has(place) && !matches.has(table.get(index, "other"))) continue;
      const row = {};
      for (const name of FROM_CASE) row[name] = page.cases.get(place, name);
      for (const name of names) {
        const value = table.get(index, name);
        if (value !== null || !(name in row)) row[name] = value;
      }
      row.created = page.runs.get(row.run, "created");
      rows.push(complete(row));
    }
    return rows;
  }

  const choiceOf = (row) => app.shortened([row.backend, row.precision, row.setting].filter(Boolean).join(" "));
  const otherSizes = (row) => (row.sizes || "").split(", ").filter((part) => part && !part.startsWith("batch=")).join(", ");

  function complete(row) {
    row.sound = !(row.status in WRONG);
    row.choice = choiceOf(row);
    row.name = row.sound ? row.choice : `${row.choice} ${WRONG[row.status]}`;
    row.error_text = app.small(row.rel_l2);
    return row;
  }

  // What has a panel of its own, and what the panel is called.
  const PANELS = {
    size: (row) => [row.model, row.sizes],
    model: (row) => [row.model, otherSizes(row)],
    run: (row, page) => [row.device, page.runs.get(row.run, "id")],
    pair: (row) => [`${row.side} against ${row.base}`],
    case: (row) => [row.label],
  };

  // [{title, rows}] in the order of the plans; the run is named where several are shown.
  function panelsOf(plot, page, rows) {
    const apart = plot.panel === "size" || plot.panel === "model";
    const several = apart && new Set(rows.map((row) => row.run)).size > 1;
    const devices = new Set(rows.map((row) => row.device)).size > 1;
    const groups = new Map();
    for (const row of rows) {
      const parts = PANELS[plot.panel](row, page).filter(Boolean);
      if (several) parts.push(page.runs.get(row.run, "id"));
      if (plot.panel === "case" && devices) parts.push(row.device);
      const key = plot.panel === "case" ? `${row.line}` : parts.join("\n");
      if (!groups.has(key)) groups.set(key, { title: parts, rows: [] });
      groups.get(key).rows.push(row);
    }
    return [...groups.values()];
  }

  // ----------------------------------------------------------------------------------------- what each plot adds to it

  const down = (name) => (a, b) => b[name] - a[name];
  const up = (name) => (a, b) => a[name] - b[name];

  // Names are the places of rows on an axis: no two may be equal.
  function distinctNames(rows) {
    const seen = new Map();
    for (const row of rows) {
      const number = (seen.get(row.name) || 0) + 1;
      seen.set(row.name, number);
      if (number > 1) row.name = `${row.name} (${number})`;
    }
  }

  const ARRANGE = {
    speed(panel) {
      panel.rows.sort(down("speed"));
      distinctNames(panel.rows);
      for (const row of panel.rows) {
        row.end = Math.max(1, row.speed, row.speed_high || 0);
        row.short = app.ratioInShort(row.speed_text);
        row.aside = app.time(row.time); // above the bar, where there is no room beside it
        row.figure = `${row.short}, ${row.aside}`;
      }
    },
    trade(panel) {
      const best = panel.rows.filter((row) => row.front).sort(up("latency"));
      best.forEach((row, index) => {
        row.number = String(index + 1);
        // Neighbours often lie close together.
        row.side = index && index === best.length - 1 ? "right" : index % 2 ? "below" : "above";
      });
      for (const row of panel.rows) row.form = row.precision;
      panel.list = best.map((row) => [row, `${app.time(row.latency)}, ${many(row.rate)} /s`]);
    },
    batch(panel) {
      const batches = [...new Set(panel.rows.map((row) => row.batch))].sort((a, b) => a - b);
      const least = panel.rows.filter((row) => row.batch === batches[0]);
      const from = Math.max(...least.map((row) => row.rate));
      for (const row of panel.rows) row.gain_text = app.ratio(row.gain);
      panel.own = { "@batches": batches, "@guide": batches.map((batch) => ({ batch, rate: (from * batch) / batches[0] })) };
    },
    start: stacks,
    waterfall: stacks,
    roof(panel) {
      for (const row of panel.rows) {
        row.form = row.model;
        row.achieved_text = flops(row.achieved);
        row.roof_text = flops(row.roof);
      }
    },
    machines: ratios,
    toolchains: ratios,
    history(panel) {
      panel.rows.sort((a, b) => (a.created < b.created ? -1 : a.created > b.created ? 1 : 0));
      for (const row of panel.rows) {
        row.created_text = app.when(row.created);
        // Two runs of one minute have a place each.
        row.created = `${row.created.slice(0, 10)} ${row.created.slice(11, 16)}#${row.run}`;
      }
    },
  };

  // A bar for each case, of its rows; the shortest first.
  function stacks(panel) {
    const byCase = new Map();
    for (const row of panel.rows) {
      if (!byCase.has(row.case)) byCase.set(row.case, []);
      byCase.get(row.case).push(row);
    }
    const groups = [...byCase.values()].sort((a, b) => a[0].total - b[0].total);
    const heads = groups.map((rows) => rows[0]);
    distinctNames(heads);
    const order = [...Object.keys(STACKS.start), ...Object.keys(STACKS.waterfall)];
    for (const rows of groups) {
      rows.forEach((row, index) => {
        row.name = rows[0].name;
        row.rank = order.indexOf(row.step);
        row.last = index === 0;
        row.figure = app.time(row.total) + (row.beside ? " +" : "");
        row.ns_text = app.time(row.ns);
        row.share_text = share(row.share);
        row.total_text = app.time(row.total) + (row.beside ? `, without ${row.beside}` : "");
        row.source_text = row.source === "cache" ? "before, from a cache" : "in this run";
      });
    }
    panel.rows = groups.flat();
  }

  function ratios(panel) {
    panel.rows.sort(down("ratio"));
    for (const row of panel.rows) row.name = `${row.choice}\n${[row.model, row.sizes].filter(Boolean).join(" ")}`;
    distinctNames(panel.rows);
    for (const row of panel.rows) {
      row.end = Math.max(row.ratio, row.ratio_high || 0);
      row.figure = app.ratio(row.ratio);
      row.ratio_text = app.ratio(row.ratio) + (app.isNumber(row.ratio_low) ? ` [${app.ratio(row.ratio_low)}, ${app.ratio(row.ratio_high)}]` : "");
    }
  }

  // ---------------------------------------------------------------------------------------------------------- colours

  const HUE = {
    trade: (row, by) => String(row[by] === null ? "none" : row[by]),
    batch: (row) => row.backend,
    start: (row) => row.step,
    waterfall: (row) => row.step,
    roof: (row) => row.precision,
  };
  // What the points of the trade-off may be coloured by; numbers get a scale from pale to deep.
  const BY = [
    { name: "backend", title: "backend" },
    { name: "precision", title: "precision" },
    { name: "batch", title: "batch" },
    { name: "rel_l2", title: "relative error", form: "small", log: true },
    { name: "memory", title: "memory", form: "size" },
    { name: "energy", title: "energy per inference", form: "energy" },
  ];

  const seriesColors = () => Array.from({ length: MOST_HUES }, (_, index) => `var(--s${index + 1})`);

  // The names that get a colour, with it: the commonest, in the order in which they first appear; steps in theirs.
  function huesOf(plot, rows, by) {
    if (!HUE[plot.id]) return [];
    const counts = new Map();
    const backends = plot.id === "batch" || (plot.id === "trade" && by === "backend");
    const many = backends && distinct(rows, "backend").length > MOST_HUES; // then options share a colour
    for (const row of rows) {
      row.hue = HUE[plot.id](row, by);
      if (many) [row.hue] = row.hue.split("[");
      counts.set(row.hue, (counts.get(row.hue) || 0) + 1);
    }
    const stack = STACKS[plot.id];
    if (stack) return Object.keys(stack).filter((step) => counts.has(step)).map((name) => ({ name, color: `var(${stack[name]})` }));
    let names = [...counts.keys()];
    if (names.every((name) => name.trim() !== "" && !Number.isNaN(Number(name)))) names.sort((a, b) => a - b);
    if (names.length > MOST_HUES) {
      const common = new Set([...counts].sort((a, b) => b[1] - a[1]).slice(0, MOST_HUES).map(([name]) => name));
      for (const row of rows) if (!common.has(row.hue)) row.hue = OTHER;
      names = [...names.filter((name) => common.has(name)), OTHER];
    }
    const colors = seriesColors();
    return names.map((name, index) => ({ name, color: name === OTHER && index >= MOST_HUES ? "var(--soft)" : colors[index] }));
  }

  const distinct = (rows, name) => [...new Set(rows.map((row) => row[name]))];

  function swatch(kind, color, detail) {
    const mark = {
      box: () => s("rect", { x: 1, y: 2, width: 14, height: 10, rx: 2, style: `fill:${color}`, opacity: detail }),
      line: () => s("line", { x1: 0, x2: 22, y1: 7, y2: 7, style: `stroke:${color}`, "stroke-width": 2, "stroke-dasharray": detail.join(" ") }),
      shape: () => s("path", { d: detail, transform: "translate(8 7)", style: `fill:${color}` }),
      hollow: () => s("rect", { x: 1, y: 2, width: 14, height: 10, style: `fill:none;stroke:${color}`, "stroke-dasharray": "3 2" }),
      cross: () => s("path", { d: "M3 2L13 12M13 2L3 12", style: `fill:none;stroke:${color}`, "stroke-width": 1.6 }),
      dot: () => s("circle", { cx: 8, cy: 7, r: 4, style: `stroke:${color};fill:${detail}`, "stroke-width": 1.6 }),
    };
    return s("svg", { class: "swatch", width: kind === "line" ? 22 : 16, height: 14, "aria-hidden": "true" }, mark[kind]());
  }

  const PATHS = {
    circle: "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5Z", square: "M-4.4-4.4H4.4V4.4H-4.4Z", "triangle-up": "M0-5L5 4H-5Z",
    diamond: "M0-6L5 0L0 6L-5 0Z", "triangle-down": "M0 5L5-4H-5Z", cross: "M-2-5H2V-2H5V2H2V5H-2V2H-5V-2H-2Z",
    "triangle-left": "M-5 0L4-5V5Z", "triangle-right": "M5 0L-4-5V5Z",
  };

  // What colours, dashes and shapes stand for, above all panels as they share it.
  function keyOf(plot, rows, hues, by) {
    const items = [];
    const add = (mark, text) => items.push(h("li", { title: text.length > 60 ? text : null }, mark, text.length > 60 ? `${text.slice(0, 58)}\u2026` : text));
    const ramp = BY.find((each) => each.name === by && each.form);
    if (plot.id === "speed") {
      add(swatch("box", "var(--bar-best)"), "fastest of its model and size");
      add(swatch("box", "var(--bar)"), "others");
    }
    if (plot.id === "trade" && ramp) {
      const values = rows.filter((row) => row.sound).map((row) => row[by]).filter((value) => app.isNumber(value) && (!ramp.log || value > 0));
      if (values.length) {
        items.push(h("li", null, `${ramp.title}: ${FORMS[ramp.form](Math.min(...values))}`, h("span", { class: "ramp", "aria-hidden": "true" }),
          FORMS[ramp.form](Math.max(...values))));
      } else items.push(h("li", null, `${ramp.title}: not recorded`));
    } else {
      const title = { trade: BY.find((each) => each.name === by) && by === "batch" ? "batch " : "" }[plot.id] || "";
      for (const { name, color } of hues) add(swatch("box", color), title + name);
    }
    if (plot.id === "batch") distinct(rows, "precision").forEach((name, index) => add(swatch("line", "var(--soft)", DASHES[index % DASHES.length]), name));
    const shaped = { roof: "model", trade: "precision" }[plot.id];
    if (shaped) distinct(rows, shaped).forEach((name, index) => add(swatch("shape", "var(--soft)", PATHS[SHAPES[index % SHAPES.length]]), name));
    if (plot.id === "start" && rows.some((row) => row.source === "cache")) add(swatch("box", "var(--step2)", 0.4), "from a cache");
    const wrong = rows.filter((row) => !row.sound);
    if (wrong.length && plot.id === "speed") add(swatch("hollow", "var(--bad)"), "\u2260 inaccurate, does not rank");
    if (wrong.length && plot.id === "trade") add(swatch("cross", "var(--bad)"), "inaccurate, does not rank");
    const bare = { machines: "ratio_low", toolchains: "ratio_low" }[plot.id];
    if (bare && rows.some((row) => !app.isNumber(row[bare]))) add(swatch("dot", "var(--bar-best)", "var(--paper)"), "no interval: one process on a side");
    if (plot.id === "history") {
      add(swatch("dot", "var(--bar-best)", "var(--bar-best)"), "interval over processes");
      add(swatch("dot", "var(--bar-best)", "var(--paper)"), "one process");
    }
    return items.length ? h("ul", { class: "key" }, items) : "";
  }

  // ---------------------------------------------------------------------------------------------------------- domains

  const EXTENT = {
    speed: { x: ["speed", "speed_low", "speed_high"], one: true },
    trade: { x: ["latency"], y: ["rate"], margin: 1.25 },
    batch: { x: ["batch"], y: ["rate", "rate_low", "rate_high"], margin: 1.15 },
    roof: { x: ["intensity"], y: ["achieved"], margin: 1.4 },
    machines: { x: ["ratio", "ratio_low", "ratio_high"], one: true },
    toolchains: { x: ["ratio", "ratio_low", "ratio_high"], one: true },
    start: { x: ["total"], linear: true },
    waterfall: { x: ["total"], linear: true },
  };

  // Whose panels have the same axes.
  const SHARED = new Set(["speed", "trade", "batch", "machines", "toolchains"]);

  function extent(rows, names, one) {
    let [low, high] = one ? [1, 1] : [Infinity, -Infinity];
    for (const row of rows) {
      for (const name of names || []) {
        if (!app.isNumber(row[name]) || row[name] <= 0) continue;
        low = Math.min(low, row[name]);
        high = Math.max(high, row[name]);
      }
    }
    return low <= high ? [low, high] : [1, 2];
  }

  // At most about `most` round places on a logarithmic axis; evenly spaced ones where it spans little.
  function logTicks(low, high, most) {
    if (high / low < 6) return app.ticks(low, high, most).filter((value) => value > 0);
    const values = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) values.push(...[1, 2, 5].map((factor) => Number(`${factor}e${power}`)));
    const within = values.filter((value) => value >= low && value <= high);
    return within.length > most ? within.filter((value) => Number.isInteger(Math.round(Math.log10(value) * 1e6) / 1e6)) : within;
  }

  // {x0, x1, y0, y1}: the same for all panels of a plot, so that they can be compared; but those of stacks and histories.
  function domains(plot, rows) {
    if (plot.id === "history") {
      const [low, high] = extent(rows, ["time", "time_low", "time_high"]);
      const centre = (low + high) / 2;
      const half = Math.max((high - low) * 0.6, centre * 0.03); // so that noise below a few percent looks small
      return { y0: centre - half, y1: centre + half };
    }
    const { x, y, one, margin, linear } = EXTENT[plot.id];
    const [x0, x1] = extent(rows, x, one);
    if (linear) return { x0: 0, x1 };
    const spread = Math.max(x1 / x0, 1.1);
    if (plot.id === "speed") return { x0: x0 < 1 ? x0 / spread ** 0.04 : 1, x1: Math.max(x1, 1.05) };
    if (one) return { x0: Math.min(x0 / spread ** 0.06, 0.95), x1: Math.max(x1 * spread ** 0.06, 1.05) };
    const [y0, y1] = extent(rows, y);
    return { x0: x0 / margin, x1: x1 * margin, y0: y0 / margin, y1: y1 * margin };
  }

  Object.assign(app, {
    FORMS, STACKS, TICKS, SHARED, logTicks, BY, DASHES, SHAPES, ARRANGE, plotRows, panelsOf, huesOf, keyOf, domains, distinct, flops, bandwidth,
  });
})(globalThis.trtbench);
