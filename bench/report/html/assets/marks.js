// Small drawings in SVG: a figure with its interval, the samples of a process, the boundaries of a call.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h, s } = app;

  // Statuses: a sign beside the word, so that no meaning hangs on a colour.
  const STATUS = {
    fastest: { sign: "\u2605", text: "fastest" },
    tied: { sign: "\u2248", text: "tied" },
    ok: { sign: "\u2713", text: "ok" },
    unranked: { sign: "\u25cb", text: "unranked" },
    inaccurate: { sign: "\u2260", text: "inaccurate" },
    varies: { sign: "\u223f", text: "varies" },
    failed: { sign: "\u2715", text: "failed" },
    unavailable: { sign: "\u2013", text: "unavailable" },
    waiting: { sign: "\u2026", text: "not measured" },
  };

  function badge(status) {
    const { sign, text } = STATUS[status] || { sign: "?", text: status };
    return h("span", { class: `badge ${status}` }, h("span", { "aria-hidden": "true" }, sign), ` ${text}`);
  }

  // A scale of positive numbers from low to high onto 0..width; logarithmic where they span more than `linear` times.
  function scale(low, high, width, linear) {
    const log = high / low > (linear || 3);
    const place = log ? Math.log : (value) => value;
    const [from, to] = [place(low), place(high)];
    return (value) => (to > from ? ((place(value) - from) / (to - from)) * width : width / 2);
  }

  // A dot with its 95 % interval; `one` marks the value 1 of ratios.
  function interval(value, low, high, x, width, one) {
    if (!app.isNumber(value)) return "";
    const clamp = (at) => Math.max(2, Math.min(width - 2, x(at)));
    const whisker = app.isNumber(low) && app.isNumber(high);
    return s("svg", { class: "interval", width, height: 14, viewBox: `0 0 ${width} 14`, "aria-hidden": "true" },
      one && s("line", { class: "one", x1: clamp(1), x2: clamp(1), y1: 0, y2: 14 }),
      whisker && s("line", { class: "whisker", x1: clamp(low), x2: clamp(high), y1: 7, y2: 7 }),
      whisker && [low, high].map((end) => s("line", { class: "whisker", x1: clamp(end), x2: clamp(end), y1: 4, y2: 10 })),
      s("circle", { class: "dot", cx: clamp(value), cy: 7, r: 3 }));
  }

  // The width of a drawing: on a phone it would be scaled until nothing can be read.
  const room = () => (matchMedia("(max-width: 640px)").matches ? 360 : 720);

  // A range of round numbers' ticks for an axis from low to high.
  function ticks(low, high, most) {
    const raw = (high - low) / most || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= raw);
    const values = [];
    for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) values.push(value);
    return values;
  }

  // The distributions of processes, a line each: a density of the samples by their quantiles, the median marked.
  // `series` are {name, values (quantiles, ascending), median, samples}.
  function distributions(series, title) {
    const width = room();
    const left = 92;
    const right = 74;
    const line = 34;
    const top = 4;
    const all = series.flatMap((each) => each.values);
    let low = Math.min(...all);
    const tops = series.map((each) => each.values[Math.floor((each.values.length - 1) * 0.97)]);
    let high = Math.max(...tops, ...series.map((each) => each.median));
    const beyond = Math.max(...all) > high * 1.02;
    if (!beyond) high = Math.max(...all);
    const margin = (high - low) * 0.04 || low * 0.01 || 1;
    low -= margin;
    high += margin;
    const plot = width - left - right;
    const x = (value) => left + Math.min(((value - low) / (high - low)) * plot, plot);
    const height = top + series.length * line + 26;
    const marks = series.map((each, index) => {
      const base = top + (index + 1) * line - 6;
      return s("g", null,
        s("text", { class: "axis", x: left - 10, y: base - 4, "text-anchor": "end" }, each.name),
        s("line", { class: "base", x1: left, x2: left + plot, y1: base, y2: base }),
        s("path", { class: "density", d: density(each.values, low, high, x, base, line - 10) }),
        s("line", { class: "median", x1: x(each.median), x2: x(each.median), y1: base - line + 12, y2: base }),
        s("text", { class: "axis strong", x: width - right + 8, y: base - 4 }, app.time(each.median)));
    });
    const axis = ticks(low, high, width / 120).map((value) => s("g", null,
      s("line", { class: "tick", x1: x(value), x2: x(value), y1: top, y2: height - 22 }),
      s("text", { class: "axis", x: x(value), y: height - 6, "text-anchor": "middle" }, app.time(value))));
    const last = series.map((each) => `${each.name}: median ${app.time(each.median)} of ${app.count(each.samples)} samples`);
    return h("figure", { class: "drawing" },
      s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. ${last.join("; ")}` }, axis, marks),
      h("figcaption", null, "Density of the samples of each process, its median marked.",
        beyond ? ` The axis ends at the 97th percentile; the longest call took ${app.time(Math.max(...all))}.` : ""));
  }

  // A kernel estimate from quantiles, which each stand for as many samples; bandwidth by Silverman's rule.
  function density(values, low, high, x, base, room) {
    const n = values.length;
    const quarter = values[Math.floor((n - 1) / 4)];
    const width = values[Math.floor(((n - 1) * 3) / 4)] - quarter;
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n);
    const usual = Math.min(sd, width / 1.34 || sd) || 0;
    const band = Math.max(0.9 * usual * n ** -0.2, (high - low) / 400);
    const steps = 180;
    const points = [];
    for (let step = 0; step <= steps; step += 1) {
      const at = low + ((high - low) * step) / steps;
      let sum = 0;
      for (const value of values) {
        const far = (at - value) / band;
        if (far > -4 && far < 4) sum += Math.exp((-far * far) / 2);
      }
      points.push([x(at), sum]);
    }
    const most = Math.max(...points.map(([, value]) => value)) || 1;
    const path = points.map(([at, value]) => `L${at.toFixed(1)},${(base - (value / most) * room).toFixed(1)}`).join("");
    return `M${points[0][0].toFixed(1)},${base}${path}L${points[steps][0].toFixed(1)},${base}Z`;
  }

  // What each boundary spans, drawn to scale: `medians` are nanoseconds by boundary.
  function timeline(medians, gpu) {
    const rows = gpu
      ? [["latency", ["latency"]], ["parts", ["h2d", "compute", "d2h"]], ["gpu", ["gpu"]], ["gpu_unheld", ["gpu_unheld"]], ["enqueue", ["enqueue"]]]
      : [["latency", ["latency"]]];
    const lines = rows.map(([name, parts]) => [name, parts.filter((part) => app.isNumber(medians[part]))])
      .filter(([, parts]) => parts.length);
    if (!lines.length) return "";
    const start = medians.h2d || 0; // calls begin when the inputs are there
    const offset = (name) => (name === "gpu" || name === "gpu_unheld" || name === "enqueue" ? start : 0);
    const total = Math.max(...lines.map(([name, parts]) => offset(name) + parts.reduce((sum, part) => sum + medians[part], 0)));
    const [width, left, line] = [room(), 92, 30];
    const x = (ns) => left + (ns / total) * (width - left - 8);
    const height = lines.length * line + 6;
    const drawn = lines.map(([name, parts], index) => {
      let at = offset(name);
      const y = index * line + 5;
      return s("g", null,
        s("text", { class: "axis", x: left - 10, y: y + 14, "text-anchor": "end" }, name === "parts" ? "of which" : name),
        parts.map((part) => {
          const [from, to] = [x(at), x(at + medians[part])];
          at += medians[part];
          const text = parts.length > 1 ? `${part} ${app.time(medians[part])}` : app.time(medians[part]);
          const fits = to - from > text.length * 6.6 + 8;
          return [
            s("rect", { class: `span ${part}`, x: from, y, width: Math.max(to - from, 1), height: 20, rx: 2 }, s("title", null, `${part} ${app.time(medians[part])}`)),
            fits && s("text", { class: `inside ${part}`, x: from + 6, y: y + 14 }, text),
          ];
        }));
    });
    const said = Object.entries(medians).map(([name, ns]) => `${name} ${app.time(ns)}`).join(", ");
    return h("figure", { class: "drawing" },
      s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Medians to scale: ${said}` }, drawn),
      h("figcaption", null, gpu
        ? "Medians to scale. Each boundary is measured by itself; latency spans a whole request, gpu the GPU's own time."
        : "Medians to scale: on a CPU latency is the host's clock around the call."));
  }

  Object.assign(app, { badge, STATUS, scale, interval, distributions, timeline, ticks });
})(globalThis.trtbench);
