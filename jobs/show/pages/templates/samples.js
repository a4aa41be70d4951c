"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const PER_PAGE = { list: 50, pairs: 15 };
const form = document.getElementById("filters");
const results = document.getElementById("results");
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;
let page = 0;

// Text of models and problems becomes text nodes; what would be invisible, or turn the direction of
// other text, is shown by its code.
function fill(element, text) {
  let end = 0;
  for (const found of text.matchAll(INVISIBLE)) {
    element.append(text.slice(end, found.index));
    const code = found[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    element.append(Object.assign(document.createElement("span"), { className: "odd", textContent: `U+${code}` }));
    end = found.index + found[0].length;
  }
  element.append(text.slice(end));
  return element;
}

function made(tag, text, className) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  return text === undefined ? element : fill(element, text === null ? "–" : String(text));
}

const block = (text, kind = "") => text === "" ? made("p", "(empty)", "tag") : made("div", text, `text ${kind}`);
const shown = (value) => value === null ? "–" : typeof value === "number" ? String(Number(value.toPrecision(5))) : value;

function facts(pairs) {
  const list = made("dl");
  for (const [name, value] of pairs) {
    if (value !== undefined) list.append(made("dt", name), made("dd", shown(value)));
  }
  return list;
}

const samples = data.samples;
const own = (sample) => sample.verdicts.find((verdict) => verdict.role === "reward") ?? null;
const verdictOf = (sample) => own(sample)?.verdict ?? "not scored";
const problemOf = (sample) => data.problems[sample.problem_id] ?? null;
const isCorrect = (sample) => verdictOf(sample) === "correct";

function trainingOf(sample) {
  if (sample.selection) return sample.selection.reason;
  return sample.purpose === "train" && sample.decoding === "sample" ? "not curated" : "for evaluation";
}

function haystack(sample) {
  if (sample.haystack === undefined) {
    const problem = problemOf(sample);
    sample.haystack = [sample.sample_id, sample.problem_id, sample.solution, problem?.question, problem?.reference,
      ...sample.verdicts.map((verdict) => verdict.extracted)].join("\n").toLowerCase();
  }
  return sample.haystack;
}

function offer(name, values) {
  const field = form.elements[name];
  for (const value of values) field.append(Object.assign(made("option", value), { value: String(value) }));
}
const distinct = (of) => [...new Set(samples.map(of))].sort((a, b) => typeof a === "number" ? a - b : a < b ? -1 : 1);
const iterations = distinct((sample) => sample.iteration);
offer("purpose", distinct((sample) => sample.purpose));
offer("iteration", iterations);
offer("decoding", distinct((sample) => sample.decoding));
offer("verdict", distinct(verdictOf));
offer("kept", distinct(trainingOf));
offer("left", iterations);
offer("right", iterations);
for (const id of new Set(samples.map((sample) => sample.problem_id))) {
  document.getElementById("problems").append(Object.assign(made("option"), { value: id }));
}

// What is chosen is in the address after the #, so that it can be kept and shared.
function restore() {
  form.reset();
  form.elements.left.value = iterations[0];
  form.elements.right.value = iterations.at(-1);
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    if (form.elements[name]) form.elements[name].value = value;
  }
}

function remember() {
  const chosen = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  if (chosen.get("view") === "list") ["view", "left", "right", "solved"].forEach((name) => chosen.delete(name));
  else ["iteration", "order"].forEach((name) => chosen.delete(name));
  const hash = chosen.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

function matching() {
  const field = form.elements;
  const words = field.q.value.toLowerCase();
  const iteration = field.view.value === "list" ? field.iteration.value : "";
  const found = samples.filter((sample) =>
    (!field.purpose.value || sample.purpose === field.purpose.value) &&
    (!field.problem.value || sample.problem_id.startsWith(field.problem.value)) &&
    (!iteration || String(sample.iteration) === iteration) &&
    (!field.decoding.value || sample.decoding === field.decoding.value) &&
    (!field.verdict.value || verdictOf(sample) === field.verdict.value) &&
    (!field.kept.value || trainingOf(sample) === field.kept.value) &&
    (!words || haystack(sample).includes(words)));
  if (field.order.value) found.sort((a, b) => a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : 0);
  return found;
}

function pairs(found) {
  const field = form.elements;
  const [left, right] = [Number(field.left.value), Number(field.right.value)];
  const wanted = new Set(found.filter((sample) => [left, right].includes(sample.iteration))
    .map((sample) => `${sample.purpose} ${sample.problem_id}`));
  const groups = new Map();
  for (const sample of samples) {
    const key = `${sample.purpose} ${sample.problem_id}`;
    if (!wanted.has(key) || (field.decoding.value && sample.decoding !== field.decoding.value)) continue;
    if (!groups.has(key)) groups.set(key, { sample, left: [], right: [] });
    if (sample.iteration === left) groups.get(key).left.push(sample);
    if (sample.iteration === right) groups.get(key).right.push(sample);
  }
  const outcome = (group) => {
    const [before, after] = [group.left.some(isCorrect), group.right.some(isCorrect)];
    return before ? (after ? "both" : "left") : after ? "right" : "neither";
  };
  return [...groups.values()].filter((group) => !field.solved.value || outcome(group) === field.solved.value);
}

function headline(sample) {
  const verdict = verdictOf(sample);
  return [made("span", verdict, `verdict ${verdict === "correct" ? "correct" : ""}`),
    made("span", `iteration ${sample.iteration}`, "tag"), made("span", `${sample.purpose}, ${sample.decoding}`, "tag"),
    made("span", trainingOf(sample), "tag")];
}

function opening(summary, parts) {
  const element = made("details");
  element.append(summary);
  element.addEventListener("toggle", () => {
    if (element.open && element.children.length === 1) element.append(...parts());
  });
  return element;
}

function listed(sample) {
  const summary = made("summary");
  const question = (problemOf(sample)?.question ?? "").trim().slice(0, 200);
  summary.append(...headline(sample), made("span", question, "first"));
  return Object.assign(opening(summary, () => lineage(sample, "h3")), { className: "sample" });
}

function beside(sample) {
  const element = made("div", undefined, "sample");
  const line = made("p", undefined, "headline");
  line.append(...headline(sample));
  element.append(line, block(sample.solution, isCorrect(sample) ? "good" : "bad"),
    opening(made("summary", "Lineage"), () => lineage(sample, "h5").slice(2)));
  return element;
}

function verdictFacts(verdict) {
  return facts([["verdict", verdict.verdict], ["reward", verdict.reward], ["answer found", verdict.extracted],
    ["verifier", `${verdict.verifier} version ${verdict.verifier_version} (${verdict.role})`],
    ["checker failed", verdict.detail ?? undefined], ["milliseconds", verdict.milliseconds]]);
}

function ancestry(sample) {
  const chain = [];
  let policy = data.policies.find((row) => row.iteration === sample.iteration);
  while (policy) {
    chain.push(policy);
    const earlier = data.policies.filter((row) => row.iteration < policy.iteration);
    policy = earlier.find((row) => row.policy_id === policy.started_from);
  }
  return chain;
}

function policyFacts(policy) {
  const origin = policy.started_from === null ? "the base model"
    : `fine-tuned from ${policy.started_from} on training_set version ${policy.training_set_version}, ` +
      `epoch ${policy.epoch} of ${policy.num_epochs} kept`;
  return facts([["policy", `${policy.iteration}, ${policy.policy_id}`], ["made", origin],
    ["reward on D_val", policy.validation_reward ?? undefined], ["checkpoint", policy.checkpoint_uri]]);
}

function training(sample) {
  const chosen = sample.selection;
  if (!chosen) return [made("p", trainingOf(sample))];
  const said = [facts([["kept", chosen.kept ? `yes, for iteration ${sample.iteration + 1}` : `no: ${chosen.reason}`],
    ["why", data.reasons[chosen.reason]],
    ["place in its problem's order", chosen.rank ?? undefined], ["weight", sample.weight ?? undefined]])];
  const trained = data.policies.find((row) => row.iteration === sample.iteration + 1);
  if (chosen.kept && trained) said.push(made("p", `Trained on it: policy ${trained.iteration}, ${trained.policy_id}.`));
  return said;
}

function stageTable(sample) {
  const later = sample.selection ? ["select", "curate", "improve"] : [];
  const rows = data.stages.filter((row) => row.stage === "ingest" ||
    (row.iteration === sample.iteration && ["render", "generate", "score"].includes(row.stage)) ||
    (row.iteration === sample.iteration + 1 && later.includes(row.stage)));
  const names = ["iteration", "stage", "attempt", "table_name", "version", "code_version", "committed_at"];
  const [table, head, body] = [made("table"), made("thead"), made("tbody")];
  const line = (cells, tag) => {
    const row = made("tr");
    row.append(...cells.map((value) => Object.assign(made(tag, value), tag === "th" ? { scope: "col" } : {})));
    return row;
  };
  head.append(line(names.map((name) => name.replace("_", " ")), "th"));
  body.append(...rows.map((row) => line(names.map((name) => row[name]), "td")));
  table.append(head, body);
  const scroll = Object.assign(made("div", undefined, "scroll"), { tabIndex: 0 });
  scroll.append(table);
  return scroll;
}

function promptElements(sample) {
  const prompt = data.prompts[sample.prompt_id];
  if (!prompt) return [made("p", "Not in the prompts table.")];
  const start = data.shared_prompts[prompt.shared];
  const common = made("details");
  common.append(made("summary", `${start.length.toLocaleString("en")} characters that other prompts have too`), block(start));
  return [...(start ? [common] : []), block(prompt.rest)];
}

function lineage(sample, heading) {
  const problem = problemOf(sample);
  const end = sample.finish_reason !== "stop" ? sample.finish_reason
    : sample.stop_string === null ? "end of text" : `stop string ${JSON.stringify(sample.stop_string)}`;
  const part = (title, ...elements) => [made(heading, title), ...elements];
  const human = problem?.solution ? [made("details")] : [];
  human.forEach((element) => element.append(made("summary", "Human solution"), block(problem.solution)));
  return [
    ...part("Solution", block(sample.solution, isCorrect(sample) ? "good" : "bad")),
    ...part("Verdict", ...sample.verdicts.map(verdictFacts), ...(sample.verdicts.length ? [] : [made("p", "Not scored yet.")]),
      ...(sample.selected_on.length ? [made("p", "Rescored since its selection, which read:"), ...sample.selected_on.map(verdictFacts)] : [])),
    ...part("Problem", ...(problem ? [block(problem.question),
      facts([["reference", problem.reference], ["split", problem.split], ["source", `${problem.dataset}, row ${problem.source_row}`],
        ["id", sample.problem_id]]), ...human] : [made("p", "Not in the problems table.")])),
    ...part("Training set", ...training(sample)),
    ...part("Drawn", facts([["sample", sample.sample_id], ["how", `${sample.decoding}, temperature ${sample.temperature}, ` +
      `top-k ${sample.top_k}, top-p ${sample.top_p}, at most ${sample.max_tokens} tokens`], ["seed", sample.seed],
      ["index", sample.index], ["ended", `${end} after ${sample.num_tokens} tokens (prompt: ${sample.num_prompt_tokens})`],
      ["log-probability", sample.log_probability], ["at", sample.created_at]])),
    ...part("Prompt", ...promptElements(sample)),
    ...part("Policy that drew it, and its ancestors", ...ancestry(sample).map(policyFacts)),
    ...part("Stages that made these rows", stageTable(sample)),
    ...part("The same in a terminal", made("pre", `${data.explain} ${sample.sample_id}${data.explain_arguments}`)),
  ];
}

function pairElement(group) {
  const element = made("article", undefined, "problem");
  const problem = problemOf(group.sample);
  element.append(made("h3", `${group.sample.purpose}: ${group.sample.problem_id}`),
    block(problem?.question ?? "Not in the problems table."), facts([["reference", problem?.reference]]));
  const sides = made("div", undefined, "sides");
  for (const name of ["left", "right"]) {
    const side = made("div");
    const right = group[name].filter(isCorrect).length;
    side.append(made("h4", `Iteration ${form.elements[name].value}: ${right} of ${group[name].length} correct`));
    side.append(...group[name].map(beside));
    sides.append(side);
  }
  element.append(sides);
  return element;
}

function show() {
  const view = form.elements.view.value;
  document.body.dataset.view = view;
  const found = matching();
  const items = view === "list" ? found : pairs(found);
  const last = Math.max(0, Math.ceil(items.length / PER_PAGE[view]) - 1);
  page = Math.min(page, last);
  const from = page * PER_PAGE[view];
  const part = items.slice(from, from + PER_PAGE[view]);
  results.replaceChildren(...part.map((item) => view === "list" ? listed(item) : pairElement(item)));
  const what = view === "list" ? "samples" : "problems";
  const all = view === "list" ? samples.length : new Set(samples.map((s) => `${s.purpose} ${s.problem_id}`)).size;
  document.getElementById("found").textContent = `${items.length.toLocaleString("en")} of ${all.toLocaleString("en")} ${what} on this page match.`;
  document.getElementById("page").textContent = `Page ${page + 1} of ${last + 1}`;
  document.getElementById("previous").disabled = page === 0;
  document.getElementById("next").disabled = page === last;
}

function turn(by) {
  page += by;
  show();
  document.getElementById("h-results").scrollIntoView();
}
function changed() {
  page = 0;
  remember();
  show();
}
let waiting;
form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(changed, 120);
});
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("clear").addEventListener("click", () => {
  history.replaceState(null, "", location.pathname + location.search);
  restore();
  changed();
});
document.getElementById("previous").addEventListener("click", () => turn(-1));
document.getElementById("next").addEventListener("click", () => turn(1));
addEventListener("hashchange", () => { restore(); page = 0; show(); });
restore();
show();
