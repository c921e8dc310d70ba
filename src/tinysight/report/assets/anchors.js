// Anchors for each k: whose boxes are whose, how large the anchors are, how well they fit.
"use strict";
(() => {
  const { percent, read, whenSeen } = window.tinysight;
  const SIDE = 400; // of both drawings, in their own units
  const LEFT = 44, BOTTOM = 36, TOP = 8;
  const px = (side) => String(Number(side.toPrecision(3)));

  const element = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const iou = (w, h, [aw, ah]) => {
    const both = Math.min(w, aw) * Math.min(h, ah);
    return both / (w * h + aw * ah - both);
  };
  // At 1, 2 and 5 times the powers of ten; at even steps where fewer than two of them lie between.
  const ticksBetween = (low, high) => {
    const ticks = [];
    for (let power = -3; power < 6; power++) {
      for (const factor of Math.log(high / low) > 6 ? [1] : [1, 2, 5]) {
        const value = factor * 10 ** power;
        if (value >= low && value <= high) ticks.push(value);
      }
    }
    if (ticks.length > 1) return ticks;
    const power = 10 ** Math.floor(Math.log10((high - low) / 3));
    const step = [5, 2, 1].map((factor) => factor * power).find((value) => 3 * value <= high - low);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, n) => (first + n) * step);
  };
  // Neighbours in area are far apart in hue; those whose hues come near differ in lightness.
  const TONES = [0, 1, -1];
  const colourOf = (index) => `--hue: ${(215 + 137.508 * index) % 360}; --tone: ${TONES[Math.floor(index / 5) % 3]}`;

  const start = (holder) => {
    const data = read(holder.dataset.source);
    const { k: slider, said } = holder.querySelector("form").elements;
    const readout = holder.querySelector(".readout");
    const [sizes, shapes] = ["sizes", "shapes"].map((name) => holder.querySelector(`svg.${name}`));
    const list = holder.querySelector(".anchor-list");
    const points = [];
    for (let n = 0; n < data.sizes.length; n += 3) points.push(data.sizes.slice(n, n + 3));
    const total = points.reduce((sum, [, , boxes]) => sum + boxes, 0);
    const most = Math.max(...points.map(([, , boxes]) => boxes));
    let chosen = null;

    const everySide = [...points.flatMap(([w, h]) => [w, h]), ...data.sets.flatMap((set) => set.anchors.flat())];
    const low = Math.log(Math.min(...everySide) / 1.15), high = Math.log(Math.max(...everySide) * 1.15);
    const across = (side) => LEFT + ((Math.log(side) - low) / (high - low)) * (SIDE - LEFT);
    const down = (side) => SIDE - BOTTOM - ((Math.log(side) - low) / (high - low)) * (SIDE - BOTTOM - TOP);

    const drawAxes = () => {
      const ticks = ticksBetween(Math.exp(low), Math.exp(high));
      const lines = ticks.map((tick) => `M${across(tick)} ${TOP}V${SIDE - BOTTOM}M${LEFT} ${down(tick)}H${SIDE}`);
      sizes.append(element("path", { class: "grid", d: lines.join("") }));
      for (const tick of ticks) {
        sizes.append(element("text", { x: across(tick), y: SIDE - BOTTOM + 15, "text-anchor": "middle" }, px(tick)));
        sizes.append(element("text", { x: LEFT - 6, y: down(tick) + 4, "text-anchor": "end" }, px(tick)));
      }
      const middle = (SIDE - BOTTOM) / 2;
      sizes.append(element("text", { x: (LEFT + SIDE) / 2, y: SIDE - 4, "text-anchor": "middle" }, "width, px at the input"));
      sizes.append(element("text", { x: 11, y: middle, "text-anchor": "middle", transform: `rotate(-90 11 ${middle})` }, "height, px at the input"));
    };

    const draw = () => {
      const set = data.sets[Number(slider.value)];
      const own = set.anchors.map(() => ({ boxes: 0, iou: 0 }));
      for (const svg of [sizes, shapes]) svg.replaceChildren();
      sizes.setAttribute("viewBox", `0 0 ${SIDE} ${SIDE}`);
      drawAxes();
      for (const [w, h, boxes] of points) {
        let best = 0;
        set.anchors.forEach((anchor, index) => { if (iou(w, h, anchor) > iou(w, h, set.anchors[best])) best = index; });
        own[best].boxes += boxes;
        own[best].iou += boxes * iou(w, h, set.anchors[best]);
        const r = most === 1 ? 3.5 : 1.4 + 5 * Math.sqrt(boxes / most);
        sizes.append(element("circle", {
          class: "size own", style: colourOf(best), "data-anchor": best, cx: across(w), cy: down(h), r,
        }));
      }
      const [width, height] = data.input;
      const scale = SIDE / Math.max(width, height);
      shapes.setAttribute("viewBox", `-1 -1 ${width * scale + 2} ${height * scale + 2}`);
      shapes.append(element("rect", { class: "grid", x: 0, y: 0, width: width * scale, height: height * scale }));
      const bySize = set.anchors.map((anchor, index) => [anchor, index]).reverse(); // the small ones on top
      for (const [[w, h], index] of bySize) {
        shapes.append(element("rect", {
          class: "shape own", style: colourOf(index), "data-anchor": index,
          x: (width - w) * scale / 2, y: (height - h) * scale / 2, width: w * scale, height: h * scale,
        }));
      }
      set.anchors.forEach(([w, h], index) => sizes.append(element("path", {
        class: "mark own", style: colourOf(index), "data-anchor": index,
        d: "M-7-2h5v-5h4v5h5v4h-5v5h-4v-5h-5z", transform: `translate(${across(w)} ${down(h)})`,
      })));

      list.replaceChildren(...set.anchors.map(([w, h], index) => {
        const item = document.createElement("li");
        item.className = "own";
        item.style.cssText = colourOf(index);
        const button = Object.assign(document.createElement("button"), { type: "button" });
        button.dataset.index = index;
        const { boxes, iou: sum } = own[index];
        button.append(
          Object.assign(document.createElement("span"), { className: "swatch" }),
          Object.assign(document.createElement("span"), { className: "wh", textContent: `${px(w)} × ${px(h)} px` }),
          Object.assign(document.createElement("span"), {
            className: "what",
            textContent: `${percent(boxes / total)} of the boxes${boxes ? `, mean IoU ${(sum / boxes).toFixed(3)}` : ""}`,
          }),
        );
        item.append(button);
        return item;
      }));
      said.value = `${set.k} anchor${set.k === 1 ? "" : "s"}`;
      readout.textContent = set.said;
      chosen = null;
      emphasise(null);
      holder.dataset.state = "drawn";
    };

    const emphasise = (index) => {
      for (const part of holder.querySelectorAll("[data-anchor]")) {
        part.toggleAttribute("data-faded", index !== null && Number(part.dataset.anchor) !== index);
      }
      for (const button of list.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(Number(button.dataset.index) === index));
      }
    };
    const indexOf = (event) => {
      const part = event.target.closest("[data-anchor], [data-index]");
      return part ? Number(part.dataset.anchor ?? part.dataset.index) : null;
    };
    holder.addEventListener("pointerover", (event) => emphasise(indexOf(event) ?? chosen));
    holder.addEventListener("pointerleave", () => emphasise(chosen));
    list.addEventListener("click", (event) => {
      const index = indexOf(event);
      if (index === null) return;
      chosen = chosen === index ? null : index;
      emphasise(chosen);
    });
    slider.addEventListener("input", draw);
    draw();
  };

  whenSeen(document.querySelectorAll(".anchors"), start);
})();
