// Addresses of views: "#/cases?model=bert&model=dla34&q=graph&sort=-speed". Pure: no document.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const VIEWS = ["overview", "cases", "case", "plots", "explain"];
  const encode = (text) => encodeURIComponent(text).replace(/%20/g, "+").replace(/%2F/g, "/");

  // {view, path: [...], query: [[name, value], ...]} of a location's hash; anything else is the overview.
  function parse(hash) {
    const [path, query] = hash.replace(/^#\/?/, "").split("?");
    const [view, ...rest] = path.split("/").map(decode);
    return {
      view: VIEWS.includes(view) ? view : "overview",
      path: rest,
      query: (query || "").split("&").filter(Boolean).map((part) => {
        const [name, ...value] = part.split("=");
        return [decode(name), decode(value.join("="))];
      }),
    };
  }

  function decode(text) {
    const blanks = text.replace(/\+/g, " ");
    try {
      return decodeURIComponent(blanks);
    } catch (error) {
      return blanks; // a link that was cut within an escape
    }
  }

  function address(view, path, query) {
    const parts = [view, ...(path || [])].map((part) => encodeURIComponent(part));
    const pairs = (query || []).map(([name, value]) => `${encode(name)}=${encode(value)}`);
    return `#/${parts.join("/")}${pairs.length ? `?${pairs.join("&")}` : ""}`;
  }

  // The state of the view of cases: facets as sets, a search, a sort, and how many rows are shown.
  function toState(query) {
    const state = { facets: {}, search: "", sort: "", descending: false };
    for (const [name, value] of query) {
      if (name === "q") state.search = value;
      else if (name === "sort") {
        state.sort = value.replace(/^-/, "");
        state.descending = value.startsWith("-");
      } else if (app.FACETS.some((facet) => facet.name === name)) {
        if (!state.facets[name]) state.facets[name] = new Set();
        state.facets[name].add(value);
      }
    }
    return state;
  }

  function toQuery(state) {
    const query = [];
    for (const { name } of app.FACETS) for (const value of state.facets[name] || []) query.push([name, value]);
    if (state.search) query.push(["q", state.search]);
    if (state.sort) query.push(["sort", (state.descending ? "-" : "") + state.sort]);
    return query;
  }

  Object.assign(app, { parse, address, toState, toQuery });
})(globalThis.trtbench);
