// What every page does: light or dark, the contents list, tables, pictures, numbers, the clipboard.
"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const say = (text) => { document.getElementById("status").textContent = text; };

  // As tinysight.numerals.percent: only a share of exactly 0 or 1 reads 0.0 % or 100.0 %.
  const percent = (share, digits = 1) => {
    const text = (100 * share).toFixed(digits);
    const least = 10 ** -digits;
    if (share !== 0 && Number(text) === 0) return `below ${least.toFixed(digits)} %`;
    if (share !== 1 && Number(text) === 100) return `over ${(100 - least).toFixed(digits)} %`;
    return `${text} %`;
  };

  let pictures;
  const picture = (number) => {
    pictures ??= read("page-pictures"); // megabytes: read when the first one comes into view
    return pictures[number];
  };

  // Paper has all of the page in view, but for what is folded away.
  const whenSeen = (elements, act, margin = "300px") => {
    const waiting = new Set(elements);
    const see = (element) => {
      observer.unobserve(element);
      if (waiting.delete(element)) act(element);
    };
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) see(entry.target);
    }, { rootMargin: margin });
    for (const element of waiting) observer.observe(element);
    addEventListener("beforeprint", () => {
      for (const element of waiting) if (element.checkVisibility()) see(element);
    });
  };

  // The older way works where a browser does not trust a file from disk with the new one.
  const copy = async (text, done) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "unseen";
      document.body.append(area);
      area.select();
      const isCopied = document.execCommand("copy");
      area.remove();
      if (!isCopied) return say("This browser did not let the page copy.");
    }
    say(done);
  };

  const flash = (button, text) => {
    button.dataset.label ??= button.textContent;
    button.textContent = text;
    setTimeout(() => { button.textContent = button.dataset.label; }, 1500);
  };

  // Light or dark: the system's choice until a person makes one.
  const root = document.documentElement;
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const themeButton = document.getElementById("theme-button");
  const isDark = () => (root.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";
  const showTheme = () => {
    themeButton.textContent = isDark() ? "Light" : "Dark";
    themeButton.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
    document.dispatchEvent(new Event("themechange"));
  };
  const keep = (value) => {
    try { localStorage.setItem("tinysight-theme", value); } catch { /* not kept, no harm */ }
  };
  const kept = () => {
    try { return localStorage.getItem("tinysight-theme"); } catch { return null; }
  };
  if (["light", "dark"].includes(kept())) root.dataset.theme = kept();
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    keep(root.dataset.theme);
    showTheme();
  });
  systemDark.addEventListener("change", showTheme);
  showTheme();

  // Paper is white: what a script has painted must be too, and a style sheet cannot see to that.
  let themeOnScreen;
  addEventListener("beforeprint", () => {
    themeOnScreen = root.dataset.theme;
    root.dataset.theme = "light";
    showTheme();
  });
  addEventListener("afterprint", () => {
    if (themeOnScreen) root.dataset.theme = themeOnScreen;
    else delete root.dataset.theme;
    showTheme();
  });

  // The contents list marks the section that is being read.
  const links = new Map();
  for (const link of document.querySelectorAll(".contents a")) {
    links.set(link.hash.slice(1), link);
  }
  const sections = [...document.querySelectorAll("main > section")];
  const markSection = () => {
    const line = innerHeight / 3;
    const current = sections.findLast((section) => section.getBoundingClientRect().top <= line);
    for (const [name, link] of links) {
      if (name !== current?.id) {
        link.removeAttribute("aria-current");
      } else if (!link.hasAttribute("aria-current")) {
        link.setAttribute("aria-current", "true");
        const list = link.closest("ol");
        if (list.scrollWidth > list.clientWidth) list.scrollLeft = link.offsetLeft - 60;
      }
    }
  };
  let isMarking = false;
  addEventListener("scroll", () => {
    if (isMarking) return;
    isMarking = true;
    requestAnimationFrame(() => { isMarking = false; markSection(); });
  }, { passive: true });
  markSection();

  // Tables
  const valueOf = (cell) => cell.dataset.value ?? cell.textContent.trim();
  const sortBy = (heading) => {
    const table = heading.closest("table");
    const column = [...heading.parentNode.children].indexOf(heading);
    const isNumber = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const isUp = before === "none" ? !isNumber : before === "descending";
    for (const other of table.tHead.rows[0].cells) {
      if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    }
    heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [valueOf(row.cells[column]), row]);
    const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // what is missing stays last
      const difference = isNumber ? a - b : order.compare(a, b);
      return isUp ? difference : -difference;
    });
    const shown = [...body.rows].filter((row) => !row.hidden).length;
    rows.forEach(([, row], number) => { row.hidden = number >= shown; });
    body.append(...rows.map(([, row]) => row));
    say(`Sorted by ${heading.textContent.trim()}, ${isUp ? "ascending" : "descending"}.`);
  };
  const asTsv = (table) => [...table.rows].map((row) => [...row.cells]
    .map((cell) => (cell.querySelector("img")?.alt ?? valueOf(cell)).replace(/\s+/g, " "))
    .join("\t")).join("\n") + "\n";

  for (const holder of document.querySelectorAll(".table")) {
    const table = holder.querySelector("table");
    if (!table) continue;
    const shownAtFirst = [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
    for (const button of table.querySelectorAll("button.sort")) {
      button.addEventListener("click", () => sortBy(button.closest("th")));
    }
    const copyButton = holder.querySelector(".copy-table");
    copyButton.addEventListener("click", async () => {
      await copy(asTsv(table), `Copied ${table.tBodies[0].rows.length} rows.`);
      flash(copyButton, "Copied");
    });
    const more = holder.querySelector(".more");
    more?.addEventListener("click", () => {
      const isOpen = more.getAttribute("aria-expanded") === "true";
      [...table.tBodies[0].rows].forEach((row, number) => {
        row.hidden = isOpen && number >= shownAtFirst;
      });
      more.setAttribute("aria-expanded", String(!isOpen));
      more.textContent = isOpen ? more.dataset.more : more.dataset.fewer;
    });
  }
  for (const button of document.querySelectorAll(".copy-command")) {
    button.addEventListener("click", async () => {
      await copy(button.dataset.command, "Copied the command.");
      flash(button, "Copied");
    });
  }

  whenSeen(document.querySelectorAll("img[data-picture]"), (image) => {
    image.src = picture(Number(image.dataset.picture));
  });

  window.tinysight = { read, say, picture, percent, whenSeen };
})();
