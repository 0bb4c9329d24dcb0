"use strict";
(() => {
  const root = document.documentElement;
  const SVG = "http://www.w3.org/2000/svg";
  const paper = new Map(); // variables of the light theme, which is the one of paper

  // --- Light and dark ---
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  const remembered = (value) => {
    try { // not allowed everywhere
      if (value) localStorage.setItem("late-fast-theme", value);
      return localStorage.getItem("late-fast-theme");
    } catch { return null; }
  };
  let theme = themes.includes(remembered()) ? remembered() : "auto";
  const paint = () => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    button.textContent = "Theme: " + theme;
  };
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    remembered(theme);
    paint();
  });
  button.hidden = false;
  paint();

  // --- Tables ---
  const key = (row, column) => {
    const cell = row.cells[column];
    if (!("value" in cell.dataset)) return cell.textContent;
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    // Numbers among texts stand first: compared as texts they would be in another order than among themselves.
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    if (typeof a === "number") return a < b ? -1 : a > b ? 1 : 0;
    return a.localeCompare(b, undefined, { numeric: true });
  };
  const missing = (value) => value === "" || Number.isNaN(value);
  for (const head of document.querySelectorAll("th")) {
    head.querySelector("button").addEventListener("click", () => {
      const body = head.closest("table").tBodies[0];
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => ({ row, key: key(row, head.cellIndex) }));
      rows.sort((a, b) => missing(a.key) - missing(b.key) || (missing(a.key) ? 0 : sign * compare(a.key, b.key)));
      body.append(...rows.map(({ row }) => row));
    });
  }

  // --- Figures ---
  const tip = document.getElementById("tip");
  const say = (lines, event) => {
    tip.replaceChildren(...lines.map((line) => {
      const div = document.createElement("div");
      div.textContent = line;
      return div;
    }));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = event.clientX + 14 + width > innerWidth - 8 ? event.clientX - 14 - width : event.clientX + 14;
    const top = event.clientY + 14 + height > innerHeight - 8 ? event.clientY - 14 - height : event.clientY + 14;
    tip.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, top)}px)`;
  };

  // What is found at a place: lines of text, and a circle or a rectangle around it.
  const find = {
    points({ x: xName, y: yName, groups, points, reach }, x, y, isShown) {
      let best = null;
      let nearest = reach * reach;
      for (const point of points) {
        const distance = (point[0] - x) ** 2 + (point[1] - y) ** 2;
        if (distance <= nearest && isShown(point[2])) [nearest, best] = [distance, point];
      }
      if (!best) return null;
      const [cx, cy, group, xValue, yValue, name] = best;
      const title = [name, groups.length > 1 || !name ? groups[group] : ""].filter(Boolean);
      const lines = [...title, `${xName}: ${write(xValue)}`, `${yName}: ${write(yValue)}`];
      return { lines, shape: "circle", place: { cx, cy, r: 6 } };
    },
    boxes(boxes, x, y) {
      const box = boxes.find(([left, top, right, bottom]) => left <= x && x < right && top <= y && y <= bottom);
      if (!box) return null;
      const [left, top, right, bottom, lines] = box;
      return { lines, shape: "rect", place: { x: left, y: top, width: right - left, height: bottom - top } };
    },
    grid({ x: xName, y: yName, columns, rows, counts }, x, y) {
      const column = columns.findIndex(([at], i) => i + 1 < columns.length && at <= x && x < columns[i + 1][0]);
      const row = rows.findIndex(([at], i) => i + 1 < rows.length && at >= y && y > rows[i + 1][0]);
      if (column < 0 || row < 0) return null;
      const span = (edges, i) => `${write(edges[i][1])} to ${write(edges[i + 1][1])}`;
      const lines = [`count: ${write(counts[row * (columns.length - 1) + column])}`, `${xName}: ${span(columns, column)}`, `${yName}: ${span(rows, row)}`];
      const [left, right, bottom, top] = [columns[column][0], columns[column + 1][0], rows[row][0], rows[row + 1][0]];
      return { lines, shape: "rect", place: { x: left, y: top, width: right - left, height: bottom - top } };
    },
  };
  const write = (value) => {
    const size = Math.abs(value);
    if (value !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential().replace("-", "\u2212");
    return value.toLocaleString("en", { maximumFractionDigits: 9 }).replace("-", "\u2212");
  };

  for (const figure of document.querySelectorAll("figure")) {
    const svg = figure.querySelector("svg");
    const [[kind, marks]] = Object.entries(JSON.parse(figure.querySelector("script").textContent));
    let cursor = null;
    const hide = () => {
      tip.hidden = true;
      cursor?.remove();
      cursor = null;
    };
    const isShown = (group) => !svg.classList.contains("picked")
      || svg.querySelector(`.key.on[data-group="${group}"]`) !== null;
    svg.addEventListener("pointermove", (event) => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const found = find[kind](marks, place.x, place.y, isShown);
      hide();
      if (!found) return;
      cursor = document.createElementNS(SVG, found.shape);
      cursor.setAttribute("class", "cursor");
      for (const [name, value] of Object.entries(found.place)) cursor.setAttribute(name, value);
      svg.append(cursor);
      say(found.lines, event);
    });
    svg.addEventListener("pointerleave", hide);
    addEventListener("scroll", hide, { passive: true });

    // A category of the legend stands out when it is picked; picking the only one again shows all.
    for (const entry of svg.querySelectorAll(".key")) {
      entry.setAttribute("role", "button");
      entry.setAttribute("tabindex", "0");
      entry.setAttribute("aria-pressed", "false");
      const pick = () => {
        const on = entry.classList.toggle("on");
        entry.setAttribute("aria-pressed", String(on));
        const picked = new Set([...svg.querySelectorAll(".key.on")].map((one) => one.dataset.group));
        svg.classList.toggle("picked", picked.size > 0);
        for (const series of svg.querySelectorAll(".series")) series.classList.toggle("on", picked.has(series.dataset.group));
      };
      entry.addEventListener("click", pick);
      entry.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        pick();
      });
    }

    // The page may have been sent without its files: its own drawing, in the colours of paper, is what is saved.
    figure.querySelector("a.svg").addEventListener("click", (event) => {
      event.preventDefault();
      const copy = svg.cloneNode(true);
      copy.querySelectorAll(".cursor").forEach((one) => one.remove());
      const { width, height } = svg.viewBox.baseVal;
      const sheet = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ width, height })) {
        copy.setAttribute(name, value);
        sheet.setAttribute(name, value);
      }
      sheet.setAttribute("fill", "var(--paper)");
      copy.prepend(sheet);
      const text = new XMLSerializer().serializeToString(copy)
        .replace(/var\((--[\w-]+)\)/g, (_, name) => onPaper(name));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
      link.download = figure.id.replace("figure-", "") + ".svg";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }
  const onPaper = (name) => {
    if (paper.size === 0) {
      const light = document.styleSheets[0].cssRules[0].style;
      for (const one of light) paper.set(one, light.getPropertyValue(one).trim());
    }
    return paper.get(name) ?? "currentColor";
  };
})();
