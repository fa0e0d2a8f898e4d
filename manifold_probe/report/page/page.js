// What the page adds where scripts run: one student at a time, linked maps, a selection of rows, sortable tables.
// Text from the data enters the page as text alone (textContent), never as markup.
(() => {
"use strict";

const $ = (css, root = document) => root.querySelector(css);
const $$ = (css, root = document) => [...root.querySelectorAll(css)];
const SVG = document.querySelector("svg").namespaceURI;
const KINDS = ["kept", "lost", "gained"];
const SIDE = 1000, NEAR = 28, STEPS = 5, TAG = 32, LETTER = 20, AROUND = 80, TRIED = 200, DOT = 5, LISTED = 500;
const MOVED = 8, STRAIGHT = 0.15;  // a drag is longer; of its chord, what a straight one leaves it by at most

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "circle", "rect", "text", "g"].includes(tag);
  const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// as manifold_probe.report.words.shown: control characters visible, the middle of a long name left out
function shown(name, limit = 48) {
  let text = String(name);
  const characters = Array.from(text), half = Math.floor((limit - 3) / 2);
  if (characters.length > limit) {
    text = characters.slice(0, limit - 3 - half).join("") + "..." + characters.slice(-half).join("");
  }
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu,
    character => "\\u" + character.codePointAt(0).toString(16).padStart(4, "0"));
}
const bdi = (name, limit) => make("bdi", {}, shown(name, limit));

// as `words.number` prints it: what is not quite 0 or 1 never reads as 0 or 1
function number(value) {
  if (value === null || value === undefined) return "–";
  if (value > 1e-9 && value < 0.0005) return "<0.001";
  if (value < 1 - 1e-9 && value >= 0.9995) return ">0.999";
  return value.toFixed(3).replace("-0.000", "0.000");
}

/* Tables ------------------------------------------------------------------------------------------------------- */

function sortable(table) {
  const heads = $$("thead th", table);
  heads.forEach((head, column) => {
    if (head.hasAttribute("data-unsorted")) return;
    head.setAttribute("aria-sort", "none");
    const button = make("button", {type: "button", class: "sort"});
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = $$("tbody tr", table).some(row => row.cells[column].dataset.value !== undefined);
      const first = numeric ? "descending" : "ascending", other = numeric ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach(each => each.hasAttribute("aria-sort") && each.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order);
      sort(table, column, order === "descending" ? -1 : 1);
    });
  });
}

function sort(table, column, sign) {
  const value = row => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);  // the undefined last, in either order
    return sign * (typeof x === "number" ? x - y : x.localeCompare(y, "en", {numeric: true}));
  };
  const rows = $$("tbody tr", table).sort(compare);
  rows[0]?.parentNode.append(...rows);
}

/* Students ----------------------------------------------------------------------------------------------------- */

const listeners = [];

function choose(place) {
  for (const each of $$("[data-student]")) {
    each.hidden = Number(each.dataset.student) !== place;
    if (each.tagName === "DETAILS") each.open = true;
  }
  for (const row of $$("[data-choice]")) row.classList.toggle("chosen-row", Number(row.dataset.choice) === place);
  const name = $(`[data-choice="${place}"] bdi`);
  for (const each of $$(".chosen")) each.replaceChildren(": ", make("bdi", {}, name ? name.textContent : ""));
  listeners.forEach(listen => listen(place));
}

function students() {
  const rows = $$("[data-choice]");
  if (!rows.length) return;
  document.documentElement.classList.add("one-student");
  for (const row of rows) {
    const head = $("th", row), radio = make("input", {type: "radio", name: "student", value: row.dataset.choice});
    const label = make("label", {}, radio, " ");
    label.append(...head.childNodes);
    head.append(label);
    radio.addEventListener("change", () => choose(Number(radio.value)));
    row.addEventListener("click", event => {
      if (event.target.closest("a, label")) return;
      radio.checked = true;
      choose(Number(radio.value));
    });
  }
  $("input", rows[0]).checked = true;
}

/* Links into folded parts open them ---------------------------------------------------------------------------- */

function unfold() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target && ($("details.part", target) || target.closest("details"));
  if (fold && !fold.open) {
    fold.open = true;
    target.scrollIntoView();
  }
}

/* Maps --------------------------------------------------------------------------------------------------------- */

function numbers16(text) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Int16Array.from({length: bytes.length / 2}, (_, place) => view.getInt16(2 * place, true));
}

// lists[kind](row) -> flat [place on the teacher's map, place on the student's map, ...]; null where not known
function unpacked(packed) {
  if (!packed) return null;
  const counts = numbers16(packed.counts), values = numbers16(packed.values);
  const starts = new Int32Array(counts.length + 1);
  counts.forEach((count, row) => { starts[row + 1] = starts[row] + count; });
  return row => values.subarray(starts[row], starts[row + 1]);
}

function maps(data) {
  const count = data.ids.length;
  const named = data.byId ? data.ids : data.rows;
  const place = new Map(named.map((id, row) => [String(id), row]));
  const fields = $$(".field").map(field => view(field));
  let student = 0;         // place among data.students
  let selection = new Set();
  let pinned = null, hovered = null;
  let buckets = [];        // of the colours: {name, css, rows, dot: its element in the legend, colour}
  let palette = null;

  const current = () => data.students[student];
  const points = side => side === "teacher" ? data.teacher : current().xy;
  data.students.forEach(each => { each.lists = KINDS.map(kind => unpacked(each.neighbours[kind])); });

  /* what is drawn over the dots of one map; a separate layer, so that the dots are not painted again */
  function view(field) {
    const over = make("svg", {class: "over", viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": "true"});
    const part = (tag, name, attributes = {}) => {
      const element = make(tag, {class: name, ...attributes});
      over.append(element);
      return element;
    };
    const parts = {};
    for (const kind of KINDS) parts[kind + "Lines"] = part("path", `lines ${kind}`);
    for (const kind of KINDS) parts[kind] = part("path", `marks ${kind}`);
    parts.ring = part("circle", "ring", {r: 16, visibility: "hidden"});
    parts.lasso = part("path", "lasso");
    // thousands of dots are painted faster on a canvas; what SVG drew of them is for pages without scripts
    const canvas = make("canvas", {"aria-hidden": "true"});
    field.prepend(canvas);
    field.append(over);
    const side = field.dataset.side, map = {field, side, over, parts, canvas, tags: $(".tags", field)};
    new ResizeObserver(() => palette && paintDots(map)).observe(field);
    Object.entries({
      tabindex: "0", role: "application", "aria-roledescription": "map",
      "aria-label": `Map of the ${side}. Arrow keys go from row to row, Space selects the row, Escape clears.`,
    }).forEach(([name, value]) => field.setAttribute(name, value));
    $$(".dots path", field).forEach(path => path.remove());
    return map;
  }

  /* colours */

  function colourings() {
    const slices = data.slices.map((each, i) => [`slice ${i}`, `slice: ${shown(each.name, 24)}`]);
    const causes = current().causes.map((each, i) => [`cause ${i}`, `cause: ${shown(each.title, 40)}`]);
    return [["label", data.kind], ["overlap", `overlap@${data.k}`], ...slices, ...causes];
  }

  function bucketsOf(colouring) {
    const [kind, which] = colouring.split(" ");
    if (kind === "label") return grouped(data.classes, data.class, data.colours);
    if (kind === "slice") {
      const {values, of, colours} = data.slices[which];
      return grouped(values, of, colours);
    }
    if (kind === "cause") {
      const concerned = new Set(current().causes[which].places), rest = [];
      for (let row = 0; row < count; row++) if (!concerned.has(row)) rest.push(row);
      return [{name: "other rows", css: "d-rest", rows: rest},
        {name: shown(current().causes[which].title, 48), css: "d-cause", rows: [...concerned]}];
    }
    const overlap = current().overlap, ordered = [...overlap].sort((a, b) => a - b);
    const top = Math.max(0.1, Math.ceil(10 * ordered[Math.floor(0.99 * (count - 1))]) / 10);
    const steps = Array.from({length: STEPS}, (_, i) => ({css: `d-step${i}`, rows: [],
      name: `${(top * i / STEPS).toFixed(2)} to ${i === STEPS - 1 ? Math.max(top, ordered[count - 1]).toFixed(2)
        : (top * (i + 1) / STEPS).toFixed(2)}`}));
    overlap.forEach((value, row) => steps[Math.min(STEPS - 1, Math.floor(STEPS * value / top))].rows.push(row));
    return steps;
  }

  function grouped(names, codes, colours) {
    const groups = names.map((name, code) => ({name: shown(name, 24), css: `d${colours[code]}`, rows: [], code}));
    const rest = {name: "others", css: "d-rest", rows: []};
    codes.forEach((code, row) => (colours[code] === null ? rest : groups[code]).rows.push(row));
    return [rest, ...groups].filter(each => each.rows.length);
  }

  function paint() {
    const colour = $("#colour").value;
    buckets = bucketsOf(colour);
    for (const {side, tags} of fields) {
      const xy = points(side);
      const placed = [];
      tags.replaceChildren();
      if (colour !== "label") continue;
      for (const {name, css, rows} of buckets) {
        if (css === "d-rest") continue;
        const text = shown(name, 16), half = LETTER * Array.from(text).length / 2;
        const free = ([x, y]) => !placed.some(([a, b, wide]) => Math.abs(x - a) < half + wide && Math.abs(y - b) < TAG);
        const at = possible(rows, xy, half).find(free);
        if (!at) continue;
        placed.push([...at, half]);
        tags.append(make("text", {x: at[0], y: at[1]}, text));
      }
    }
    $("#legend").replaceChildren(...buckets.map(bucket => {
      bucket.dot = make("span", {class: `dot ${bucket.css}`});
      const button = make("button", {type: "button", title: "Select these rows"}, bucket.dot, make("bdi", {}, bucket.name));
      button.addEventListener("click", () => select(bucket.rows));
      return make("li", {}, button);
    }));
    readColours();
  }

  // what the style sheet says of colours, read once for many paintings
  function readColours() {
    const channels = (element, property) => getComputedStyle(element)[property].match(/[\d.]+/g).map(Number);
    palette = {ground: channels(document.body, "backgroundColor"), ink: channels(document.body, "color")};
    for (const bucket of buckets) bucket.colour = channels(bucket.dot, "backgroundColor");
    fields.forEach(paintDots);
  }

  const faint = (colour, share) => colour.map((value, i) => palette.ground[i] + share * (value - palette.ground[i]));

  // the pixels of a dot: x, y and the share of the pixel that it covers, one after the other
  function disc(radius) {
    const pixels = [], reach = Math.ceil(radius + 0.5);
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const share = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(x, y)));
        if (share) pixels.push(x, y, share);
      }
    }
    return Float32Array.from(pixels);
  }

  // all rows in the colours of their buckets; selected ones last, in full colour and ringed. Pixels are set one by one:
  // in a browser without a graphics card that takes a tenth of the time of 10,000 drawn circles
  function paintDots({field, side, canvas}) {
    const size = Math.round(field.clientWidth * devicePixelRatio), scale = size / SIDE, xy = points(side);
    if (!size) return;
    if (canvas.width !== size || canvas.height !== size) canvas.width = canvas.height = size;  // it begins as 300 x 150
    const pen = canvas.getContext("2d"), image = pen.createImageData(size, size), pixels = image.data;
    const [red, green, blue] = palette.ground;
    new Uint32Array(pixels.buffer).fill((255 << 24 | blue << 16 | green << 8 | red) >>> 0);
    const small = disc(DOT * scale), large = disc(1.7 * DOT * scale);
    const stamp = (row, colour, dot) => {
      const left = Math.round(xy[2 * row] * scale), top = Math.round(xy[2 * row + 1] * scale);
      for (let i = 0; i < dot.length; i += 3) {
        const x = left + dot[i], y = top + dot[i + 1], at = 4 * (y * size + x), share = dot[i + 2];
        if (x < 0 || y < 0 || x >= size || y >= size) continue;
        for (let c = 0; c < 3; c++) pixels[at + c] += (colour[c] - pixels[at + c]) * share;
      }
    };
    for (const {rows, css, colour} of buckets) {
      const seen = faint(colour, selection.size ? 0.3 : css === "d-rest" ? 0.5 : 1);
      for (const row of rows) if (!selection.has(row)) stamp(row, seen, small);
    }
    if (selection.size) {
      for (const row of selection) stamp(row, palette.ink, large);
      for (const {rows, colour} of buckets) for (const row of rows) if (selection.has(row)) stamp(row, colour, small);
    }
    pen.putImageData(image, 0, 0);
    field.dataset.selected = selection.size;
  }

  // where the name of a group may stand, as page.maps._tags: on its rows, the one that lies most densely first
  function possible(rows, xy, half) {
    const step = Math.ceil(rows.length / TRIED);
    const dense = row => rows.reduce((sum, other) =>
      sum + Math.max(0, AROUND ** 2 - (xy[2 * row] - xy[2 * other]) ** 2 - (xy[2 * row + 1] - xy[2 * other + 1]) ** 2), 0);
    const kept = (value, edge) => Math.min(Math.max(value, edge), SIDE - edge);
    return rows.filter((_, at) => at % step === 0).map(row => [dense(row), row]).sort((a, b) => b[0] - a[0])
      .map(([, row]) => [kept(xy[2 * row], half), kept(xy[2 * row + 1], TAG / 2)]);
  }

  function recolour(wanted) {
    const menu = $("#colour"), before = wanted || menu.value || "label";
    menu.replaceChildren(...colourings().map(([value, text]) => make("option", {value}, text)));
    menu.value = before;
    if (!menu.value) menu.value = "label";
    paint();
  }

  /* one row: its neighbours in both spaces, drawn on both maps */

  const focus = () => hovered === null ? pinned : hovered;

  function mark(kind, x, y, size) {
    if (kind === "gained") return `M${x} ${y - 1.3 * size}l${1.3 * size} ${2.2 * size}h${-2.6 * size}z`;
    return `M${x - size} ${y}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0z`;
  }

  function draw() {
    const row = focus(), lists = current().lists;
    fields.forEach(({side, parts, over}, turn) => {
      const xy = points(side);
      parts.ring.setAttribute("visibility", row === null ? "hidden" : "visible");
      if (row !== null) {
        parts.ring.setAttribute("cx", xy[2 * row]);
        parts.ring.setAttribute("cy", xy[2 * row + 1]);
      }
      let drawn = 0;
      KINDS.forEach((kind, at) => {
        let lines = "", marks = "";
        const list = row === null || !lists[at] ? [] : lists[at](row);
        for (let i = 0; i < list.length; i += 2) {
          const there = list[i + (side === "teacher" ? 0 : 1)], off = there < 0, to = off ? -1 - there : there;
          // a neighbour that is not on the maps stands by the row nearest to it, small, on a circle around that
          const angle = 2.4 * drawn++, reach = off ? 22 : 0;
          const x = Math.round(xy[2 * to] + reach * Math.cos(angle)), y = Math.round(xy[2 * to + 1] + reach * Math.sin(angle));
          lines += `M${xy[2 * row]} ${xy[2 * row + 1]}L${x} ${y}`;
          marks += mark(kind, x, y, off ? 6 : 11);
        }
        parts[kind + "Lines"].setAttribute("d", lines);
        parts[kind].setAttribute("d", marks);
      });
      over.classList.toggle("has-row", row !== null);
    });
    describe(row);
  }

  function picture(row) {
    const at = data.tiles ? data.tiles[row] : -1;
    if (at < 0) return data.snippets && data.snippets[row] ? make("q", {}, data.snippets[row]) : "";
    const tile = make("span", {class: "thumb large", role: "img", "aria-label": shown(named[row])});
    tile.style.backgroundPosition = `-${at % data.across * data.tile}px -${Math.floor(at / data.across) * data.tile}px`;
    return tile;
  }

  function describe(row) {
    const panel = $("#row");
    if (row === null) {
      panel.replaceChildren(make("p", {class: "words"},
        "Point at a row, tap it, or focus a map and use the arrow keys: its neighbours are drawn in both maps. "
        + (matchMedia("(pointer: coarse)").matches ? "To select rows, press Draw to select, then draw around them."
          : "Draw around rows to select them, or drag straight across for a box; Shift adds to the selection.")));
      return;
    }
    const lists = current().lists;
    let away = false;
    const items = KINDS.map((kind, at) => {
      if (!lists[at]) return "";
      const list = lists[at](row), on = [];
      for (let i = 0; i < list.length; i += 2) if (list[i] >= 0) on.push(list[i]);
      const off = list.length / 2 - on.length;
      const item = make("li", {class: kind}, make("span", {class: `sign ${kind}`}),
        `${list.length / 2} ${kind}${on.length ? ": " : ""}`);
      on.forEach((each, i) => item.append(i ? ", " : "", bdi(named[each], 24)));
      away ||= off > 0;
      if (off) item.append(on.length ? `, ${off} not on the maps` : ", not on the maps");
      return item;
    });
    panel.replaceChildren(
      picture(row),
      make("p", {}, make("strong", {}, data.byId ? "" : "row ", bdi(named[row])), " ",
        make("span", {class: "words"}, data.byId ? `row ${data.rows[row]}, ` : "", `${data.kind} `, bdi(data.classes[data.class[row]], 32),
          `, keeps ${number(current().overlap[row])} of its neighbours`)),
      make("ul", {class: "kinds"}, ...items),
      away ? make("p", {class: "words"}, "Small marks: neighbours that are not on the maps, by the drawn row nearest to them.") : "");
  }

  function pin(row) {
    pinned = row;
    hovered = null;
    draw();
  }

  /* the selection */

  function select(rows, adding = false) {
    selection = new Set(adding ? [...selection, ...rows] : rows);
    fields.forEach(paintDots);
    report([...selection]);
  }

  function report(chosen) {
    const panel = $("#selection");
    if (!chosen.length) {
      panel.replaceChildren(make("p", {class: "words"}, "No rows are selected."));
      return;
    }
    const {overlap, whole, ofClass} = current();
    const mean = chosen.reduce((sum, row) => sum + overlap[row], 0) / chosen.length;
    const tally = new Map();
    chosen.forEach(row => tally.set(data.class[row], (tally.get(data.class[row]) || 0) + 1));
    const all = new Map();
    data.class.forEach(code => all.set(code, (all.get(code) || 0) + 1));
    const inside = code => {
      const rows = chosen.filter(row => data.class[row] === code);
      return rows.reduce((sum, row) => sum + overlap[row], 0) / rows.length;
    };
    const limits = whole.low === null || whole.high === null ? "" : ` (${number(whole.low)} to ${number(whole.high)})`;
    const line = (head, ...cells) => make("tr", {}, make("th", {scope: "row"}, head),
      ...cells.map(cell => make("td", {class: "number"}, String(cell))));
    const head = (...texts) => make("thead", {}, make("tr", {}, ...texts.map((text, i) =>
      make("th", {scope: "col", class: i ? "number" : ""}, text))));
    const table = make("table", {}, head("measure", "selection", "whole"), make("tbody", {},
      line("rows", `${chosen.length} of ${count} on the maps`, data.of.toLocaleString("en")),
      line(`overlap@${data.k}`, number(mean), number(whole.value) + limits)));
    const classes = make("table", {}, head(data.kind, "rows", "overlap", "whole"), make("tbody", {},
      ...[...tally].sort((a, b) => b[1] - a[1]).slice(0, 50).map(([code, n]) =>
        line(bdi(data.classes[code], 32), `${n} of ${all.get(code)}`, number(inside(code)), number(ofClass[code])))));
    const ids = chosen.map(row => String(named[row]));
    const text = make("textarea", {readonly: "", rows: "3", "aria-label": data.byId ? "Ids of the selection" : "Row numbers of the selection", spellcheck: "false"});
    text.value = ids.slice(0, LISTED).join("\n") + (ids.length > LISTED ? `\n... ${ids.length - LISTED} more` : "");
    const button = (words, act) => {
      const made = make("button", {type: "button"}, words);
      made.addEventListener("click", () => act(made));
      return made;
    };
    panel.replaceChildren(table, make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Classes of the selection"}, classes),
      text, make("p", {class: "tools"},
        button("Copy", made => copy(ids.join("\n"), made)),
        button("Download CSV", () => download(csv(chosen))),
        button("Clear", () => select([]))));
  }

  function copy(text, button) {
    const said = done => { button.textContent = done ? "Copied" : "Copy failed"; };
    const byHand = () => {
      const area = make("textarea", {"aria-hidden": "true"});
      area.value = text;
      document.body.append(area);
      area.select();
      said(document.execCommand("copy"));
      area.remove();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => said(true), byHand);
    else byHand();
  }

  function csv(rows) {
    // as tables/write.py: a cell that a spreadsheet would run as a formula opens with an apostrophe
    const cell = value => {
      let text = value === null || value === undefined ? "" : String(value);
      if (typeof value === "string" && /^[=+\-@\t\r]/.test(text) && !/^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(text)) text = "'" + text;
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = rows.map(row => [data.rows[row], data.byId ? named[row] : "", data.classes[data.class[row]], current().overlap[row]]);
    return [["row", "id", data.kind, `overlap@${data.k}`], ...lines].map(line => line.map(cell).join(",") + "\n").join("");
  }

  function download(text) {
    const url = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
    const link = make("a", {href: url, download: "selection.csv"});
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  /* pointer and keyboard */

  function at(event, field) {
    const box = field.getBoundingClientRect(), scale = SIDE / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  function nearest([x, y], side, within) {
    const xy = points(side);
    let best = null, least = within * within;
    for (let row = 0; row < count; row++) {
      const distance = (xy[2 * row] - x) ** 2 + (xy[2 * row + 1] - y) ** 2;
      if (distance < least) [best, least] = [row, distance];
    }
    return best;
  }

  // what a drag encloses, as corners: the line itself, closed; of a straight one, the box that it is the diagonal of.
  // A line that ends where it started is closed, not straight
  function enclosed(line) {
    const [[a, b], [c, d]] = [line[0], line[line.length - 1]];
    const leaves = ([x, y]) => Math.abs((x - a) * (d - b) - (y - b) * (c - a)) > STRAIGHT * ((c - a) ** 2 + (d - b) ** 2);
    return Math.hypot(c - a, d - b) <= MOVED || line.some(leaves) ? line : [[a, b], [c, b], [c, d], [a, d]];
  }

  // the rows within a shape: where a line to the right of a row crosses its outline an odd number of times
  function within(corners, side) {
    const xy = points(side), rows = [];
    for (let row = 0; row < count; row++) {
      const x = xy[2 * row], y = xy[2 * row + 1];
      let inside = false;
      for (let i = 0, [a, b] = corners.at(-1); i < corners.length; i++) {
        const [c, d] = corners[i];
        if ((b > y) !== (d > y) && x < a + (c - a) * (y - b) / (d - b)) inside = !inside;
        [a, b] = [c, d];
      }
      if (inside) rows.push(row);
    }
    return rows;
  }

  function next(row, side, [dx, dy]) {
    const xy = points(side), [x, y] = [xy[2 * row], xy[2 * row + 1]];
    let best = row, least = Infinity;
    for (let other = 0; other < count; other++) {
      const along = (xy[2 * other] - x) * dx + (xy[2 * other + 1] - y) * dy;
      const across = Math.abs((xy[2 * other] - x) * dy + (xy[2 * other + 1] - y) * dx);
      const cost = along + 2 * across;
      if (along > 0 && across <= along && cost < least) [best, least] = [other, cost];
    }
    return best;
  }

  const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

  function handle({field, side, parts}) {
    let line = null, waiting = null;  // where the pointer went since it was pressed; the move to draw next

    const draws = event => event.pointerType === "mouse" || touching;  // a finger moves the page, unless it is to draw
    const far = ([x, y]) => Math.hypot(x - line.at(-1)[0], y - line.at(-1)[1]) > MOVED;
    const moved = event => {
      waiting = null;
      const here = at(event, field);
      if (!line) {
        const row = nearest(here, side, NEAR);
        if (row !== hovered) { hovered = row; draw(); }
        return;
      }
      if (!far(here)) return;
      if (hovered !== null) { hovered = null; draw(); }
      line.push(here);
      parts.lasso.setAttribute("d", `M${enclosed(line).join("L")}Z`);
    };
    const stop = () => {
      line = waiting = null;
      parts.lasso.removeAttribute("d");
    };
    field.addEventListener("pointermove", event => {
      if (!draws(event)) return;
      if (waiting === null) requestAnimationFrame(() => waiting && moved(waiting));
      waiting = event;
    });
    field.addEventListener("pointerdown", event => {
      if (event.button || !event.isPrimary) return;
      line = [at(event, field)];
      if (draws(event)) field.setPointerCapture(event.pointerId);
    });
    field.addEventListener("pointerup", event => {
      if (!line) return;
      const here = at(event, field);
      if (draws(event) && (line.length > 1 || far(here))) {
        select(within(enclosed([...line, here]), side), event.shiftKey);
      } else {
        const row = nearest(here, side, event.pointerType === "mouse" ? NEAR : 2 * NEAR);
        if (row === null) select([]);
        pin(row);
      }
      stop();
    });
    field.addEventListener("pointercancel", stop);
    field.addEventListener("pointerleave", () => {
      waiting = null;
      if (hovered !== null) { hovered = null; draw(); }
    });
    field.addEventListener("keydown", event => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (ARROWS[event.key]) {
        pin(pinned === null ? nearest([SIDE / 2, SIDE / 2], side, 2 * SIDE) : next(pinned, side, ARROWS[event.key]));
      } else if (event.key === " " && pinned !== null) {
        if (selection.has(pinned)) select([...selection].filter(row => row !== pinned));
        else select([pinned], true);
      } else if (event.key === "Escape") {
        stop();
        select([]);
        pin(null);
      } else return;
      event.preventDefault();
    });
    field.addEventListener("focus", () => {
      if (pinned === null && field.matches(":focus-visible")) pin(nearest([SIDE / 2, SIDE / 2], side, 2 * SIDE));
    });
  }

  let touching = false;
  $("#touch").addEventListener("click", event => {
    touching = !touching;
    event.currentTarget.setAttribute("aria-pressed", touching);
    fields.forEach(({field}) => field.classList.toggle("touching", touching));
  });

  /* search, colours, and what other parts of the page ask of the maps */

  function search() {
    const wanted = $("#search").value.trim(), said = $("#search-said");
    if (!wanted) {
      said.textContent = "";
      select([]);
      pin(null);
      return;
    }
    const exact = place.get(wanted), lower = wanted.toLowerCase();
    const rows = exact !== undefined ? [exact]
      : named.flatMap((id, row) => String(id).toLowerCase().includes(lower) ? [row] : []);
    said.textContent = rows.length ? `${rows.length} on the maps`
      : count < data.of ? `none of the ${count} rows on the maps` : "no such row";
    select(rows);
    pin(rows.length ? rows[0] : null);
  }

  $("#search").addEventListener("input", search);
  $("#search").addEventListener("keydown", event => {
    if (event.key !== "Enter" || !selection.size) return;
    const rows = [...selection];
    pin(rows[(rows.indexOf(pinned) + 1) % rows.length]);
  });
  $("#colour").addEventListener("change", paint);

  function causes() {
    for (const button of $$("button.concerned")) {
      const part = button.closest("[data-student]");
      const of = data.students.findIndex(each => part === null || each.place === Number(part.dataset.student));
      const which = of < 0 ? -1 : data.students[of].causes.findIndex(each => each.title === button.dataset.title);
      if (which < 0) button.parentNode.remove();
      else button.addEventListener("click", () => {
        recolour(`cause ${which}`);
        select(data.students[of].causes[which].places);
        $("#maps").scrollIntoView();
      });
    }
  }

  function worstRows() {
    const drawn = new Map(data.rows.map((row, at) => [String(row), at]));
    for (const line of $$("tr[data-row]")) {
      const row = drawn.get(line.dataset.row);
      if (row === undefined) continue;
      const button = make("button", {type: "button"}, "Show on the maps");
      button.addEventListener("click", () => {
        pin(row);
        $("#maps").scrollIntoView();
      });
      $("th", line).append(button);
    }
  }

  listeners.push(chosen => {
    const mapped = data.students.findIndex(each => each.place === chosen);
    $("#maps .no-map").hidden = mapped >= 0;
    if (mapped < 0) return;
    student = mapped;
    $(".field[data-side=student]").parentNode.querySelector(".map-name").replaceChildren(bdi(current().name, 32));
    recolour();
    select([...selection]);
    draw();
  });

  fields.forEach(handle);
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", readColours);
  }
  recolour("label");
  causes();
  worstRows();
  select([]);
  draw();
  window.probePage = {
    rows: [...named],
    // one id or several; those that are on the maps
    select: ids => {
      select([ids].flat().map(id => place.get(String(id))).filter(row => row !== undefined));
      return window.probePage.selected();
    },
    selected: () => [...selection].map(row => named[row]),
  };
}

/* All together ------------------------------------------------------------------------------------------------- */

const embedded = document.getElementById("map-data");
$$("table.sortable").forEach(sortable);
if (embedded) {
  $$(".overview .live").forEach(each => { each.hidden = false; });
  $$(".cause .live").forEach(each => { each.hidden = false; });
  maps(JSON.parse(embedded.textContent));
} else {
  window.probePage = {rows: [], select: () => [], selected: () => []};
}
students();
if ($("[data-choice]")) choose(0);
addEventListener("hashchange", unfold);
for (const link of $$('nav a[href^="#"]')) link.addEventListener("click", () => setTimeout(unfold));
unfold();
})();
