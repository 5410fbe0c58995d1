// Draws the page anew when the controller says that something changed, and
// now and then for ages and counters. The server draws; this script fetches,
// swaps, moves what has another place and keeps focus. Without it the page
// reloads by itself and the search is a form.
'use strict';

const base = document.body.dataset.base;
const still = matchMedia('(prefers-reduced-motion: reduce)');
const query = document.getElementById('q');
const overview = !document.body.dataset.every;
let drawing = false;
let wanted = false; // something changed while we drew
let timer = 0;
let took = 0; // the last drawing, in milliseconds

async function redraw() {
  wanted = drawing;
  if (drawing) return;
  drawing = true;
  const began = performance.now();
  try {
    const answer = await fetch(location.pathname + location.search, {cache: 'no-store'});
    if (!answer.ok) throw new Error(answer.status);
    swap(new DOMParser().parseFromString(await answer.text(), 'text/html'));
    document.body.classList.remove('stale');
  } catch {
    document.body.classList.add('stale');
  } finally {
    took = performance.now() - began;
    drawing = false;
    if (wanted) soon();
  }
}

// Many events come at once; one drawing serves them all. A page that takes long
// to draw is drawn less often.
function soon(wait = 80) {
  timer ||= setTimeout(() => { timer = 0; redraw(); }, Math.max(wait, 3 * took));
}

function swap(next) {
  if (next.body.dataset.build !== document.body.dataset.build) { location.reload(); return; } // the controller was upgraded
  const old = document.getElementById('live');
  const live = next.getElementById('live');
  const held = old.contains(document.activeElement) ? document.activeElement : null;
  const before = places(old);
  const scrolled = [...old.querySelectorAll('.scroll')].map((s) => s.scrollLeft);
  document.title = next.title;
  old.replaceWith(document.adoptNode(live));
  document.getElementById('state').replaceWith(document.adoptNode(next.getElementById('state')));
  [...live.querySelectorAll('.scroll')].forEach((s, i) => { s.scrollLeft = scrolled[i] || 0; });
  const again = held && twin(live, held);
  if (again) { again.focus({preventScroll: true}); }
  if (before.size) move(live, before);
  const pointed = live.querySelector('.box:hover');
  if (pointed) show(pointed);
}

// The element of the new page that is what held was on the old one.
function twin(live, held) {
  const all = [...live.querySelectorAll('a, [tabindex]')];
  if (held.dataset.key) return all.find((e) => e.dataset.key === held.dataset.key);
  if (held.id) return all.find((e) => e.id === held.id);
  return all.find((e) => e.getAttribute('href') === held.getAttribute('href') && e.textContent === held.textContent);
}

function places(root) {
  const map = new Map();
  for (const box of root.querySelectorAll('.box')) {
    const [x, y] = box.querySelector('.at').getAttribute('transform').match(/\d+/g).map(Number);
    map.set(box.dataset.key, {x, y, says: box.getAttribute('aria-label')});
  }
  return map;
}

// Boxes glide to their new place, and one that says something new lights up.
function move(live, before) {
  if (still.matches) return;
  const now = places(live);
  for (const box of live.querySelectorAll('.box')) {
    const is = now.get(box.dataset.key), was = before.get(box.dataset.key);
    if (!was) { box.animate([{opacity: 0}, {opacity: 1}], 400); continue; }
    if (was.x !== is.x || was.y !== is.y) {
      box.animate([{transform: `translate(${was.x - is.x}px, ${was.y - is.y}px)`}, {transform: 'none'}], {duration: 350, easing: 'ease-out'});
    }
    if (was.says !== is.says) box.querySelector('rect').animate([{strokeWidth: 7}, {strokeWidth: 1.5}], 1200);
  }
}

// What a box is joined with comes forward while it is pointed at or focused.
function near(e) { show(e.target.closest?.('.box')); }

function show(box) {
  const svg = document.querySelector('svg');
  if (!svg) return;
  svg.classList.toggle('asked', !!box);
  for (const n of svg.querySelectorAll('.near')) n.classList.remove('near');
  if (!box) return;
  const found = new Set();
  for (const [here, there] of [['from', 'to'], ['to', 'from']]) follow(svg, box.dataset.key, here, there, found);
  for (const b of svg.querySelectorAll('.box')) b.classList.toggle('near', found.has(b.dataset.key));
}

function follow(svg, start, here, there, found) {
  const queue = [start], seen = new Set();
  while (queue.length) {
    const key = queue.pop();
    if (seen.has(key)) continue;
    seen.add(key);
    found.add(key);
    for (const path of svg.querySelectorAll('path')) {
      if (path.dataset[here] === key) { path.classList.add('near'); queue.push(path.dataset[there]); }
    }
  }
}
for (const kind of ['mouseover', 'focusin']) document.addEventListener(kind, near);
document.addEventListener('focusout', () => show(null));

// Arrow keys walk the picture: up and down a column, left and right across.
document.addEventListener('keydown', (e) => {
  if (e.key === '/' && !e.ctrlKey && !e.metaKey && !e.altKey && !/^(INPUT|TEXTAREA)$/.test(e.target.tagName)) { e.preventDefault(); query.focus(); return; }
  if (e.key === 'Escape' && e.target === query) { query.value = ''; if (overview) find(); return; }
  if (e.key === 'Escape') { show(null); return; }
  const box = e.target.closest?.('.box');
  const way = {ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0]}[e.key];
  if (!box || !way) return;
  e.preventDefault();
  const all = places(document), at = all.get(box.dataset.key);
  let best = null, least = Infinity;
  for (const [key, p] of all) {
    const ahead = (p.x - at.x) * way[0] + (p.y - at.y) * way[1];
    const aside = way[0] ? Math.abs(p.y - at.y) : Math.abs(p.x - at.x) * 1000;
    if (ahead > 0 && ahead * (way[0] ? 10 : 1) + aside < least) { least = ahead * (way[0] ? 10 : 1) + aside; best = key; }
  }
  [...document.querySelectorAll('.box')].find((b) => b.dataset.key === best)?.focus();
});

// The search narrows while one types; its address can be kept and sent.
function find() {
  const text = query.value.trim();
  history.replaceState(null, '', text ? '?q=' + encodeURIComponent(text) : location.pathname);
  soon(120);
}
if (overview) {
  query.addEventListener('input', find);
  query.form.addEventListener('submit', (e) => { e.preventDefault(); find(); });
}

// What happens is said aloud, at most once a second and in one sentence.
let unsaid = [];
function tell(e) {
  soon();
  let change;
  try { change = JSON.parse(e.data); } catch { return; }
  unsaid.push(`${change.kind} ${change.subject}: ${change.to || 'none'}`);
  if (unsaid.length === 1) setTimeout(() => {
    const more = unsaid.length - 2;
    document.getElementById('said').textContent = unsaid.slice(0, 2).join('; ') + (more > 0 ? `; and ${more} more changes` : '');
    unsaid = [];
  }, 1000);
}

// A browser takes a stream up again by itself where the connection broke, but
// not where something else answered in the controller's place.
let last = document.body.dataset.last;
function listen() {
  const events = new EventSource(base + 'v1/events?after=' + last);
  for (const kind of ['node', 'stage', 'config', 'component', 'host', 'vip', 'prefix', 'endpoint']) {
    events.addEventListener(kind, (e) => { last = e.lastEventId || last; tell(e); });
  }
  events.addEventListener('open', () => soon());
  events.addEventListener('error', () => {
    document.body.classList.add('stale');
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
}
listen();
setInterval(() => { if (!document.hidden) soon(); }, Number(document.body.dataset.every) || 10000);
