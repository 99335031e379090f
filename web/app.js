// app.js: the page: conversations, models, live figures. Talks to its own server alone.
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, props = {}, ...children) => {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
};

// ---- the server ----

const key = { get: () => localStorage.getItem("key"), set: (k) => localStorage.setItem("key", k) };

async function call(method, path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (key.get()) headers.Authorization = "Bearer " + key.get();
  let r;
  try { r = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) }); }
  catch (e) { if (e.name === "AbortError") throw e; throw new Error("The server does not answer. Is it still running?"); }
  if (r.status === 401) {
    const k = prompt("This server asks for its key:");
    if (k) { key.set(k); return call(method, path, body, signal); }
  }
  if (!r.ok) {
    const t = await r.text();
    let message = t;
    try { message = JSON.parse(t).error.message; } catch { /* not ours: shown as it is */ }
    throw new Error(message || r.statusText);
  }
  return r;
}
const get = async (path) => (await call("GET", path)).json();
const post = async (path, body) => (await call("POST", path, body)).json();

// The data of server-sent events, one after the other; a comment as {note}.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    let at;
    while ((at = held.indexOf("\n\n")) >= 0) {
      const line = held.slice(0, at);
      held = held.slice(at + 2);
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
      else if (line.startsWith(": ")) yield { note: line.slice(2) };
    }
  }
}

// ---- a conversation: a tree of messages, and the leaf that is shown ----

const fresh = () => ({ id: crypto.randomUUID(), title: "", model: "", messages: [], leaf: null, changed: Date.now() });
let talk = fresh();
let running = null; // the AbortController of an answer being made
let files = [];     // attached: {name, text}

const node = (id) => talk.messages.find((m) => m.id === id);
const path = (leaf) => { const out = []; for (let m = node(leaf); m; m = node(m.parent)) out.unshift(m); return out; };
const siblings = (m) => talk.messages.filter((o) => o.parent === m.parent && o.role === m.role);
const deepest = (m) => { for (;;) { const kids = talk.messages.filter((o) => o.parent === m.id); if (!kids.length) return m.id; m = kids[kids.length - 1]; } };

function add(role, text, parent) {
  const m = { id: crypto.randomUUID(), parent, role, text };
  talk.messages.push(m);
  talk.leaf = m.id;
  return m;
}

async function save() {
  if (!talk.messages.length) return;
  talk.title = talk.title || talk.messages[0].text.trim().split("\n")[0].slice(0, 60);
  talk.model = $("model").value;
  talk.changed = Date.now();
  try {
    await call("PUT", "/nexus/conversations/" + talk.id, talk);
    await listConversations();
  } catch (e) { say("Not stored: " + e.message, true); }
}

async function listConversations() {
  const list = (await get("/nexus/conversations")).conversations;
  $("conversations").replaceChildren(...list.map((c) => {
    const open = make("button", { className: "open", textContent: c.title, title: c.title, onclick: () => openConversation(c.id) });
    const drop = make("button", { className: "drop", textContent: "×", ariaLabel: "Delete " + c.title, onclick: () => dropConversation(c) });
    return make("li", { className: c.id === talk.id ? "here" : "" }, open, drop);
  }));
}

async function openConversation(id) {
  stop();
  talk = await get("/nexus/conversations/" + id);
  if ([...$("model").options].some((o) => o.value === talk.model)) $("model").value = talk.model;
  view("chat");
  drawer(false);
  await draw();
  await listConversations();
}

async function dropConversation(c) {
  if (!confirm("Delete “" + c.title + "”?")) return;
  await call("DELETE", "/nexus/conversations/" + c.id);
  if (c.id === talk.id) newTalk();
  await listConversations();
}

function newTalk() {
  stop();
  talk = fresh();
  view("chat");
  drawer(false);
  draw();
  listConversations();
  $("input").focus();
}

// ---- drawing ----

const say = (text, bad) => { $("status").textContent = text; $("status").className = bad ? "fault" : ""; };

// Into box: as Markdown, or as it stands where the server is not there to make it.
async function render(box, text) {
  try { box.innerHTML = (await post("/nexus/markdown", { text })).html; box.classList.remove("plain"); }
  catch { box.textContent = text; box.classList.add("plain"); }
}

function decorate(box) {
  for (const code of box.querySelectorAll("pre > code")) {
    if (window.hljs && !code.dataset.done) {
      (hljs.highlightElement || hljs.highlightBlock)(code);
      code.dataset.done = "1";
    }
    const copy = make("button", { className: "copy", type: "button", textContent: "Copy" });
    copy.onclick = async () => {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    };
    code.parentNode.append(copy);
  }
  for (const a of box.querySelectorAll("a[href]")) Object.assign(a, { target: "_blank", rel: "noopener noreferrer" });
}

function thinkingBox(text, open) {
  const box = make("details", { className: "thinking", open }, make("summary", { textContent: "Thinking" }), make("div"));
  box.lastChild.textContent = text;
  return box;
}

async function fill(box, m) {
  const text = make("div", { className: "text" });
  if (m.role === "user") text.textContent = m.text;
  else {
    if (m.thinking) box.append(thinkingBox(m.thinking, false));
    await render(text, m.text);
    decorate(text);
  }
  box.append(text);
  if (m.cut) box.append(make("p", { className: "hint", textContent: m.cut }));
  if (m.fault) box.append(make("p", { className: "fault", role: "alert", textContent: m.fault }));
}

function toolbar(m) {
  const bar = make("div", { className: "tools" });
  const all = siblings(m), at = all.indexOf(m);
  const button = (label, text, run, disabled) => bar.append(make("button", { type: "button", ariaLabel: label, title: label, textContent: text, onclick: run, disabled: !!disabled }));
  if (all.length > 1) {
    button("Earlier version", "‹", () => show(all[at - 1]), at === 0);
    bar.append(make("span", { className: "hint", textContent: `${at + 1}/${all.length}` }));
    button("Later version", "›", () => show(all[at + 1]), at === all.length - 1);
  }
  button("Copy the text", "Copy", () => navigator.clipboard.writeText(m.text));
  if (m.role === "user") button("Edit and ask again", "Edit", () => edit(m));
  else button("Answer again", "Again", () => answer(m.parent));
  return bar;
}

async function draw() {
  const list = path(talk.leaf);
  const boxes = await Promise.all(list.map(async (m) => {
    const who = make("div", { className: "who" }, m.role === "user" ? "You" : m.model || "Answer");
    if (m.figures) who.append(make("span", { className: "figures", textContent: m.figures }));
    const box = make("article", { className: "message " + m.role }, who);
    await fill(box, m);
    box.append(toolbar(m));
    return box;
  }));
  if (!boxes.length) boxes.push(!$("model").options.length ? noModel() : make("div", { className: "empty" },
    make("h2", { textContent: "What shall we think about?" }),
    make("p", { textContent: "The model runs on this machine. Nothing you write leaves it." }),
    make("p", { className: "hint", textContent: "Enter sends, Shift+Enter begins a line, Esc stops, Ctrl+Shift+O begins a new chat." })));
  $("messages").replaceChildren(...boxes);
  $("messages").scrollTop = $("messages").scrollHeight;
}

const noModel = () => make("div", { className: "empty" },
  make("h2", { textContent: "There is no model here yet" }),
  make("p", { textContent: "Fetch one, once; from then on everything happens on this machine." }),
  make("button", { className: "primary", type: "button", textContent: "Fetch a model", onclick: () => { view("models"); $("pull-name").focus(); } }));

const show = (m) => { talk.leaf = deepest(m); draw(); save(); };

function edit(m) {
  $("input").value = m.text;
  $("input").focus();
  $("input").dataset.parent = m.parent || "";
  $("input").dataset.edits = "1";
  grow();
  say("Editing: sending makes a new branch. Esc leaves it.");
}

// ---- asking ----

const number = (id) => Number($(id).value);

function request(leaf) {
  const messages = path(leaf).map((m) => ({ role: m.role, content: m.text }));
  if ($("system").value.trim()) messages.unshift({ role: "system", content: $("system").value.trim() });
  const body = { model: $("model").value, messages, stream: true, stream_options: { include_usage: true },
                 temperature: number("temperature"), top_p: number("top_p") };
  if (number("max_tokens") > 0) body.max_tokens = number("max_tokens");
  if ($("seed").value !== "" && number("seed") >= 0) body.seed = number("seed");
  return body;
}

// Shows an answer while it comes; Markdown is made anew at most five times a second.
function liveBox() {
  const text = make("div", { className: "text" });
  const who = make("div", { className: "who" }, $("model").value);
  const box = make("article", { className: "message assistant" }, who, text);
  $("messages").append(box);
  let busy = false, last = 0, thinking = null;
  const bottom = () => { const m = $("messages"); if (m.scrollHeight - m.scrollTop - m.clientHeight < 160) m.scrollTop = m.scrollHeight; };
  return async (m) => {
    if (m.thinking) {
      if (!thinking) { thinking = thinkingBox("", true); box.insertBefore(thinking, text); }
      thinking.lastChild.textContent = m.thinking;
      if (m.text) thinking.open = false;
    }
    if (!busy && performance.now() - last > 200) {
      busy = true;
      last = performance.now();
      await render(text, m.text);
      busy = false;
    }
    bottom();
  };
}

async function answer(parent) {
  if (running) return;
  talk.leaf = parent;
  await draw();
  const m = add("assistant", "", parent);
  m.model = $("model").value;
  m.thinking = "";
  running = new AbortController();
  $("messages").ariaBusy = "true";
  $("send").hidden = true;
  $("stop").hidden = false;
  const started = performance.now();
  const update = liveBox();
  let tokens = 0, first = 0;
  say("Reading…");
  try {
    const r = await call("POST", "/v1/chat/completions", request(parent), running.signal);
    for await (const e of events(r)) {
      if (e.error) throw new Error(e.error.message);
      if (e.note) { say(e.note[0].toUpperCase() + e.note.slice(1)); continue; }
      const d = e.choices[0]?.delta;
      if (e.choices[0]?.finish_reason === "length") m.cut = "Cut off here: " + (number("max_tokens") > 0 && tokens >= number("max_tokens") - 1 ? "“Most tokens” in the settings allows no more." : "the context is full.");
      if (d?.content || d?.reasoning_content) {
        m.text += d.content || "";
        m.thinking += d.reasoning_content || "";
        tokens++;
        first = first || performance.now();
        say(`${tokens} tokens, ${(tokens / Math.max(0.05, (performance.now() - first) / 1000)).toFixed(1)}/s`);
        update(m);
      }
      if (e.timings) m.figures = `${e.usage.completion_tokens} tokens · ${e.timings.predicted_per_second.toFixed(1)}/s · first after ${((first - started) / 1000).toFixed(2)} s`;
    }
    say("");
  } catch (e) {
    if (e.name !== "AbortError") m.fault = /network|fetch/i.test(e.message) ? "The server went away in the middle of the answer." : e.message;
    say(e.name === "AbortError" ? "Stopped." : "");
  }
  running = null;
  const focused = document.activeElement === $("stop");
  $("messages").ariaBusy = "false";
  $("send").hidden = false;
  $("stop").hidden = true;
  if (focused) $("input").focus(); // what had it is hidden
  await draw();
  await save();
}

function stop() { if (running) running.abort(); }

async function send(event) {
  event?.preventDefault();
  const input = $("input");
  let text = input.value.trim();
  if ((!text && !files.length) || running) return;
  if (!$("model").options.length) { say("There is no model to ask: fetch one under Models.", true); return; }
  for (const f of files) text = `${f.name}:\n\`\`\`\n${f.text}\n\`\`\`\n\n` + text;
  const parent = input.dataset.edits ? input.dataset.parent || null : talk.leaf;
  leaveEdit();
  files = [];
  showFiles();
  const m = add("user", text, parent);
  await save();
  await answer(m.id);
}

function leaveEdit() {
  const input = $("input");
  input.value = "";
  delete input.dataset.edits;
  delete input.dataset.parent;
  say("");
  grow();
}

function grow() {
  const i = $("input");
  i.style.height = "auto";
  i.style.height = Math.min(i.scrollHeight + 2, innerHeight * 0.4) + "px";
}

async function attach(list) {
  for (const f of list) {
    const bytes = new Uint8Array(await f.arrayBuffer());
    if (f.size > 1 << 20 || bytes.includes(0)) say(`${f.name} is not a text of at most 1 MB`, true);
    else files.push({ name: f.name, text: new TextDecoder().decode(bytes) });
  }
  showFiles();
}

const showFiles = () => $("files").replaceChildren(...files.map((f, i) => make("li", {}, f.name + " ",
  make("button", { type: "button", className: "icon", ariaLabel: "Remove " + f.name, textContent: "×", onclick: () => { files.splice(i, 1); showFiles(); } }))));

// ---- export ----

function download(name, type, text) {
  const a = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  a.click();
  URL.revokeObjectURL(a.href);
}
const fileName = (end) => (talk.title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40) || "conversation") + end;
const asMarkdown = () => path(talk.leaf).map((m) => `## ${m.role === "user" ? "You" : m.model || "Answer"}\n\n${m.text}\n`).join("\n");

// ---- models ----

const bytes = (n) => n >= 1e9 ? (n / 1e9).toFixed(1) + " GB" : n >= 1e6 ? (n / 1e6).toFixed(0) + " MB" : (n / 1e3).toFixed(0) + " kB";
const fits = { "now": "now", "when-free": "when other programs close", "too-big": "too big" };

async function listModels() {
  const [all, ps] = await Promise.all([get("/nexus/models"), get("/nexus/ps")]);
  const loaded = new Set(ps.models.map((m) => m.name));
  const chosen = $("model").value || localStorage.getItem("model");
  $("model").replaceChildren(...all.models.filter((m) => m.kind === "text").map((m) => make("option", { value: m.name, textContent: m.name + (loaded.has(m.name) ? " ●" : "") })));
  if ([...$("model").options].some((o) => o.value === chosen)) $("model").value = chosen;
  $("memory").textContent = `${bytes(ps.memory_available_bytes)} of ${bytes(ps.memory_total_bytes)} are free.`;
  $("model").parentNode.hidden = !$("model").options.length;
  $("models").hidden = !all.models.length;
  $("models-none").hidden = !!all.models.length;
  if ($("messages").querySelector(".empty")) draw();
  $("models").tBodies[0].replaceChildren(...all.models.map((m) => {
    const is = loaded.has(m.name);
    const b = make("button", { type: "button", textContent: is ? "Unload" : "Load", ariaLabel: (is ? "Unload " : "Load ") + m.name });
    b.dataset.model = m.name;
    b.onclick = async () => {
      b.disabled = true;
      b.textContent = is ? "Unloading…" : "Loading…";
      try { await post(is ? "/nexus/unload" : "/nexus/load", { model: m.name }); sayModels(""); } catch (e) { sayModels(e.message); }
      await listModels();
      document.querySelector(`#models button[data-model="${CSS.escape(m.name)}"]`)?.focus();
    };
    const cell = (text, num) => make("td", { textContent: text, className: num ? "num" : "" });
    return make("tr", {}, cell(m.name), cell(m.family), cell(m.quantization), cell(bytes(m.bytes), true),
      cell(m.memory_bytes ? bytes(m.memory_bytes) : "", true), cell(fits[m.fits] || ""), cell(m.kind), make("td", {}, b));
  }));
}

const sayModels = (text) => { $("models-status").textContent = text; };

// ---- fetching ----

const duration = (s) => s >= 3600 ? `${Math.floor(s / 3600)}:${String(Math.floor(s / 60) % 60).padStart(2, "0")} h` : `${Math.floor(s / 60)}:${String(Math.floor(s) % 60).padStart(2, "0")}`;
const pullRows = new Map(); // job_id: its row, which is changed in place so that focus stays
let pulling = false;        // one ran when we last looked

function pullRow(p) {
  const bar = make("progress", { max: 1, ariaLabel: "Progress of " + p.model });
  const line = make("span", { className: "hint" });
  const button = make("button", { type: "button" });
  const row = make("li", {}, make("b", { textContent: p.model }), button, bar, line);
  row.update = (p) => {
    const runs = p.status === "downloading", share = p.total_size_bytes ? p.downloaded_bytes / p.total_size_bytes : 0;
    const left = p.estimated_completion ? (new Date(p.estimated_completion) - Date.now()) / 1000 : -1;
    if (runs && !p.total_size_bytes) bar.removeAttribute("value"); else bar.value = share;
    bar.hidden = !runs && p.status !== "paused";
    line.textContent = p.status === "failed" ? p.error : p.status === "completed" ? `fetched, ${bytes(p.total_size_bytes)}`
      : !p.total_size_bytes ? "asking the hub…"
      : `${(share * 100).toFixed(0)}% of ${bytes(p.total_size_bytes)}` + (p.status === "paused" ? ", stopped" : `, ${bytes(p.bytes_per_second)}/s` + (left >= 0 ? `, ${duration(left)} left` : ""));
    line.classList.toggle("fault", p.status === "failed");
    button.textContent = runs ? "Cancel" : "Go on";
    button.ariaLabel = (runs ? "Cancel " : "Go on with ") + p.model;
    button.hidden = p.status === "completed";
    button.onclick = () => (runs ? call("DELETE", "/nexus/pulls/" + p.job_id).then(listPulls) : pull(p.model)).catch((e) => sayPull(e.message, true));
  };
  return row;
}

const sayPull = (text, bad) => { $("pull-status").textContent = text; $("pull-status").className = bad ? "fault" : "hint"; };

// Of each model the newest one. What failed before it began was said when it was asked for.
async function listPulls() {
  const all = await get("/nexus/pulls"), shown = new Map();
  for (const p of all.pulls) if (p.job_id && !shown.has(p.model) && !(p.status === "failed" && !p.total_size_bytes)) shown.set(p.model, p);
  $("pull").hidden = all.offline;
  for (const p of shown.values()) {
    if (!pullRows.has(p.job_id)) pullRows.set(p.job_id, pullRow(p));
    pullRows.get(p.job_id).update(p);
  }
  const rows = [...shown.values()].map((p) => pullRows.get(p.job_id));
  if (rows.length !== $("pulls").children.length || rows.some((r, i) => r !== $("pulls").children[i])) $("pulls").replaceChildren(...rows);
  const runs = all.pulls.some((p) => p.status === "downloading");
  if (pulling && !runs) await listModels();
  pulling = runs;
}

async function pull(name) {
  sayPull("Asking the hub…");
  try {
    const p = await post("/api/v1/models/download", { model: name });
    sayPull(p.status === "already_downloaded" ? `${name} is there already.` : "");
    pulling = true;
  } catch (e) { sayPull(e.message, true); }
  await listPulls();
}

// ---- live ----

const history = [];

function plot(svg, values, unit) {
  if (values.length === 1) values = [values[0], values[0]];
  const most = Math.max(...values, 1e-9), n = values.length - 1;
  const at = values.map((v, i) => `${(i / n * 600).toFixed(1)},${(112 - v / most * 100).toFixed(1)}`);
  const ns = "http://www.w3.org/2000/svg";
  const shape = (d, c) => { const p = document.createElementNS(ns, "path"); p.setAttribute("d", d); if (c) p.setAttribute("class", c); return p; };
  svg.replaceChildren(shape(`M0,112 L${at.join(" L")} L600,112 Z`, "area"), shape("M" + at.join(" L")));
  $(svg.id + "-most").textContent = "most " + unit(most);
}

async function live() {
  const ps = await get("/nexus/ps");
  history.push({ memory: ps.resident_bytes, queue: ps.requests - 1 });
  if (history.length > 300) history.shift();
  const figure = (value, name) => make("div", {}, make("b", { textContent: value }), name);
  const now = ps.tokens_per_second.slice(-5).reduce((a, b) => a + b, 0) / 5;
  $("figures").replaceChildren(figure(now.toFixed(0), "tokens a second"), figure(bytes(ps.resident_bytes), "memory of the server"),
    figure(bytes(ps.memory_available_bytes), "free on the machine"), figure(Math.max(0, ps.requests - 1), "requests"), figure(ps.models.length, "models loaded"));
  plot($("plot-tokens"), ps.tokens_per_second, (v) => v.toFixed(0) + "/s");
  plot($("plot-memory"), history.map((h) => h.memory), bytes);
  plot($("plot-queue"), history.map((h) => h.queue), (v) => v.toFixed(0));
}

// ---- the frame ----

function view(name) {
  for (const v of ["chat", "models", "live"]) $("view-" + v).hidden = v !== name;
  for (const b of document.querySelectorAll("nav button")) b.dataset.view === name ? b.setAttribute("aria-current", "page") : b.removeAttribute("aria-current");
  if (name === "chat") $("messages").scrollTop = $("messages").scrollHeight; // hidden, it forgot where it was
  if (name === "models") { listModels().then(() => sayModels(""), (e) => sayModels(e.message)); listPulls().catch((e) => sayPull(e.message, true)); }
  if (name === "live") liveNow();
}

// Conversations, on a small screen.
function drawer(open) {
  $("side").classList.toggle("shown", open);
  $("menu").setAttribute("aria-expanded", open);
}

const liveNow = () => live().then(() => { $("live-status").textContent = ""; }, (e) => { $("live-status").textContent = e.message; });

function theme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
}

if (localStorage.getItem("theme")) document.documentElement.dataset.theme = localStorage.getItem("theme");
for (const b of document.querySelectorAll("nav button")) b.onclick = () => view(b.dataset.view);
$("theme").onclick = theme;
$("menu").onclick = () => drawer(!$("side").classList.contains("shown"));
for (const v of document.querySelectorAll("main")) v.addEventListener("click", () => drawer(false));
document.addEventListener("click", (e) => { if (!$("export").contains(e.target)) $("export").open = false; });
$("new").onclick = newTalk;
$("settings-open").onclick = () => { $("settings").hidden = !$("settings").hidden; $("settings-open").setAttribute("aria-expanded", !$("settings").hidden); };
$("settings").onsubmit = (e) => e.preventDefault();
$("ask").onsubmit = send;
$("pull").onsubmit = (e) => { e.preventDefault(); pull($("pull-name").value.trim()); };
$("stop").onclick = stop;
$("input").oninput = grow;
$("attach").parentNode.onkeydown = (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); $("attach").click(); } };
for (const f of $("settings").elements) { // kept by this browser
  f.value = localStorage.getItem("set-" + f.id) ?? f.value;
  f.oninput = () => localStorage.setItem("set-" + f.id, f.value);
}
$("attach").onchange = (e) => { attach(e.target.files); e.target.value = ""; };
$("model").onchange = () => localStorage.setItem("model", $("model").value);
$("export-md").onclick = () => download(fileName(".md"), "text/markdown", asMarkdown());
$("export-json").onclick = () => download(fileName(".json"), "application/json", JSON.stringify(talk, null, 1));
$("input").onkeydown = (e) => { if (e.key === "Enter" && !e.shiftKey && !e.isComposing) send(e); };
document.onkeydown = (e) => {
  if (e.key === "Escape") {
    if ($("side").classList.contains("shown")) { drawer(false); $("menu").focus(); }
    else if ($("export").open) { $("export").open = false; $("export").firstElementChild.focus(); }
    else if (running) stop();
    else if ($("input").dataset.edits) leaveEdit();
  }
  if (e.key.toLowerCase() === "o" && e.ctrlKey && e.shiftKey) { e.preventDefault(); newTalk(); }
  if (e.key === "/" && e.target === document.body) { e.preventDefault(); $("input").focus(); }
};
document.ondragover = (e) => e.preventDefault();
document.ondrop = (e) => { e.preventDefault(); attach(e.dataTransfer.files); };
setInterval(() => {
  if (document.hidden) return;
  if (!$("view-live").hidden) liveNow();
  if (!$("view-models").hidden && pulling) listPulls().catch((e) => sayPull(e.message, true));
}, 1000);
(async () => {
  try { await listModels(); await listConversations(); } catch (e) { say(e.message, true); }
  draw();
})();
