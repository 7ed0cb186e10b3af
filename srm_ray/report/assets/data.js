// Where data comes from: blocks of this file (gzip, base64), or the server that sent the page.

const live = document.documentElement.dataset.mode === "live";
const cache = { texts: new Map(), tokens: new Map() };
let runTag = null;

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function unpack(id) {
  const node = byId(id);
  if (!node) return null;
  const stream = new Blob([bytesOf(node.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// The run as a whole; null while nothing has changed.
async function loadRun() {
  if (!live) return unpack("run");
  const answer = await fetch("run", { cache: "no-store", headers: runTag ? { "If-None-Match": runTag } : {} });
  if (answer.status === 304) return null;
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  runTag = answer.headers.get("ETag");
  return answer.json();
}

// What: "texts" or "tokens". Null where the step is not there.
function loadStep(what, step) {
  const kept = cache[what];
  if (!kept.has(step)) {
    kept.set(step, live ? fetchStep(what, step) : unpack(`${what}-${step}`));
    const limit = what === "tokens" ? 6 : Infinity;
    if (kept.size > limit) kept.delete(kept.keys().next().value);
  }
  return kept.get(step);
}

async function fetchStep(what, step) {
  const answer = await fetch(`${what}/${step}`, { cache: "no-store" });
  return answer.ok ? answer.json() : null;
}

// A continued run does steps again: what was read before the change is read anew.
function forgetSteps(keep) {
  for (const kept of Object.values(cache)) {
    for (const step of [...kept.keys()]) if (!keep.has(step)) kept.delete(step);
  }
}
