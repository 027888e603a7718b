"use strict";
// The live board: reads the open incidents, and again whenever the event stream says that something changed.
// Whatever comes from outside enters the page as text (textContent), never as markup.

const WORDS = {
  en: {
    other: "中文", logout: "Log out", live: "live", away: "not connected", quiet: "Nothing is open. Watching.",
    loading: "Loading …", alerts: "What is wrong", told: "Who was told", nobody: "Nobody yet",
    acknowledge: "Acknowledge", sending: "Sending …", refused: "Not applied: ", closed: "closed",
    more: "more incidents are open; see /api/v1/incidents", limit: "limit", again: "came back",
    trouble: "The board cannot be read now: ", login: "The session has ended; log in again.", open_now: "open",
    attempt: "attempts", further: "More devices:", fewer: "Fewer", device_none: "whole site", yes: "yes", no: "no", ended: "ended",
    class: { fire: "FIRE", pre_alarm: "PRE-ALARM", supervisory: "SUPERVISORY", fault: "FAULT", disabled: "DISABLED", test: "TEST" },
    severity: { info: "info", warning: "warning", critical: "critical" },
    state: { open: "open", acknowledged: "acknowledged", dispatched: "dispatched", on_scene: "on scene", controlled: "controlled", closed: "closed" },
    page: { accepted: "accepted", waiting: "on its way", failed: "not delivered" },
    alert: { pending: "pending", firing: "firing", cleared: "cleared", reset: "reset" },
  },
  zh: {
    other: "English", logout: "退出", live: "实时", away: "连接中断", quiet: "当前无警情,监测中。",
    loading: "加载中……", alerts: "报警内容", told: "通知情况", nobody: "尚未通知",
    acknowledge: "确认接警", sending: "提交中……", refused: "未生效:", closed: "已关闭",
    more: "还有更多未关闭警情,见 /api/v1/incidents", limit: "限值", again: "复燃/再次触发",
    trouble: "暂时无法读取警情:", login: "会话已过期,请重新登录。", open_now: "未关闭",
    attempt: "次", further: "其他设备:", fewer: "收起", device_none: "整个场所", yes: "是", no: "否", ended: "已结束",
    class: { fire: "火警", pre_alarm: "预警", supervisory: "监管", fault: "故障", disabled: "屏蔽", test: "测试" },
    severity: { info: "提示", warning: "警告", critical: "严重" },
    state: { open: "待处置", acknowledged: "已确认", dispatched: "已派遣", on_scene: "已到场", controlled: "已控制", closed: "已关闭" },
    page: { accepted: "已送达", waiting: "发送中", failed: "未送达" },
    alert: { pending: "待定", firing: "报警", cleared: "已恢复", reset: "已复位" },
  },
};
const RANK = ["fire", "pre_alarm", "supervisory", "fault", "disabled", "test"];
const SHOWN = 200; // incidents
const FEW = 3; // devices of an incident, before one asks for the others

const acts = new Map(); // incident id → {key, pending, said}
const opened = new Set(); // incidents of which all devices are shown
const teams = new Map(); // team id → name
let incidents = null;
let more = false;
let skew = 0; // the server's clock less ours, so that ages do not depend on this computer's
let language = stored("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
let words = WORDS[language];

const byId = (id) => document.getElementById(id);

function stored(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

const named = (group, word) => words[group][word] || word;
const cssWord = (word) => (/^[a-z_]+$/.test(word) ? word : "");

function age(since) {
  const seconds = Math.max(0, Math.floor((Date.now() + skew - Date.parse(since)) / 1000));
  const pad = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  if (hours >= 48) return `${Math.floor(hours / 24)} d`;
  const rest = `${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

function clock(time) {
  return new Date(time).toLocaleTimeString(language === "zh" ? "zh-CN" : "en-GB");
}

function shown(value) {
  if (value === null) return "";
  if (typeof value === "boolean") return value ? words.yes : words.no;
  return String(Math.round(value * 100) / 100);
}

function alertLine(alert) {
  const facts = [alert.rule, named("alert", alert.state), clock(alert.fired_at || alert.started_at)];
  if (alert.limit !== null) facts.push(`${words.limit} ${shown(alert.limit)}`);
  if (alert.retriggers) facts.push(`${words.again} ×${alert.retriggers}`);
  return make("div", `line ${cssWord(alert.state)}`,
    make("span", "value", shown(alert.value)),
    alert.reason,
    make("span", "small", facts.join(" · ")));
}

function deviceRows(incident) {
  const devices = new Map();
  for (const alert of incident.alerts) {
    const name = alert.device || words.device_none;
    if (!devices.has(name)) devices.set(name, []);
    devices.get(name).push(alert);
  }
  const rows = [...devices].map(([name, alerts]) => make("li", "", make("b", "", name), ...alerts.map(alertLine)));
  const hidden = rows.length - FEW;
  if (hidden <= 0) return rows;
  const whole = opened.has(incident.id);
  const toggle = make("button", "more", whole ? words.fewer : `${words.further} ${hidden}`);
  toggle.type = "button";
  toggle.id = `more-${incident.id}`;
  toggle.addEventListener("click", () => {
    if (!opened.delete(incident.id)) opened.add(incident.id);
    draw();
  });
  return [...(whole ? rows : rows.slice(0, FEW)), make("li", "", toggle)];
}

function pageRow(page) {
  const last = page.receipts[page.receipts.length - 1];
  const facts = [clock(last ? last.at : page.created_at), page.reason];
  if (page.receipts.length > 1) facts.push(`${page.receipts.length} ${words.attempt}`);
  if (last && page.state !== "accepted" && last.detail) facts.push(last.detail);
  return make("li", "",
    make("b", "", teams.get(page.target) || page.target), ` · ${page.channel} · `,
    make("span", cssWord(page.state), named("page", page.state)),
    make("span", "small", facts.join(" · ")));
}

function section(title, rows, none) {
  const list = make("ul", "", ...rows);
  return make("section", "", make("h3", "", title), rows.length ? list : make("span", "small", none));
}

function card(incident) {
  const act = acts.get(incident.id) || {};
  const tick = make("time", "age", age(incident.opened_at));
  tick.dateTime = incident.opened_at;
  const foot = make("footer", "", make("span", "small", incident.next_action || ""));
  if (act.said) foot.append(make("span", "said", act.said));
  if (incident.state === "open") {
    const button = make("button", "act", act.pending ? words.sending : words.acknowledge);
    button.type = "button";
    button.id = `act-${incident.id}`;
    button.disabled = Boolean(act.pending);
    button.addEventListener("click", () => acknowledge(incident));
    foot.append(button);
  }
  const place = [incident.site_name === incident.site ? "" : incident.site, incident.area, clock(incident.opened_at)];
  return make("article", `${cssWord(incident.class)} ${cssWord(incident.state)}`,
    make("div", "top",
      make("span", "class", named("class", incident.class)),
      make("h2", "", incident.site_name),
      make("span", "chip", named("severity", incident.severity)),
      make("span", `chip ${cssWord(incident.state)}`, named("state", incident.state)),
      tick),
    make("p", "where", place.filter(Boolean).join(" · ")),
    make("p", "why", incident.reason),
    make("div", "columns",
      section(words.alerts, deviceRows(incident), ""),
      section(words.told, incident.pages.map(pageRow), words.nobody)),
    foot);
}

function order(left, right) {
  const rank = (incident) => RANK.indexOf(incident.class) * 2 + (incident.state === "open" ? 0 : 1);
  return rank(left) - rank(right) || Date.parse(right.opened_at) - Date.parse(left.opened_at);
}

function draw() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  byId("language").textContent = words.other;
  byId("logout").textContent = words.logout;
  const board = byId("board");
  const focused = document.activeElement && document.activeElement.id;
  if (incidents === null) {
    board.replaceChildren(make("p", "quiet", words.loading));
    return;
  }
  const counts = new Map();
  for (const incident of incidents) counts.set(incident.class, (counts.get(incident.class) || 0) + 1);
  byId("totals").replaceChildren(...RANK.filter((word) => counts.has(word)).map(
    (word) => make("li", word, `${named("class", word)} ${counts.get(word)}`)));
  const fires = counts.get("fire") || 0;
  document.title = fires ? `(${fires}) ${words.class.fire} · Emberwatch` : "Emberwatch";
  const cards = [...incidents].sort(order).map(card);
  if (more) cards.push(make("p", "small", words.more));
  board.replaceChildren(...(cards.length ? cards : [make("p", "quiet", words.quiet)]));
  const again = focused && byId(focused);
  if (again) again.focus();
}

function trouble(text) {
  byId("trouble").textContent = text;
  byId("trouble").hidden = !text;
}

function linked(isLive) {
  byId("link").className = isLive ? "live" : "away";
  byId("link").textContent = isLive ? words.live : words.away;
}

async function call(path, options) {
  const answer = await fetch(path, options);
  const served = Date.parse(answer.headers.get("Date"));
  if (served && Math.abs(served - Date.now()) > 2000) skew = served - Date.now();
  const body = await answer.json();
  if (answer.status === 401) throw new Error(words.login);
  if (!answer.ok) throw new Error(body.detail);
  return body;
}

let reading = false;
let stale = false;

async function refresh() {
  if (reading) { stale = true; return; }
  reading = true;
  try {
    const page = await call(`/api/v1/incidents?open=true&limit=${SHOWN}`);
    incidents = page.items;
    more = page.next !== null;
    trouble("");
    draw();
  } catch (error) {
    trouble(error.message === words.login ? words.login : words.trouble + error.message);
  }
  setTimeout(() => { // not more than a few times a second, however much happens
    reading = false;
    if (stale) { stale = false; refresh(); }
  }, 250);
}

async function learnTeams() {
  try {
    for (const team of (await call("/api/v1/teams?limit=1000")).items) teams.set(team.id, team.name || team.id);
    draw();
  } catch { /* their ids will do */ }
}

function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function acknowledge(incident) {
  // what this person saw: a fire that comes back meanwhile is not acknowledged with it
  const seen = Object.fromEntries(incident.alerts.map((alert) => [alert.id, alert.retriggers]));
  const key = (acts.get(incident.id) || {}).key || freshKey();
  acts.set(incident.id, { key, pending: true });
  draw();
  try {
    let act = await call(`/api/v1/incidents/${incident.id}/acknowledge`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify({ seen }),
    });
    for (let tries = 0; act.state === "pending" && tries < 60; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      act = await call(`/api/v1/acts/${act.id}`);
    }
    acts.set(incident.id, act.state === "refused" ? { said: words.refused + act.refusal } : {});
  } catch (error) {
    acts.set(incident.id, { key, said: words.refused + error.message }); // the same key: a repeat is harmless
  }
  refresh();
}

function listen() {
  const stream = new EventSource("/api/v1/events");
  stream.addEventListener("hello", () => { linked(true); refresh(); });
  for (const kind of ["incident", "alert", "page", "receipt", "refusal"]) stream.addEventListener(kind, refresh);
  stream.onerror = () => {
    linked(false);
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000); // refused outright: the browser gives up
  };
}

byId("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  words = WORDS[language];
  try { localStorage.setItem("language", language); } catch { /* a private window forgets */ }
  linked(byId("link").className === "live");
  draw();
});

setInterval(() => {
  for (const tick of document.querySelectorAll("time.age")) tick.textContent = age(tick.dateTime);
}, 1000);
setInterval(refresh, 30000); // should an event ever be missed
linked(false);
draw();
refresh();
learnTeams();
listen();
