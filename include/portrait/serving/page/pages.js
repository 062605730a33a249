// Overview, segments, models: what the night made of everybody.
import { Refused, ask, perhaps } from "./api.js";
import { bars, card, el, figures, lines, points, table } from "./draw.js";
import { code, language, moment, number, word } from "./words.js";

const title = (name, sub) => [el("h1", {}, word(name)), el("p", { class: "sub" }, sub ?? "")];
const badge = (good, text) => el("span", { class: `badge ${good ? "good" : "bad"}` }, text);

export async function overview() {
  const { crowd, nights } = await ask("operations/overview");
  const run = nights.run;
  const took = nights.nights.find((n) => n.run_id === run?.run_id)?.seconds;
  const dates = nights.nights.map((n) => n.as_of);
  return [
    ...title("overview", run ? `${word("published_night")} ${run.run_id}, ${word("as_of")} ${run.as_of}, ${word("published")} ${moment(run.published_at)}` : word("nothing")),
    figures([
      [word("customers"), number(crowd.customers)], [word("known"), number(crowd.known)], [word("buyers"), number(crowd.buyers)],
      [word("active_30d"), number(crowd.active_30d)], [word("night_took"), took ? `${number(took)} ${word("seconds")}` : "–"],
    ]),
    el("div", { class: "grid" },
      metricChart(nights, "new"), metricChart(nights, "next"),
      card(word("lifecycle"), "third", bars(word("lifecycle"), crowd.lifecycle)),
      card(word("value_types"), "third", bars(word("value_types"), crowd.value_type)),
      card(word("channels"), "third", bars(word("channels"), crowd.channels)),
      card(word("customers_by_night"), "half", lines(word("customers_by_night"), dates, [{ name: word("customers"), data: nights.nights.map((n) => n.customers) }], 0)),
      driftChart(nights.drift),
      card(word("stages"), "half", bars(word("stages"), Object.fromEntries(nights.stages.map((s) => [s.stage, Math.round(s.seconds * 10) / 10])), (n) => n)),
      card(word("nights"), "half", table(word("nights"), [word("run"), word("status"), word("customers"), word("seconds")],
        nights.nights.toReversed().map((n) => [n.run_id, badge(n.status !== "failed", code(n.status)), n.customers, n.seconds === null ? null : Math.round(n.seconds)]))),
      card(word("freshness"), "half", table(word("freshness"), [word("source"), word("loaded_through"), word("rows"), word("refused")],
        nights.freshness.map((f) => [f.source, f.loaded_through, f.rows_inserted, f.rows_rejected]))),
      card(word("alerts"), "half", table(word("alerts"), [word("when"), word("what")], nights.alerts.map((a) => [moment(a.raised_at), a.message]))),
      card(word("quality"), "", ...quality(nights.quality)),
    ),
  ];
}

// What failed is shown; what passed is a line that opens.
function quality(checks) {
  const shown = (rows) => table(word("quality"), [word("check"), word("table"), word("found"), word("expected"), word("status")],
    rows.map((q) => [q.check, q.table, q.value, q.expected, badge(q.passed, word(q.passed ? "passed" : "broken"))]));
  const broken = checks.filter((q) => !q.passed);
  const passed = checks.filter((q) => q.passed);
  return [
    broken.length ? shown(broken) : null,
    el("details", {}, el("summary", {}, badge(true, `${number(passed.length)} ${word("passed")}`)), shown(passed)),
  ];
}

function metricChart(nights, slot) {
  const rows = nights.metrics.filter((m) => m.slot === slot);
  const runs = [...new Map(rows.map((r) => [r.run_id, r.as_of])).keys()];
  const names = [...new Set(rows.map((r) => (r.role === "champion" ? `${code("champion")}` : r.model)))];
  const at = (name, run) => rows.find((r) => r.run_id === run && (r.role === "champion" ? code("champion") : r.model) === name)?.value ?? null;
  const label = `${word("model_quality")} – ${word(`slot_${slot}`)}`;
  const series = names.map((name) => ({ name, strong: name === code("champion"), data: runs.map((r) => at(name, r)) }));
  return card(label, "half", lines(label, runs, series));
}

function driftChart(found) {
  const runs = [...new Map(found.map((d) => [d.run_id, d.as_of])).keys()];
  const names = [...new Set(found.map((d) => d.column))];
  const at = (name, run) => found.find((d) => d.run_id === run && d.column === name)?.value ?? null;
  return card(word("drift"), "half", el("p", { class: "quiet" }, word("drift_text")),
    runs.length ? lines(word("drift"), runs, names.map((name) => ({ name, strong: name === "embedding", data: runs.map((r) => at(name, r)) })))
                : el("p", { class: "quiet" }, word("drift_none")));
}

export async function segments() {
  const [found, map, groupsOf] = await Promise.all([ask("segments"), perhaps("segments/map"), perhaps("audiences")]);
  const name = new Map(found.segments.map((s) => [s.segment_id, s.segment_name]));
  const groups = map instanceof Refused ? [] : [...name].map(([id, label]) =>
    ({ name: label ?? String(id), points: map.points.filter((p) => p[2] === id) }));
  return [
    ...title("segments", found.as_of ? `${word("as_of")} ${found.as_of}` : word("nothing")),
    el("div", { class: "grid" },
      card(word("segment_map"), "", el("p", { class: "quiet" }, word("segment_map_text")), points(word("segment_map"), groups)),
      found.segments.map((s) => card(s.segment_name ?? String(s.segment_id), "third",
        figures([[word("customers"), number(s.customers)], [word("buyers"), number(s.buyers)]]),
        el("dl", {}, [
          [word("average_spent"), number(s.average_monetary, 2)], [word("average_basket"), number(s.average_basket, 2)],
          [word("days_since"), number(s.average_recency_days, 1)], [word("store_share"), s.store_share === null ? "–" : `${number(s.store_share * 100)} %`],
          [word("top_category"), s.top_category ?? "–"], [word("top_brand"), s.top_brand ?? "–"],
        ].flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])),
        bars(`${s.segment_name}: ${word("lifecycle")}`, s.lifecycle))),
      ...(groupsOf instanceof Refused ? [] : audienceCards(groupsOf)),
    ),
  ];
}

function audienceCards({ audiences, overlaps }) {
  const name = new Map(audiences.map((a) => [a.audience, language === "zh" ? a.name_zh : a.name_en]));
  const last = (a) => a.sizes.at(-1);
  if (!audiences.length) return [card(word("audiences"), "", el("p", { class: "quiet" }, word("nothing")))];
  const dates = [...new Set(audiences.flatMap((a) => a.sizes.map((s) => s.as_of)))].sort();
  return [
    card(word("audiences"), "", table(word("audiences"),
      [word("audience"), word("purpose"), word("channel"), word("members"), word("control"), word("without_consent"), word("entered"), word("left")],
      audiences.map((a) => [name.get(a.audience), code(a.purpose), code(a.channel), ...["members", "control", "without_consent", "entered", "left"].map((n) => last(a)?.[n] ?? null)]))),
    card(word("audience_sizes"), "half", lines(word("audience_sizes"), dates, audiences.map((a) =>
      ({ name: name.get(a.audience), data: dates.map((d) => a.sizes.find((s) => s.as_of === d)?.members ?? null) })), 0)),
    card(word("overlaps"), "half", table(word("overlaps"), [word("audience"), word("audience"), word("customers"), word("jaccard")],
      overlaps.filter((o) => o.customers > 0).map((o) => [name.get(o.a) ?? o.a, name.get(o.b) ?? o.b, o.customers, o.jaccard]))),
  ];
}

export async function models() {
  const found = await ask("operations/models");
  return [
    ...title("models", found.run_id ? `${word("evaluation")}: ${found.run_id}` : word("nothing")),
    el("div", { class: "grid" },
      ...[...new Set(found.evaluation.map((e) => e.slot))].map((slot) => evaluation(found.evaluation.filter((e) => e.slot === slot), slot)),
      card(word("history"), "", table(word("history"), [word("version"), word("slot"), word("status"), word("trained_through"), word("metric"), word("reason"), word("replaces")],
        found.versions.map((v) => [v.model_version, v.slot, v.status === "champion" ? badge(true, code(v.status)) : code(v.status), v.trained_through,
          v.value === null ? "–" : `${v.metric} ${number(v.value, 4)}`, v.reason, v.replaces ?? "–"]))),
    ),
  ];
}

function evaluation(rows, slot) {
  const order = ["ndcg", "recall", "hit_rate", "precision", "f1", "map", "mrr", "coverage", "novelty", "popularity_bias"];
  const metrics = [...new Set(rows.toSorted((a, b) => a.k - b.k || order.indexOf(a.metric) - order.indexOf(b.metric)).map((r) => `${r.metric}@${r.k}`))];
  const names = [...new Set(rows.map((r) => `${r.model}\u0000${r.role}`))];
  const label = `${word("evaluation")} – ${slot === "again" ? word("again") : word(`slot_${slot}`)}`;
  return card(label, "", table(label, [word("model"), word("role"), ...metrics],
    names.map((n) => {
      const [model, role] = n.split("\u0000");
      return [model, code(role), ...metrics.map((m) => rows.find((r) => r.model === model && r.role === role && `${r.metric}@${r.k}` === m)?.value ?? null)];
    })));
}
