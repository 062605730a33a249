// Elements, tables and charts. Text is set as text: nothing that was stored becomes markup.
import { code, number, word } from "./words.js";

export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "onclick") node.addEventListener("click", value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined));
  return node;
}

export function card(title, size, ...children) {
  return el("section", { class: `card ${size}`, "aria-label": title }, el("h2", {}, title), ...children);
}

export function figures(entries) {
  return el("div", { class: "figures" }, entries.map(([name, value]) =>
    el("div", { class: "figure" }, el("b", {}, value), el("span", {}, name))));
}

export function pairs(entries) {
  return el("dl", {}, entries.filter(([, v]) => v !== null && v !== undefined && v !== "–")
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

export function table(caption, heads, rows) {
  if (!rows.length) return el("p", { class: "quiet" }, word("nothing"));
  const numeric = heads.map((_, i) => rows.every((r) => typeof r[i] === "number" || r[i] === null) );
  const show = (cell) => (cell instanceof Node ? cell : typeof cell === "number" ? number(cell, 4) : cell ?? "–");
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    el("table", {}, el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, heads.map((h, i) => el("th", { scope: "col", class: numeric[i] ? "number" : null }, h)))),
      el("tbody", {}, rows.map((r) => el("tr", {}, r.map((c, i) => el("td", { class: numeric[i] ? "number" : null }, show(c))))))));
}

let charts = [];

export function clearCharts() {
  for (const { chart } of charts) chart.dispose();
  charts = [];
}

// Asked for with the first chart: reading it takes longer than all the rest of the page.
let library = null;

function loaded() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "vendor/echarts.common.min.js";
    script.onload = resolve;
    script.onerror = () => reject(new Error("echarts"));
    document.head.append(script);
  });
  return library;
}

// A chart's place at once, the chart when the library is there: the page is usable before it.
export function chart(label, option, tall = false) {
  const place = el("div", { class: `chart${tall ? " tall" : ""}`, role: "img", "aria-label": label });
  const start = async () => {
    await loaded();
    if (!place.isConnected) return;
    const made = window.echarts.init(place, null, { renderer: "canvas" });
    made.setOption(option(colours()));
    charts.push({ chart: made, option });
  };
  // After the frame that shows the figures.
  requestAnimationFrame(() => setTimeout(start));
  return place;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  const dark = document.documentElement.dataset.theme === "dark";
  return {
    text: of("text"), quiet: of("quiet"), line: of("line"), card: of("card"),
    series: dark ? ["#6db3f8", "#f2b155", "#63c98a", "#e58bc0", "#c3a6ff", "#7fd6d6", "#ff9d8a", "#b7c4d4"]
                 : ["#0b5cad", "#b86200", "#17693a", "#a5317a", "#5b3fb5", "#0f7377", "#a8201a", "#55606e"],
  };
}

export function redraw() {
  for (const { chart: one, option } of charts) one.setOption(option(colours()), true);
}

addEventListener("resize", () => charts.forEach(({ chart: one }) => one.resize()));

const axis = (c, extra) => ({ axisLabel: { color: c.quiet }, axisLine: { lineStyle: { color: c.line } }, splitLine: { lineStyle: { color: c.line } }, ...extra });
const base = (c) => ({ animation: false, color: c.series, textStyle: { color: c.text }, tooltip: { trigger: "axis", backgroundColor: c.card, borderColor: c.line, textStyle: { color: c.text } } });

export function bars(label, counts, name = code) {
  const entries = Object.entries(counts ?? {}).sort((a, b) => a[1] - b[1]);
  return chart(label, (c) => ({
    ...base(c), grid: { left: 8, right: 50, top: 8, bottom: 8, containLabel: true },
    xAxis: axis(c, { type: "value", show: false }),
    yAxis: axis(c, { type: "category", data: entries.map(([k]) => name(k)), axisLabel: { color: c.quiet, interval: 0 } }),
    series: [{ type: "bar", data: entries.map(([, v]) => v), label: { show: true, position: "right", color: c.text, formatter: (p) => number(p.value, 3) } }],
  }), entries.length > 12);
}

export function lines(label, dates, series, digits = 4) {
  return chart(label, (c) => ({
    ...base(c), legend: { type: "scroll", top: 0, textStyle: { color: c.text }, pageTextStyle: { color: c.text } },
    grid: { left: 8, right: 20, top: 40, bottom: 8, containLabel: true },
    xAxis: axis(c, { type: "category", data: dates }), yAxis: axis(c, { type: "value", scale: true, minInterval: digits ? 0 : 1 }),
    series: series.map((s) => ({ type: "line", name: s.name, data: s.data, connectNulls: false, symbolSize: 7, lineStyle: { width: s.strong ? 4 : 2 } })),
    tooltip: { ...base(c).tooltip, valueFormatter: (v) => number(v, digits) },
  }));
}

export function points(label, groups) {
  return chart(label, (c) => ({
    ...base(c), tooltip: { trigger: "item", backgroundColor: c.card, borderColor: c.line, textStyle: { color: c.text }, formatter: (p) => p.seriesName },
    legend: { type: "scroll", bottom: 0, textStyle: { color: c.text }, pageTextStyle: { color: c.text } },
    grid: { left: 8, right: 8, top: 8, bottom: 40 },
    xAxis: { show: false, scale: true }, yAxis: { show: false, scale: true },
    series: groups.map((g) => ({ type: "scatter", name: g.name, data: g.points, symbolSize: 6, itemStyle: { opacity: 0.7 } })),
  }), true);
}
