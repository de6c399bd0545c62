"use strict";
// Numbers under the pointer, or by the arrow keys, on every chart.
for (const frame of document.querySelectorAll(".frame")) {
  const lines = JSON.parse(frame.dataset.lines);
  const points = new Map();
  for (const line of lines) line.steps.forEach((step, i) => points.set(step, line.x[i]));
  const steps = [...points.keys()].sort((a, b) => a - b);
  const name = frame.closest("figure").querySelector("h4").textContent;
  const make = (tag, className, parent) => {
    const made = document.createElement(tag);
    made.className = className;
    parent.append(made);
    return made;
  };
  const cursor = make("div", "cursor", frame);
  const marks = lines.map((_, i) => make("div", `mark c${i % 6}`, frame));
  const tip = make("div", "tip", frame);
  let at = -1;

  const nearest = (sorted, value, key) => {
    let best = 0;
    sorted.forEach((each, i) => {
      if (Math.abs(key(each) - value) < Math.abs(key(sorted[best]) - value)) best = i;
    });
    return best;
  };
  const show = (index) => {
    at = index;
    const step = steps[index];
    const x = points.get(step);
    const said = [];
    tip.replaceChildren();
    make("b", "", tip).textContent = `step ${step.toLocaleString("en")}`;
    lines.forEach((line, i) => {
      const j = nearest(line.steps, step, (s) => s);
      const other = line.steps[j] === step ? "" : ` (step ${line.steps[j].toLocaleString("en")})`;
      const row = make("span", `c${i % 6}`, tip);
      make("i", "", row);
      row.append(lines.length > 1 ? `${line.name} ` : "");
      make("b", "", row).textContent = line.values[j];
      row.append(other);
      said.push(`${line.name} ${line.values[j]}${other}`);
      marks[i].style.left = `${line.x[j]}%`;
      marks[i].style.top = `${line.y[j]}%`;
    });
    cursor.style.left = `${x}%`;
    frame.classList.add("on");
    // Beside the cursor, and never outside of the chart.
    const place = (x * frame.clientWidth) / 100;
    const wanted = x < 50 ? place + 12 : place - 12 - tip.offsetWidth;
    const most = frame.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(Math.min(wanted, most), -frame.offsetLeft)}px`;
    frame.setAttribute("aria-valuenow", index);
    frame.setAttribute("aria-valuetext", `step ${step}: ${said.join(", ")}`);
  };
  const hide = () => frame.classList.remove("on");

  frame.tabIndex = 0;
  frame.setAttribute("role", "slider");
  frame.setAttribute("aria-label", `${name} by step`);
  frame.setAttribute("aria-valuemin", 0);
  frame.setAttribute("aria-valuemax", steps.length - 1);
  frame.setAttribute("aria-valuenow", steps.length - 1);
  frame.setAttribute("aria-valuetext", `step ${steps.at(-1)}`);
  const point = (event) => {
    const box = frame.getBoundingClientRect();
    const x = (100 * (event.clientX - box.left)) / box.width;
    show(nearest(steps, x, (step) => points.get(step)));
  };
  frame.addEventListener("pointermove", point);
  frame.addEventListener("pointerdown", point);
  frame.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") hide();
  });
  frame.addEventListener("focus", () => {
    if (!frame.classList.contains("on")) show(at < 0 ? steps.length - 1 : at);
  });
  frame.addEventListener("blur", hide);
  frame.addEventListener("keydown", (event) => {
    const last = steps.length - 1;
    const far = Math.max(1, Math.round(steps.length / 10));
    const moves = {
      ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
      PageDown: at - far, PageUp: at + far, Home: 0, End: last,
    };
    if (event.key === "Escape") hide();
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(Math.min(Math.max(moves[event.key], 0), last));
  });
}

// Fields of the config that have a text in their name or value.
const search = document.querySelector("#search");
if (search) {
  const groups = [...document.querySelectorAll("#config details")];
  const wasOpen = groups.map((group) => group.open);
  const found = document.querySelector("#found");
  search.closest("p").hidden = false;
  search.addEventListener("input", () => {
    const text = search.value.trim().toLowerCase();
    let count = 0;
    groups.forEach((group, i) => {
      let hits = 0;
      for (const row of group.querySelectorAll("tr")) {
        const fits = row.textContent.toLowerCase().includes(text);
        row.hidden = !fits;
        hits += fits;
      }
      group.hidden = hits === 0;
      group.open = text ? true : wasOpen[i];
      count += hits;
    });
    found.textContent = text ? `${count} field${count === 1 ? "" : "s"}` : "";
  });
}
