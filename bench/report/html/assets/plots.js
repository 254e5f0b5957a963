// Plots by Vega-Lite from the page's specifications, each with an HTML table of the same rows beside it.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const { h } = app;
  const FROM_CASE = ["model", "backend", "precision", "sizes", "setting", "device", "status", "label"];
  const FORMS = { time: app.time, size: app.size, ratio: app.ratio, small: app.small, count: app.count, plain: app.plain };

  // The rows of a plot as objects, of the cases in `matches` (a set of places; null for all).
  function plotRows(plot, page, matches) {
    const table = new app.Table(plot.rows);
    const rows = [];
    for (let index = 0; index < table.rows; index += 1) {
      const row = table.row(index);
      if (typeof row.case === "number") {
        if (matches && !matches.has(row.case)) continue;
        for (const name of FROM_CASE) if (!(name in row)) row[name] = page.cases.get(row.case, name);
      }
      rows.push(row);
    }
    return rows;
  }

  function plotTable(plot, page, rows) {
    const columns = plot.columns.map(({ name, title, form }) =>
      ({ title, align: name === "case" || !form || form === "text" ? "left" : "right" }));
    const cells = rows.map((row) => plot.columns.map(({ name, form }) => {
      if (name === "case") return app.caseLink(page, row.case);
      return (FORMS[form] || FORMS.plain)(row[name]);
    }));
    return app.grid(columns, cells, { caption: `${plot.title}, as a table` });
  }

  // The page's colours and font as Vega's configuration.
  function configuration() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const text = { labelColor: color("--soft"), titleColor: color("--text"), labelFontSize: 12, titleFontSize: 12 };
    return {
      background: "transparent",
      font: getComputedStyle(document.body).fontFamily,
      view: { stroke: null },
      axis: {
        ...text, gridColor: color("--line"), domainColor: color("--edge"), tickColor: color("--edge"),
        titleFontWeight: 500,
      },
      legend: { ...text, titleFontWeight: 500 },
      header: text,
      title: { color: color("--text") },
      rule: { color: color("--soft") },
      text: { color: color("--text") },
      mark: { color: color("--accent") },
      bar: { color: color("--accent") },
      range: { category: color("--series").split(/\s+/) },
    };
  }

  // Draws into `element`; resolves when the plot stands.
  async function mountPlot(element, plot, page, matches) {
    const rows = plotRows(plot, page, matches);
    const figure = h("div", { class: "chart", role: "img", "aria-label": `${plot.title}: ${plot.text}` });
    element.replaceChildren(
      h("h2", { id: `plot-${plot.id}` }, plot.title),
      h("p", { class: "lead" }, plot.text));
    if (!rows.length) {
      const what = plot.rows.rows ? "No case that matches the filter has these figures." : `Nothing to plot. What would fill it: ${plot.missing}`;
      element.append(h("p", { class: "empty" }, what));
      return;
    }
    element.append(figure, h("details", { class: "beside" },
      h("summary", null, `${app.plural(rows.length, "row")} as a table`), plotTable(plot, page, rows)));
    const spec = {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      width: "container",
      autosize: { type: "fit-x", contains: "padding" },
      ...plot.spec,
      data: { values: rows },
      config: configuration(),
    };
    try {
      const result = await globalThis.vegaEmbed(figure, spec, { ast: true, actions: false, renderer: "svg", tooltip: { theme: app.isDark() ? "dark" : "light" } });
      result.view.addEventListener("click", (event, item) => {
        if (item && item.datum && typeof item.datum.case === "number") location.hash = app.caseAddress(page, item.datum.case);
      });
      app.onLeave(() => result.finalize());
    } catch (error) {
      figure.replaceChildren(h("p", { class: "empty" }, `This plot cannot be drawn here (${error.message}); its table is below.`));
    }
  }

  function showPlots(page, route, main) {
    const state = app.toState(route.query);
    const { rows } = app.filterOf(page).apply(state.facets, state.search);
    const all = rows.length === page.cases.rows;
    const plots = route.path[0] ? page.plots.filter((plot) => plot.id === route.path[0]) : page.plots;
    main.append(h("h1", null, "Plots"));
    if (!all) {
      main.append(h("p", { class: "lead" }, `${app.plural(rows.length, "case")} of ${app.count(page.cases.rows)}, by the filter of `,
        h("a", { href: app.address("cases", [], route.query) }, "Cases"), "; ",
        h("a", { href: app.address("plots", route.path) }, "show all"), "."));
    }
    const matches = all ? null : new Set(rows);
    return Promise.all(plots.map((plot) => {
      const section = h("section", { class: "card", "aria-labelledby": `plot-${plot.id}` });
      main.append(section);
      return mountPlot(section, plot, page, matches);
    }));
  }

  Object.assign(app, { plotRows, mountPlot, showPlots });
})(globalThis.trtbench);
