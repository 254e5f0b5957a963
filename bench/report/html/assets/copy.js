// Tables as Markdown and CSV, and the clipboard. The texts are pure.
"use strict";

globalThis.trtbench = globalThis.trtbench || {};

(function (app) {
  const escapeMarkdown = (text) => String(text).replace(/[\\|[\]_*`<]/g, (c) => (c === "<" ? "&lt;" : `\\${c}`))
    .replace(/\s*\n\s*/g, " ");

  // `columns` are {title, align}, `rows` arrays of texts.
  function markdown(columns, rows) {
    const line = (cells) => `| ${cells.map(escapeMarkdown).join(" | ")} |`;
    const rule = `|${columns.map((column) => (column.align === "right" ? "--:" : "---")).join("|")}|`;
    return `${[line(columns.map((column) => column.title)), rule, ...rows.map(line)].join("\n")}\n`;
  }

  // Texts that a sheet would run as a formula begin with an apostrophe; numbers stay.
  function field(value) {
    if (value === null || value === undefined) return "";
    let text = String(value);
    if (typeof value === "string" && /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  }

  const csv = (names, rows) => `${[names, ...rows].map((cells) => cells.map(field).join(",")).join("\n")}\n`;

  // Copy, by a selection where a page from a disk has no clipboard; says how it went.
  async function copy(text, what) {
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch (error) {
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "unseen";
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    app.toast(done ? `${what} copied` : "the browser refused to copy; select the table instead");
  }

  Object.assign(app, { markdown, csv, copy });
})(globalThis.trtbench);
