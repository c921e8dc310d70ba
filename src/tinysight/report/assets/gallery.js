// Pictures with filters, heat maps over them, and an address for what is seen.
"use strict";
(() => {
  const { percent, picture, read, whenSeen } = window.tinysight;
  const PER_PAGE = 60;
  const ORDERS = {
    "": (data) => (a, b) => data.predicted_prob[b] - data.predicted_prob[a],
    unsure: (data) => (a, b) => data.predicted_prob[a] - data.predicted_prob[b],
    loss: (data) => (a, b) => data.loss[b] - data.loss[a],
    class: (data) => (a, b) => data.target[a] - data.target[b]
      || data.predicted_prob[b] - data.predicted_prob[a],
    predicted: (data) => (a, b) => data.predicted[a] - data.predicted[b]
      || data.predicted_prob[b] - data.predicted_prob[a],
  };

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const named = (className, ...texts) => make("span", { className }, ...texts);
  // A name written from right to left leaves the words around it in their order.
  const isolated = (textContent) => make("bdi", { textContent });

  const start = (holder) => {
    const data = read(holder.dataset.source);
    const form = holder.querySelector("form");
    const fields = form.elements;
    const tiles = holder.querySelector(".tiles");
    const closeup = holder.querySelector(".closeup");
    const numbers = data.sample_id.map((_, number) => number);
    const [height, width] = data.map_hw;
    const maps = {};
    const bytesOf = (name) => {
      maps[name] ??= Uint8Array.from(atob(data[`${name}_map`]), (letter) => letter.charCodeAt(0));
      return maps[name];
    };
    const ramp = Uint8Array.from(atob(data.ramp), (letter) => letter.charCodeAt(0));
    let found = [];
    let page = 0;

    // Filters offer what there is, and how much of it.
    const offer = (select, first, entries) => {
      select.replaceChildren(make("option", { value: "", textContent: first }));
      for (const [value, label, count] of entries) {
        select.append(make("option", { value, textContent: `${label} (${count})` }));
      }
    };
    const counted = (column) => {
      const counts = new Map();
      for (const index of column) counts.set(index, (counts.get(index) ?? 0) + 1);
      return [...counts]
        .map(([index, count]) => [data.anchors[index], data.labels[index], count])
        .sort((a, b) => a[1].localeCompare(b[1], "en", { sensitivity: "base" }));
    };
    offer(fields.class, "all", counted(data.target));
    offer(fields.predicted, "anything", counted(data.predicted));
    offer(fields.kind, "all", data.reasons.map((reason, index) => [
      reason, reason, data.why.filter((why) => why.includes(index)).length,
    ]));

    const heatMap = (number, name) => {
      const canvas = make("canvas", { width, height });
      canvas.setAttribute("aria-hidden", "true");
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(width, height);
      const values = bytesOf(name).subarray(number * width * height, (number + 1) * width * height);
      values.forEach((value, place) => {
        for (let channel = 0; channel < 3; channel++) {
          pixels.data[4 * place + channel] = ramp[3 * value + channel];
        }
        pixels.data[4 * place + 3] = value; // where it is cold the picture shows
      });
      context.putImageData(pixels, 0, 0);
      return canvas;
    };
    const shot = (number, name, alt) => {
      const image = make("img", { src: picture(data.picture[number]) ?? "", alt });
      const place = make("span", { className: "shot" }, image);
      if (name) place.append(heatMap(number, name));
      return place;
    };
    const isRight = (number) => data.target[number] === data.predicted[number];
    const bar = (share, right) => {
      const fill = make("span");
      fill.style.width = `${100 * share}%`;
      return make("span", { className: right ? "bar right" : "bar" }, fill);
    };

    const tileOf = (number) => {
      const target = data.labels[data.target[number]];
      const guess = data.labels[data.predicted[number]];
      const sure = percent(data.predicted_prob[number]);
      const right = isRight(number);
      const button = make(
        "button",
        { type: "button" },
        shot(number, fields.map.value, ""),
        make(
          "span",
          { className: "says" },
          named("true", isolated(target)),
          right ? named("guess right", "recognised") : named("guess", "→ ", isolated(guess)),
          named("sure", `${sure} sure`),
          bar(data.predicted_prob[number], right),
        ),
      );
      button.dataset.number = number;
      button.title = right ? target : `${target}, taken for ${guess}`;
      button.setAttribute("aria-label", right
        ? `${target}, recognised, ${sure} sure` : `${target}, taken for ${guess}, ${sure} sure`);
      return make("li", { className: "tile" }, button);
    };

    const matches = (number) => {
      const sure = 100 * data.predicted_prob[number];
      return (!fields.class.value || data.anchors[data.target[number]] === fields.class.value)
        && (!fields.predicted.value
          || data.anchors[data.predicted[number]] === fields.predicted.value)
        && (!fields.kind.value
          || data.why[number].includes(data.reasons.indexOf(fields.kind.value)))
        && sure >= Number(fields.min.value) && sure <= Number(fields.max.value);
    };

    const showPage = () => {
      const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
      page = Math.min(Math.max(page, 0), pages - 1);
      const first = page * PER_PAGE;
      const shown = found.slice(first, first + PER_PAGE);
      tiles.replaceChildren(...shown.map(tileOf));
      holder.querySelector(".empty").hidden = found.length > 0;
      const count = found.length.toLocaleString("en");
      holder.querySelector(".count").textContent = found.length > PER_PAGE
        ? `${first + 1} to ${first + shown.length} of ${count} pictures`
        : `${count} ${found.length === 1 ? "picture" : "pictures"}`;
      for (const place of holder.querySelectorAll(".page-number")) {
        place.textContent = `${page + 1} of ${pages}`;
      }
      for (const button of holder.querySelectorAll(".previous")) button.disabled = page === 0;
      for (const button of holder.querySelectorAll(".next")) button.disabled = page >= pages - 1;
    };
    const showStrength = () => {
      holder.style.setProperty("--fade", String(fields.fade.value / 100));
      fields.strength.value = `${fields.fade.value} %`;
    };
    const show = () => {
      fields.range.value = `${fields.min.value} % to ${fields.max.value} %`;
      found = numbers.filter(matches).sort(ORDERS[fields.sort.value](data));
      showPage();
      showStrength();
    };

    // The address: what differs from the form's own values, and the open picture.
    const PARTS = ["class", "predicted", "kind", "sort", "min", "max", "map"];
    const OWN = { class: "", predicted: "", kind: "", sort: "", min: "0", max: "100", map: "predicted" };
    const address = (image) => {
      const parts = new URLSearchParams();
      for (const name of PARTS) {
        if (fields[name].value !== OWN[name]) parts.set(name, fields[name].value);
      }
      if (page) parts.set("page", page + 1);
      if (image !== undefined) parts.set("image", data.sample_id[image]);
      return `#${parts.size ? parts : holder.closest("section").id}`;
    };
    const keepAddress = (image) => history.replaceState(null, "", address(image));

    const open = (number) => {
      const target = data.labels[data.target[number]];
      const guess = data.labels[data.predicted[number]];
      const title = closeup.querySelector("h4");
      title.replaceChildren(
        isolated(target), ...(isRight(number) ? [", recognised"] : [", taken for ", isolated(guess)]),
      );
      const captioned = (name, alt, ...texts) => make(
        "figure", {}, shot(number, name, alt), make("figcaption", {}, ...texts),
      );
      const shots = make(
        "div",
        { className: "shots" },
        captioned(null, `The picture: ${target}`, "the picture"),
        captioned("predicted", `Heat map for ${guess}`, "what speaks for ", isolated(guess)),
      );
      if (!isRight(number)) {
        shots.append(
          captioned("target", `Heat map for ${target}`, "what speaks for ", isolated(target)),
        );
      }
      const rows = data.top5[number].map((index, place) => make(
        "tr",
        {},
        make("th", { scope: "row", textContent: data.labels[index], dir: "auto" }),
        make("td", { className: "number", textContent: percent(data.top5_probs[number][place]) }),
        make("td", {}, bar(data.top5_probs[number][place], index === data.target[number])),
      ));
      const guesses = make("table", {}, make("caption", {
        className: "quiet", textContent: "First guesses", style: "text-align: start",
      }), make("tbody", {}, ...rows));
      const why = data.why[number].map((index) => data.reasons[index]).join(", ");
      const remark = make("p", {
        className: "quiet file",
        textContent: `${data.sample_id[number]} · ${why} · loss ${data.loss[number].toFixed(2)}`,
      });
      closeup.querySelector(".closeup-body").replaceChildren(shots, guesses, remark);
      closeup.dataset.number = number;
      const place = found.indexOf(number);
      closeup.querySelector(".closeup-previous").disabled = place <= 0;
      closeup.querySelector(".closeup-next").disabled = place < 0 || place >= found.length - 1;
      if (!closeup.open) closeup.showModal();
      title.focus();
      keepAddress(number);
    };
    const openNeighbour = (step) => {
      const place = found.indexOf(Number(closeup.dataset.number)) + step;
      if (place < 0 || place >= found.length) return;
      if (Math.floor(place / PER_PAGE) !== page) {
        page = Math.floor(place / PER_PAGE);
        showPage();
      }
      open(found[place]);
    };

    // What an address asks for may be a class without a picture, or nothing that there is.
    const choose = (name, value) => {
      const field = fields[name];
      const index = data.anchors.indexOf(value);
      if (["class", "predicted"].includes(name) && index >= 0
        && ![...field.options].some((option) => option.value === value)) {
        field.append(make("option", { value, textContent: `${data.labels[index]} (0)` }));
      }
      field.value = value;
      if (field.value !== value) field.value = OWN[name];
    };
    const follow = () => {
      if (!location.hash.includes("=")) return false;
      const parts = new URLSearchParams(location.hash.slice(1));
      const isOurs = [...parts.keys()].some((name) => PARTS.includes(name) || name === "image");
      if (!isOurs) return false;
      for (const name of PARTS) choose(name, parts.get(name) ?? OWN[name]);
      page = Number(parts.get("page") ?? 1) - 1 || 0;
      show();
      if (closeup.open) closeup.close();
      const image = data.sample_id.indexOf(parts.get("image"));
      if (image >= 0) {
        const place = found.indexOf(image);
        if (place >= 0) { page = Math.floor(place / PER_PAGE); showPage(); }
        open(image);
      } else {
        holder.closest("section").scrollIntoView({ behavior: "instant" });
      }
      return true;
    };

    form.addEventListener("input", (event) => {
      if (event.target === fields.fade) return showStrength();
      if (event.target === fields.min && Number(fields.min.value) > Number(fields.max.value)) {
        fields.max.value = fields.min.value;
      }
      if (event.target === fields.max && Number(fields.max.value) < Number(fields.min.value)) {
        fields.min.value = fields.max.value;
      }
      page = 0;
      show();
    });
    // Not while a slider moves: browsers refuse hundreds of changes of the address.
    form.addEventListener("change", (event) => {
      if (event.target !== fields.fade) keepAddress();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    holder.querySelector(".everything").addEventListener("click", () => {
      for (const name of PARTS) fields[name].value = OWN[name];
      page = 0;
      show();
      keepAddress();
    });
    const turn = (step) => {
      page += step;
      showPage();
      keepAddress();
      tiles.scrollIntoView({ block: "nearest" });
      tiles.querySelector("button")?.focus({ preventScroll: true });
    };
    for (const button of holder.querySelectorAll(".previous")) {
      button.addEventListener("click", () => turn(-1));
    }
    for (const button of holder.querySelectorAll(".next")) {
      button.addEventListener("click", () => turn(1));
    }
    tiles.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) open(Number(button.dataset.number));
    });
    closeup.querySelector(".close").addEventListener("click", () => closeup.close());
    closeup.querySelector(".closeup-previous").addEventListener("click", () => openNeighbour(-1));
    closeup.querySelector(".closeup-next").addEventListener("click", () => openNeighbour(1));
    closeup.addEventListener("click", (event) => { if (event.target === closeup) closeup.close(); });
    closeup.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") openNeighbour(-1);
      if (event.key === "ArrowRight") openNeighbour(1);
    });
    closeup.addEventListener("close", () => {
      if (closeup.open) return; // an address has opened another picture meanwhile
      keepAddress();
      tiles.querySelector(`[data-number="${closeup.dataset.number}"]`)?.focus();
    });
    addEventListener("hashchange", follow);

    return { follow, show };
  };

  // Megabytes of pictures are read when the gallery is near, or when the address asks for them.
  for (const holder of document.querySelectorAll(".gallery")) {
    let gallery;
    const wake = () => {
      if (gallery) return;
      gallery = start(holder);
      if (!gallery.follow()) gallery.show();
    };
    whenSeen([holder], wake, "800px");
    addEventListener("hashchange", () => { if (location.hash.includes("=")) wake(); });
    if (location.hash.includes("=")) wake();
  }
})();
