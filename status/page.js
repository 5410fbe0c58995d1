// Draws the page anew when the controller says that something changed, and
// every ten seconds for the ages and counters. Without it the page reloads.
'use strict';

let drawing = false;
let wanted = false; // something changed while we drew

async function redraw() {
  wanted = drawing;
  if (drawing) return;
  drawing = true;
  try {
    const answer = await fetch('./', {cache: 'no-store'});
    if (!answer.ok) throw new Error(answer.status);
    const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const main = next.querySelector('main');
    for (const old of document.querySelectorAll('details[data-touched]')) {
      const same = [...main.querySelectorAll('details')].find((d) => d.id === old.id);
      if (same) { same.open = old.open; same.dataset.touched = '1'; }
    }
    document.title = next.title;
    document.querySelector('main').replaceWith(main);
    document.body.classList.remove('stale');
  } catch {
    document.body.classList.add('stale');
  } finally {
    drawing = false;
    if (wanted) soon();
  }
}

// Many events come at once; one drawing serves them all.
let timer = 0;
function soon() {
  timer ||= setTimeout(() => { timer = 0; redraw(); }, 80);
}

document.addEventListener('click', (e) => {
  const details = e.target.closest('summary')?.parentElement;
  if (details) details.dataset.touched = '1';
});

const events = new EventSource('v1/events?after=' + document.querySelector('main').dataset.last);
for (const kind of ['node', 'config', 'component', 'host', 'vip', 'prefix', 'endpoint']) events.addEventListener(kind, soon);
events.addEventListener('open', soon);
events.addEventListener('error', () => document.body.classList.add('stale'));
setInterval(soon, 10000);
