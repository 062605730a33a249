// Which page is shown, in which language and colours; the door where there is no key.
import { Refused, key } from "./api.js";
import { clearCharts, el, redraw } from "./draw.js";
import { customer } from "./customer.js";
import { models, overview, segments } from "./pages.js";
import { fill, language, turnLanguage, word } from "./words.js";

const PAGES = { overview, segments, customer, models };
const main = document.getElementById("main");
let turn = 0;

async function show() {
  const mine = ++turn;
  const [name, ...rest] = location.hash.replace(/^#\//, "").split("/");
  const page = PAGES[name] ? name : "overview";
  labels(page);
  if (!key.get()) return door();
  main.replaceChildren(el("p", { class: "quiet" }, word("loading")));
  try {
    const content = await PAGES[page](decodeURIComponent(rest.join("/")));
    if (mine !== turn) return;
    clearCharts();
    main.replaceChildren(...content);
  } catch (error) {
    if (mine !== turn) return;
    if (error instanceof Refused && error.status === 401) {
      key.forget();
      return door(word("wrong_key"));
    }
    const text = error instanceof Refused && error.status === 403 ? word("no_scope") : word("failed") + error.message;
    main.replaceChildren(el("p", { class: "error", role: "alert" }, text));
  }
}

function labels(page) {
  fill(document);
  document.title = `Portrait – ${word(page)}`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#/${page}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.getElementById("language").textContent = word("other_language");
  document.getElementById("language").lang = language === "zh" ? "en" : "zh-CN";
  const dark = document.documentElement.dataset.theme === "dark";
  document.getElementById("theme").textContent = word(dark ? "theme_light" : "theme_dark");
  document.getElementById("leave").hidden = !key.get();
}

function door(problem) {
  clearCharts();
  const form = document.getElementById("door").content.cloneNode(true).firstElementChild;
  main.replaceChildren(form);
  labels("overview");
  const said = form.querySelector(".error");
  said.hidden = !problem;
  said.textContent = problem ?? "";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    key.set(new FormData(form).get("key").trim());
    show();
  });
  form.querySelector("input").focus();
}

document.getElementById("language").addEventListener("click", () => { turnLanguage(); show(); });
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("portrait.theme", root.dataset.theme);
  labels((location.hash.replace(/^#\//, "").split("/")[0]) || "overview");
  redraw();
});
document.getElementById("leave").addEventListener("click", () => { key.forget(); show(); });
addEventListener("hashchange", () => { show(); main.focus(); });
show();
