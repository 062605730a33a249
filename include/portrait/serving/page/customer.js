// One customer's card.
import { Refused, ask, perhaps } from "./api.js";
import { bars, card, el, figures, pairs, table } from "./draw.js";
import { code, language, moment, number, word } from "./words.js";

export async function customer(asked) {
  const page = [el("h1", {}, word("find")), el("p", { class: "sub", id: "find-text" }, word("find_text")), search(asked)];
  if (!asked) return page;
  const path = `customers/${encodeURIComponent(asked)}`;
  const found = await perhaps(path);
  if (found instanceof Refused) {
    if (found.status === 403) throw found;
    const text = { 404: word("nobody"), 409: word("ambiguous") }[found.status] ?? found.message;
    return [...page, el("p", { class: "error", role: "alert" }, text)];
  }
  const own = `customers/customer:${encodeURIComponent(found.customer_id)}`;
  const [offers, similar, events, links, meanings] = await Promise.all(
    [`${own}/recommendations`, `${own}/similar`, `${own}/timeline?limit=50`, `${own}/identity`, "tags"].map(perhaps));
  const named = new Map((meanings.tags ?? []).map((t) => [t.tag, language === "zh" ? t.name_zh : t.name_en]));
  return [
    ...page,
    el("h2", {}, found.customer_id),
    figures([
      [word("monetary"), number(found.monetary, 2)], [word("frequency"), number(found.frequency)], [word("recency_days"), number(found.recency_days)],
      [word("lifecycle"), code(found.lifecycle)], [word("value_type"), code(found.value_type)],
    ]),
    el("div", { class: "grid" },
      card(word("who"), "third", pairs(["gender", "age", "region", "city", "member_level", "home_store", "joined_on", "first_seen_on", "last_seen_on", "cards", "accounts", "devices"]
        .map((n) => [word(n), typeof found[n] === "number" ? number(found[n]) : code(found[n])]))),
      card(word("value"), "third", pairs([
        [word("rfm"), found.rfm ? `${found.rfm.r_score} ${found.rfm.f_score} ${found.rfm.m_score}` : null],
        [word("average_basket"), number(found.average_basket, 2)], [word("refunded"), number(found.refunded, 2)],
        [word("spending_tier"), code(found.spending_tier)], [word("channels"), code(found.channels)],
        [word("store_share"), found.store_share === null ? null : `${number(found.store_share * 100)} %`],
        [word("segment_name"), found.segment_name],
        [word("p_alive"), found.p_alive === null ? null : number(found.p_alive, 2)],
        [word("clv_12m"), found.clv_12m === null ? null : `${number(found.clv_12m)} (${number(found.clv_12m_low)} – ${number(found.clv_12m_high)})`],
        [word("aipl_stage"), code(found.aipl_stage)], [word("promotion_sensitivity"), code(found.promotion_sensitivity)], [word("favourite_daypart"), code(found.favourite_daypart)],
      ])),
      card(word("preferences"), "third", ...["category", "brand"].map((d) => preference(found, d))),
      found.tags?.length ? card(word("tags"), "", table(word("tags"), [word("tag"), word("value"), word("reason")], found.tags.map((t) => [named.get(t.tag) ?? code(t.tag), code(t.value), t.reason ?? "–"]))) : null,
      part(offers, word("recommendations"), "half", () => table(word("recommendations"), [word("kind"), word("item"), word("because"), word("score")],
        offers.recommendations.map((r) => [word(r.kind), r.product_name ?? r.sku, because(r), r.score]))),
      part(events, word("timeline"), "half", () => timeline(own, events)),
      part(similar, word("similar"), "half", () => table(word("similar"), [word("customer_id"), word("similarity"), word("lifecycle"), word("segment_name")],
        similar.similar.map((s) => [el("a", { href: `#/customer/${s.customer_id}` }, s.customer_id), s.similarity, code(s.lifecycle), s.segment_name ?? "–"]))),
      part(links, word("identity"), "half", () => table(word("identity"), [word("link"), word("shown_by"), word("since")],
        links.links.map((l) => [`${code(l.from_kind)} ${l.from ?? ""} → ${code(l.to_kind)} ${l.to ?? ""}`, `${l.rule ?? "–"} (${l.source ?? "–"})`, l.first_seen]))),
    ),
  ];
}

function search(asked) {
  const input = el("input", { name: "id", value: asked, maxlength: 200, required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "find-text" });
  const form = el("form", { class: "search", role: "search" }, el("label", {}, word("customer_id"), input), el("button", { type: "submit" }, word("search")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = `#/customer/${encodeURIComponent(input.value.trim())}`;
  });
  return form;
}

function preference(found, dimension) {
  const shares = Object.fromEntries(found.affinities.filter((a) => a.dimension === dimension).map((a) => [a.value, a.score]));
  return Object.keys(shares).length ? el("div", {}, el("h3", { class: "quiet" }, word(dimension)), bars(word(dimension), shares, (n) => n)) : el("p", { class: "quiet" }, word("nothing"));
}

function because(offer) {
  if (!offer.because_kind) return "–";
  const named = ["item", "category"].includes(offer.because_kind) ? ` ${offer.because_name ?? offer.because_of}` : "";
  return word(`because_${offer.because_kind}`) + named;
}

function part(answer, title, size, make) {
  if (!(answer instanceof Refused)) return card(title, size, make());
  return card(title, size, el("p", { class: "quiet" }, answer.status === 403 ? word("no_scope") : answer.message));
}

function timeline(own, first) {
  const list = el("ol", { class: "events", tabindex: "0", "aria-label": word("timeline") });
  const add = (events) => list.append(...events.map((e) => el("li", { class: e.channel },
    el("span", { class: "quiet" }, `${moment(e.occurred_at)} · ${word(e.channel)}${e.place ? ` (${e.place})` : ""} `), el("br"),
    `${code(e.event)}${e.product_name ?? e.sku ? `: ${e.product_name ?? e.sku}` : ""}${e.search_query ? `: “${e.search_query}”` : ""}`,
    e.amount === null ? "" : ` · ${number(e.amount, 2)} ${e.currency ?? ""}`)));
  add(first.events);
  if (!first.events.length) return el("p", { class: "quiet" }, word("nothing"));
  let next = first.next;
  const more = el("button", { type: "button", onclick: async () => {
    const page = await ask(`${own}/timeline?limit=50&after=${encodeURIComponent(next)}`);
    add(page.events);
    next = page.next;
    more.hidden = !next;
  } }, word("more"));
  more.hidden = !next;
  return el("div", {}, list, more);
}
