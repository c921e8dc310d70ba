// The confusion matrix: all classes at once, or a window of few with their names.
"use strict";
(() => {
  const { percent, read, whenSeen } = window.tinysight;
  const FEWEST = 8; // classes in the narrowest window
  const NAMED_CELL_PX = 13; // smaller cells have no room for a line of text
  const LARGEST_CELL_PX = 64;

  // Colours as the browser computes them: rgb(0, 114, 178).
  const channels = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number);
  const mixed = (over, under, strength) => {
    const [one, other] = [over, under].map(channels);
    return one.map((value, n) => strength * value + (1 - strength) * other[n]);
  };
  // Where black can be read better than white: relative luminance of WCAG.
  const isBright = (rgb) => {
    const linear = rgb.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179;
  };

  const start = (holder) => {
    const data = read(holder.dataset.source);
    const canvas = holder.querySelector("canvas");
    const readout = holder.querySelector(".readout");
    const { row: rowSelect, zoom, view } = holder.querySelector("form").elements;
    const size = data.order.length;
    const placeOf = new Map(data.order.map((index, place) => [index, place]));
    const cells = new Map(); // by row * size + column, in the order of the picture
    for (let n = 0; n < data.counts.length; n += 3) {
      const [target, predicted, images] = data.counts.slice(n, n + 3);
      cells.set(placeOf.get(target) * size + placeOf.get(predicted), images);
    }
    const pictured = new Map(); // how many pictures of a cell are on the page, likewise
    for (let n = 0; n < data.pictured.length; n += 3) {
      const [target, predicted, pictures] = data.pictured.slice(n, n + 3);
      pictured.set(placeOf.get(target) * size + placeOf.get(predicted), pictures);
    }
    const drawn = [...cells]
      .map(([key, images]) => {
        const row = Math.floor(key / size);
        return { row, column: key % size, share: images / data.images[data.order[row]] };
      })
      .sort((a, b) => a.share - b.share); // larger shares cover smaller ones where pixels are few
    const heaviest = drawn.findLast((cell) => cell.row !== cell.column);
    const chosen = { row: heaviest?.row ?? 0, column: heaviest?.column ?? 0 };
    let wide = size; // classes in view
    let corner = { row: 0, column: 0 };
    let frame = { left: 0, top: 0, cell: 1 };

    // Mistakes are rarer than hits: without the root they could not be seen.
    const strengthOf = (row, column, share) => row === column
      ? 0.12 + 0.88 * share : Math.min(1, 0.06 + 1.35 * Math.sqrt(share));
    const labelAt = (place) => data.labels[data.order[place]];
    const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
    const fewest = Math.min(FEWEST, size);
    const wideOf = (value) => Math.round(size * (fewest / size) ** (value / 100));

    const look = () => {
      for (const axis of ["row", "column"]) {
        const start = wide === size ? 0 : chosen[axis] - Math.floor(wide / 2);
        const isInside = chosen[axis] >= corner[axis] + 1 && chosen[axis] < corner[axis] + wide - 1;
        if (!isInside || corner[axis] + wide > size) corner[axis] = clamp(start, 0, size - wide);
      }
      view.value = wide === size ? `all ${size}` : `${wide} of ${size}`;
      draw();
    };

    const shorten = (context, text, room) => {
      if (context.measureText(text).width <= room) return text;
      let length = text.length;
      while (length > 1 && context.measureText(`${text.slice(0, length)}…`).width > room) length--;
      return `${text.slice(0, length)}…`;
    };

    const draw = () => {
      const widthPx = canvas.clientWidth;
      if (!widthPx) return;
      const style = getComputedStyle(holder);
      const colour = (name) => {
        // A canvas cannot read light-dark(); a computed colour it can.
        probe.style.color = `var(--${name})`;
        return getComputedStyle(probe).color;
      };
      const [ink, quiet, faint, ground, blue, vermillion] =
        ["ink", "quiet", "faint", "ground", "blue", "vermillion"].map(colour);
      const room = Math.min(190, widthPx * 0.3);
      const isNamed = (widthPx - room) / wide >= NAMED_CELL_PX;
      const left = isNamed ? room : 0;
      const cell = Math.min((widthPx - left) / wide, LARGEST_CELL_PX);
      const top = isNamed ? Math.min(150, room) : 0;
      frame = { left, top, cell };
      const scale = devicePixelRatio || 1;
      canvas.width = Math.round(widthPx * scale);
      canvas.height = Math.round((top + cell * wide) * scale);
      canvas.style.height = `${top + cell * wide}px`;
      const context = canvas.getContext("2d");
      context.scale(scale, scale);
      context.font = `12px ${style.fontFamily}`;

      const edge = (value) => Math.round(value * scale) / scale;
      for (const { row, column, share } of drawn) {
        const y = row - corner.row;
        const x = column - corner.column;
        if (x < 0 || y < 0 || x >= wide || y >= wide) continue;
        const from = [edge(left + x * cell), edge(top + y * cell)];
        const to = [edge(left + (x + 1) * cell), edge(top + (y + 1) * cell)];
        const thin = 1 / scale;
        context.clearRect(...from, Math.max(thin, to[0] - from[0]), Math.max(thin, to[1] - from[1]));
        context.globalAlpha = strengthOf(row, column, share);
        context.fillStyle = row === column ? blue : vermillion;
        context.fillRect(...from, Math.max(thin, to[0] - from[0]), Math.max(thin, to[1] - from[1]));
      }
      context.globalAlpha = 1;

      if (isNamed) {
        context.strokeStyle = faint;
        context.lineWidth = 1;
        context.beginPath();
        for (let n = 0; n <= wide; n++) {
          context.moveTo(left, top + n * cell); context.lineTo(left + wide * cell, top + n * cell);
          context.moveTo(left + n * cell, top); context.lineTo(left + n * cell, top + wide * cell);
        }
        context.stroke();
        context.textBaseline = "middle";
        for (let n = 0; n < wide; n++) {
          context.textAlign = "right";
          context.fillStyle = corner.row + n === chosen.row ? ink : quiet;
          context.fillText(
            shorten(context, labelAt(corner.row + n), left - 16), left - 8, top + (n + 0.5) * cell,
          );
          context.save();
          context.translate(left + (n + 0.5) * cell, top - 8);
          context.rotate(-Math.PI / 2);
          context.textAlign = "left";
          context.fillStyle = corner.column + n === chosen.column ? ink : quiet;
          context.fillText(shorten(context, labelAt(corner.column + n), top - 16), 0, 0);
          context.restore();
        }
        if (cell >= 22) {
          context.textAlign = "center";
          for (const { row, column, share } of drawn) {
            const y = row - corner.row;
            const x = column - corner.column;
            if (x < 0 || y < 0 || x >= wide || y >= wide) continue;
            const strength = strengthOf(row, column, share);
            const under = mixed(row === column ? blue : vermillion, ground, strength);
            context.fillStyle = isBright(under) ? "black" : "white";
            context.fillText(cells.get(row * size + column), left + (x + 0.5) * cell, top + (y + 0.5) * cell);
          }
        }
      }
      const x = left + (chosen.column - corner.column) * cell;
      const y = top + (chosen.row - corner.row) * cell;
      const ring = Math.max(cell, 7);
      // Two lines, so that one of them stands out from whatever is under it.
      for (const [colour, px] of [[ground, 5], [ink, 2]]) {
        context.strokeStyle = colour;
        context.lineWidth = px;
        context.strokeRect(x + cell / 2 - ring / 2, y + cell / 2 - ring / 2, ring, ring);
      }
      canvas.dataset.state = "drawn";
    };
    const probe = document.createElement("span");
    probe.hidden = true;
    holder.append(probe);

    const tell = () => {
      const images = cells.get(chosen.row * size + chosen.column) ?? 0;
      const of = data.images[data.order[chosen.row]];
      const strong = (place) => Object.assign(document.createElement("strong"), {
        textContent: labelAt(place), dir: "auto",
      });
      const share = `${images.toLocaleString("en")} of ${of.toLocaleString("en")} images${of ? ` (${percent(images / of)})` : ""}`;
      const parts = chosen.row === chosen.column
        ? [strong(chosen.row), ` is recognised: ${share}. `]
        : [strong(chosen.row), " is taken for ", strong(chosen.column), `: ${share}. `];
      if (images && chosen.row !== chosen.column) {
        const shown = pictured.get(chosen.row * size + chosen.column) ?? 0;
        const them = images === 1 ? "the picture" : "the pictures";
        if (shown) {
          const link = document.createElement("a");
          link.href = addressOf();
          link.textContent = shown < images ? `Show ${shown} of ${them}` : `Show ${them}`;
          parts.push(link);
        } else {
          parts.push(images === 1 ? "Its picture is not on this page." : "None of their pictures is on this page.");
        }
      }
      readout.replaceChildren(...parts);
    };
    const addressOf = () => `#${new URLSearchParams({
      class: data.anchors[data.order[chosen.row]],
      predicted: data.anchors[data.order[chosen.column]],
    })}`;

    const choose = (row, column) => {
      chosen.row = clamp(row, 0, size - 1);
      chosen.column = clamp(column, 0, size - 1);
      rowSelect.value = String(chosen.row);
      look();
      tell();
    };

    [...data.order.keys()]
      .sort((a, b) => labelAt(a).localeCompare(labelAt(b), "en", { sensitivity: "base" }))
      .forEach((place) => rowSelect.append(Object.assign(document.createElement("option"), {
        value: String(place), textContent: labelAt(place),
      })));
    rowSelect.addEventListener("change", () => {
      const row = Number(rowSelect.value);
      const worst = drawn.findLast((cell) => cell.row === row && cell.column !== row);
      choose(row, worst?.column ?? row);
    });
    zoom.addEventListener("input", () => {
      wide = wideOf(Number(zoom.value));
      corner = { row: chosen.row - Math.floor(wide / 2), column: chosen.column - Math.floor(wide / 2) };
      corner.row = clamp(corner.row, 0, size - wide);
      corner.column = clamp(corner.column, 0, size - wide);
      look();
    });
    zoom.disabled = size <= FEWEST;
    holder.querySelector("form").addEventListener("submit", (event) => event.preventDefault());

    const placeAt = (event) => {
      const box = canvas.getBoundingClientRect();
      return [
        corner.row + Math.floor((event.clientY - box.top - frame.top) / frame.cell),
        corner.column + Math.floor((event.clientX - box.left - frame.left) / frame.cell),
      ];
    };
    canvas.addEventListener("click", (event) => {
      const [row, column] = placeAt(event);
      // A click on a name chooses its class and leaves the other one.
      choose(row < corner.row ? chosen.row : row, column < corner.column ? chosen.column : column);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse") return;
      const [row, column] = placeAt(event);
      const isInside = row >= corner.row && column >= corner.column
        && row < corner.row + wide && column < corner.column + wide;
      const images = isInside ? cells.get(row * size + column) ?? 0 : 0;
      canvas.title = isInside
        ? `${labelAt(row)}${row === column ? " recognised" : ` taken for ${labelAt(column)}`}: ${images}`
        : "";
    });
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (moves[event.key]) {
        event.preventDefault();
        choose(chosen.row + moves[event.key][0], chosen.column + moves[event.key][1]);
      } else if ("+-".includes(event.key)) {
        zoom.value = Number(zoom.value) + (event.key === "+" ? 10 : -10);
        zoom.dispatchEvent(new Event("input"));
      } else if (event.key === "Enter") {
        readout.querySelector("a")?.click();
      }
    });
    document.addEventListener("themechange", draw);
    new ResizeObserver(draw).observe(canvas.parentNode);
    choose(chosen.row, chosen.column);
  };

  whenSeen(document.querySelectorAll(".confusion"), start);
})();
