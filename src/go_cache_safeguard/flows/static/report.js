// Draws the report: a treemap that can be walked through, tables that sort, trees and graphs.
// Everything that is shown comes from the block #data and is only ever set as text.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const FILES = data.facets.length, BYTES = FILES + 1;
  const SIDES = data.facets.map((facet) => facet.name);
  const NEXT = ["project", "package", "kind", "toolchain", "target", "flags", "race", "age"];
  const MOST_TILES = 160, MOST_LINES = 100, MOST_NODES = 400;
  const state = { side: SIDES.indexOf(data.first), filters: [] };

  function make(tag, attributes = {}, ...children) {
    const svg = ["svg", "g", "rect", "path", "text", "title"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "onclick") node.addEventListener("click", value);
      else if (value !== undefined && value !== false) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function size(bytes) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0, value = Math.abs(bytes);
    while (value >= 1023.95 && unit < units.length - 1) { value /= 1024; unit += 1; }
    return `${bytes < 0 ? "-" : ""}${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
  }

  const count = (number) => number.toLocaleString("en-US");
  const share = (part, whole) => (whole ? `${(100 * part / whole).toFixed(1)} %` : "");
  const shown = {
    bytes: size,
    count,
    seconds: (value) => (value && value < 0.0995 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(value < 10 ? 2 : 0)} s`),
    share: (value) => `${(100 * value).toFixed(1)} %`,
    paths: (value) => value.join("\n"),
    text: (value) => (value === null ? "" : String(value)),
  };

  // What is looked at.

  const inside = () => data.rows.filter((row) => state.filters.every(([side, value]) => row[side] === value));

  function parts(rows, side) {
    const found = new Map();
    for (const row of rows) {
      const part = found.get(row[side]) || { value: row[side], files: 0, bytes: 0 };
      part.files += row[FILES];
      part.bytes += row[BYTES];
      found.set(row[side], part);
    }
    const names = data.facets[side].names, gone = new Set(data.facets[side].gone || []);
    return [...found.values()]
      .map((part) => ({ ...part, name: names[part.value] + (gone.has(part.value) ? " (gone)" : "") }))
      .sort((one, other) => other.bytes - one.bytes || other.files - one.files);
  }

  const several = (rows, side) => rows.some((row) => row[side] !== rows[0][side]);

  function into(value) {
    state.filters.push([state.side, value]);
    const rows = inside();
    const left = NEXT.map((name) => SIDES.indexOf(name)).filter((side) => !state.filters.some(([used]) => used === side));
    state.side = left.find((side) => several(rows, side)) ?? left[0] ?? state.side;
    draw(true);
  }

  function back(length) {
    if (length >= state.filters.length) return;
    state.side = state.filters[length][0];
    state.filters.length = length;
    draw(true);
  }

  // The treemap: Bruls, Huizing and van Wijk, Squarified Treemaps (2000).

  function squarify(items, x, y, width, height) {
    const placed = [], whole = items.reduce((sum, item) => sum + item.area, 0);
    const scale = whole ? width * height / whole : 0;
    let rest = items.map((item) => ({ item, area: item.area * scale })).filter((one) => one.area > 0);
    while (rest.length) {
      const side = Math.min(width, height);
      let row = [], sum = 0, best = Infinity;
      for (const one of rest) {
        const total = sum + one.area, all = [...row, one].map((each) => each.area);
        const worst = Math.max(side * side * Math.max(...all) / (total * total), total * total / (side * side * Math.min(...all)));
        if (worst > best) break;
        row.push(one); sum = total; best = worst;
      }
      rest = rest.slice(row.length);
      const thick = side > 0 ? sum / side : 0;
      let at = 0;
      for (const one of row) {
        const long = thick > 0 ? one.area / thick : 0;
        placed.push(width >= height
          ? { item: one.item, x, y: y + at, width: thick, height: long }
          : { item: one.item, x: x + at, y, width: long, height: thick });
        at += long;
      }
      if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
    }
    return placed;
  }

  function hue(text) {
    let sum = 7;
    for (const char of text) sum = (sum * 31 + char.codePointAt(0)) % 3600;
    return sum % 360;
  }

  function tail(name, most) {
    // Of a path that is too long the end says most.
    if (name.length <= most || !name.includes("/")) return name;
    const words = name.split("/");
    let text = words.pop();
    while (words.length && text.length + words[words.length - 1].length + 3 <= most) text = `${words.pop()}/${text}`;
    return `…/${text}`;
  }

  const map = document.getElementById("map"), tip = document.getElementById("tip");

  function drawMap(found, whole) {
    const box = map.getBoundingClientRect();
    const items = found.filter((part) => part.bytes > 0).slice(0, MOST_TILES).map((part) => ({ part, area: part.bytes }));
    const rest = found.filter((part) => part.bytes > 0).slice(MOST_TILES);
    if (rest.length) {
      const bytes = rest.reduce((sum, part) => sum + part.bytes, 0), files = rest.reduce((sum, part) => sum + part.files, 0);
      items.push({ part: { name: `${count(rest.length)} smaller ones`, value: null, bytes, files }, area: bytes });
    }
    const tiles = squarify(items, 0, 0, box.width - 2, box.height - 2).map(({ item: { part }, x, y, width, height }, at) => {
      const leaf = part.value === null;
      const tile = make("button", {
        type: "button", class: leaf ? "tile none" : "tile", tabindex: at ? "-1" : "0", "aria-describedby": "keys",
        "aria-label": `${part.name}, ${size(part.bytes)}, ${share(part.bytes, whole)}, ${count(part.files)} outputs`,
        onclick: () => { if (!leaf) into(part.value); },
      });
      tile.style.left = `${x}px`; tile.style.top = `${y}px`;
      tile.style.width = `${width}px`; tile.style.height = `${height}px`;
      tile.style.setProperty("--hue", hue(part.name));
      if (width > 46 && height > 20) tile.append(make("b", {}, tail(part.name, (width - 12) / 7.4)));
      if (width > 66 && height > 38) tile.append(make("span", {}, width > 116 ? `${size(part.bytes)} · ${share(part.bytes, whole)}` : size(part.bytes)));
      if (width < 14 || height < 14) tile.style.padding = "0";
      const text = `${part.name}\n${size(part.bytes)} (${share(part.bytes, whole)}), ${count(part.files)} outputs`;
      tile.addEventListener("pointermove", (event) => tell(text, event.clientX, event.clientY));
      tile.addEventListener("pointerleave", hush);
      tile.addEventListener("focus", () => {
        if (!tile.matches(":focus-visible")) return;
        const place = tile.getBoundingClientRect();
        tell(text, place.left + place.width / 2, place.top + Math.min(place.height, 60));
      });
      tile.addEventListener("blur", hush);
      return tile;
    });
    map.replaceChildren(...tiles);
    if (!tiles.length) map.append(make("p", { class: "soft" }, " nothing here"));
  }

  function tell(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(x + 14, window.innerWidth - box.width - 8))}px`;
    tip.style.top = `${y + 18 + box.height > window.innerHeight ? Math.max(8, y - box.height - 10) : y + 18}px`;
  }

  function hush() { tip.hidden = true; }

  map.addEventListener("keydown", (event) => {
    const here = document.activeElement;
    if (event.key === "Backspace" || event.key === "Escape") {
      event.preventDefault();
      back(state.filters.length - 1);
    } else if (event.key.startsWith("Arrow") && here.classList.contains("tile")) {
      event.preventDefault();
      const next = towards(here, event.key);
      if (next) {
        here.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      }
    }
  });

  function towards(here, key) {
    const middle = (tile) => { const box = tile.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; };
    const [x, y] = middle(here), [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    let best = null, least = Infinity;
    for (const tile of map.querySelectorAll(".tile")) {
      const [tx, ty] = middle(tile), ahead = (tx - x) * dx + (ty - y) * dy, aside = Math.abs((tx - x) * dy) + Math.abs((ty - y) * dx);
      if (tile !== here && ahead > 0.5 && ahead + 2 * aside < least) { least = ahead + 2 * aside; best = tile; }
    }
    return best;
  }

  // Tables.

  const numeric = (column) => column.unit in shown && column.unit !== "text" && column.unit !== "paths";

  function table(columns, rows, options = {}) {
    let order = options.order ?? null, down = true, most = options.most ?? MOST_LINES;
    const box = make("div", { class: "block" });
    const text = (value, unit) => (value === null || value === undefined ? "" : (shown[unit] || shown.text)(value));
    const compare = (one, other) => (typeof one === "number" && typeof other === "number" ? one - other
      : String(one ?? "").localeCompare(String(other ?? ""), "en", { numeric: true }));
    function fill(focus) {
      const sorted = order === null ? rows : [...rows].sort((one, other) => (down ? -1 : 1) * compare(one[order], other[order]));
      const head = make("tr", {}, ...columns.map((column, at) => make("th", {
        scope: "col", class: numeric(column) ? "number" : "",
        "aria-sort": at === order ? (down ? "descending" : "ascending") : undefined,
      }, make("button", { type: "button", onclick: () => {
        down = at === order ? !down : numeric(column);
        order = at;
        fill(at);
      } }, column.name))));
      const lines = sorted.slice(0, most).map((row) => make("tr", {}, ...columns.map((column, at) => {
        const number = numeric(column);
        const cell = make("td", { class: number ? "number" : column.unit === "paths" ? "paths" : "wide" });
        const enter = at === 0 && options.enter && options.enter(row);
        cell.append(enter ? make("button", { type: "button", onclick: enter }, text(row[at])) : text(row[at], column.unit));
        return cell;
      })));
      box.replaceChildren(make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines))));
      if (rows.length > most) {
        box.append(make("button", { type: "button", class: "more", onclick: () => { most *= 5; fill(); } },
          `${count(rows.length - most)} more`));
      }
      if (focus !== undefined) box.querySelectorAll("th button")[focus].focus();
    }
    fill();
    return box;
  }

  // Trees and graphs.

  function tree(node) {
    const label = [node.label ?? node.name ?? "", typeof node.bytes === "number" ? size(node.bytes) : "", node.note ?? ""]
      .filter((word) => word !== "").join("  ·  ");
    if (!(node.children || []).length) return make("div", { class: "leaf" }, label);
    const details = make("details", { open: node.open ? "" : undefined }, make("summary", {}, label));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(...node.children.map(tree));
    });
    if (node.open) details.append(...node.children.map(tree));
    return details;
  }

  function layers(nodes, edges) {
    // The layer of a node is the longest way to something that needs nothing; a circle, which Go does not allow, ends.
    const needs = new Map(nodes.map((node) => [node.id, []]));
    for (const [from, to] of edges) if (needs.has(from) && needs.has(to)) needs.get(from).push(to);
    const depth = new Map();
    for (const start of needs.keys()) {
      const stack = [[start, 0]], open = new Set([start]);
      while (stack.length) {
        const top = stack[stack.length - 1], [id, at] = top, below = needs.get(id);
        if (depth.has(id)) { stack.pop(); open.delete(id); continue; }
        if (at < below.length) {
          top[1] += 1;
          if (!depth.has(below[at]) && !open.has(below[at])) { stack.push([below[at], 0]); open.add(below[at]); }
        } else {
          depth.set(id, Math.max(-1, ...below.map((other) => depth.get(other) ?? -1)) + 1);
        }
      }
    }
    return depth;
  }

  function graph(value) {
    const nodes = value.nodes.slice(0, MOST_NODES), edges = value.edges, depth = layers(nodes, edges);
    const rows = [], WIDE = 190, HIGH = 30, GAP = 46;
    for (const node of nodes) (rows[depth.get(node.id)] ||= []).push(node);
    rows.reverse();
    const place = new Map();
    rows.forEach((row, y) => row.forEach((node, x) => place.set(node.id, [8 + x * (WIDE + 14), 8 + y * (HIGH + GAP)])));
    const most = Math.max(1, ...rows.map((row) => row.length));
    const svg = make("svg", {
      width: 16 + most * (WIDE + 14), height: 16 + rows.length * (HIGH + GAP) - GAP, role: "img", "aria-label": value.label || "graph",
    });
    const lines = edges.filter(([from, to]) => place.has(from) && place.has(to)).map(([from, to]) => {
      const [x, y] = place.get(from), [ex, ey] = place.get(to), bend = (ey - y - HIGH) / 2;
      const line = make("path", { d: `M${x + WIDE / 2},${y + HIGH} c0,${bend} ${ex - x},${bend} ${ex - x},${ey - y - HIGH}` });
      svg.append(line);
      return { from, to, line };
    });
    const boxes = new Map(), words = new Map([[null, "A click or Enter lights up what a package needs, and what needs it."]]);
    const said = make("p", { class: "soft", "aria-live": "polite" });
    let chosen = null;
    for (const node of nodes) {
      const [x, y] = place.get(node.id), label = node.label ?? node.id;
      const short = label.length > 28 ? `…${label.slice(-27)}` : label;
      const told = [label, typeof node.bytes === "number" ? size(node.bytes) : "", node.note ?? ""].filter(Boolean);
      const group = make("g", { class: "node", tabindex: "0", role: "button", "aria-label": label },
        make("rect", { x, y, width: WIDE, height: HIGH, rx: 5 }), make("text", { x: x + 8, y: y + 19 }, short),
        make("title", {}, told.join("\n")));
      const choose = () => { chosen = chosen === node.id ? null : node.id; light(chosen); };
      group.addEventListener("click", choose);
      group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
      boxes.set(node.id, group);
      words.set(node.id, told.join("  ·  "));
      svg.append(group);
    }
    function reach(start, from, to) {
      const found = new Set([start]), queue = [start];
      while (queue.length) {
        const id = queue.pop();
        for (const line of lines) if (line[from] === id && !found.has(line[to])) { found.add(line[to]); queue.push(line[to]); }
      }
      return found;
    }
    function light(id) {
      said.textContent = words.get(id);
      const near = id === null ? null : new Set([...reach(id, "from", "to"), ...reach(id, "to", "from")]);
      for (const [name, group] of boxes) {
        group.classList.toggle("faint", near !== null && !near.has(name));
        group.classList.toggle("lit", name === id);
      }
      for (const { from, to, line } of lines) {
        const on = near !== null && near.has(from) && near.has(to);
        line.classList.toggle("lit", on);
        line.classList.toggle("faint", near !== null && !on);
      }
    }
    light(null);
    const box = make("div", {}, make("div", { class: "graph" }, svg), said);
    if (value.nodes.length > nodes.length) {
      box.append(make("p", { class: "soft" }, `the first ${count(nodes.length)} of ${count(value.nodes.length)}`));
    }
    return box;
  }

  // The page.

  function draw(focus) {
    hush();
    const rows = inside(), found = parts(rows, state.side);
    const whole = rows.reduce((sum, row) => sum + row[BYTES], 0), files = rows.reduce((sum, row) => sum + row[FILES], 0);
    document.getElementById("sides").replaceChildren(make("span", { class: "soft" }, "divided by"), ...SIDES.map((name, side) => make("button", {
      type: "button", "aria-pressed": String(side === state.side), disabled: state.filters.some(([used]) => used === side) ? "" : undefined,
      onclick: () => { state.side = side; draw(); document.querySelectorAll("#sides button")[side].focus(); },
    }, name)));
    document.getElementById("trail").replaceChildren(
      make("button", { type: "button", onclick: () => back(0), disabled: state.filters.length ? undefined : "" }, "everything"),
      ...state.filters.flatMap(([side, value], at) => [make("span", { class: "soft", "aria-hidden": "true" }, "›"), make("button", {
        type: "button", onclick: () => back(at + 1), disabled: at + 1 < state.filters.length ? undefined : "",
      }, `${SIDES[side]}: ${data.facets[side].names[value]}`)]),
      make("span", { class: "soft" }, `${size(whole)} in ${count(files)} outputs`),
    );
    drawMap(found, whole);
    document.getElementById("parts").replaceChildren(table(
      [{ name: SIDES[state.side] }, { name: "outputs", unit: "count" }, { name: "size", unit: "bytes" }, { name: "share", unit: "share" }],
      found.map((part) => Object.assign([part.name, part.files, part.bytes, whole ? part.bytes / whole : 0], { value: part.value })),
      { order: 2, most: 20, enter: (row) => () => into(row.value) },
    ));
    if (focus) (map.querySelector(".tile") || map).focus({ preventScroll: true });
  }

  function growth(points) {
    const svg = make("svg", { class: "bars", viewBox: "0 0 100 28", preserveAspectRatio: "none", role: "img", "aria-label": "growth" });
    const most = Math.max(1, ...points.map(([, bytes]) => bytes)), wide = 100 / points.length;
    points.forEach(([, bytes], at) => {
      const high = Math.max(0.5, 27 * bytes / most);
      svg.append(make("rect", { x: at * wide + 0.2, y: 28 - high, width: Math.max(0.3, wide - 0.4), height: high }));
    });
    return svg;
  }

  document.getElementById("cards").append(...data.cards.map((card) => make("div", {},
    make("dt", {}, card.label), make("dd", {}, card.value), ...(card.note ? [make("dd", { class: "soft" }, card.note)] : []),
    ...(card.points && card.points.length > 1 ? [growth(card.points)] : []))));
  document.getElementById("sections").append(...data.sections.map((section, at) => {
    const title = make("h2", { id: `section-${at}` }, section.title), value = section.data;
    const notes = [value.note].flat().filter(Boolean).map((note) => make("p", { class: "soft" }, note));
    const body = section.kind === "table" ? table(value.columns, value.rows, { most: 30 })
      : section.kind === "graph" ? graph(value)
        : make("div", { class: "tree" }, ...(Array.isArray(value) ? value : value.roots || [value]).map(tree));
    return make("section", { "aria-labelledby": `section-${at}` }, title, ...notes, body);
  }));
  let wide = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== wide) { wide = window.innerWidth; draw(); } });
  draw();
})();
