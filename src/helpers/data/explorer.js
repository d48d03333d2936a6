(function (data) {
  "use strict";
  const here = document.currentScript && document.currentScript.closest(".explorer");
  const root = here || document.getElementById(data.id);
  if (!root || root.dataset.ready) return;
  root.dataset.ready = "yes";
  const find = (name) => root.querySelector('[data-part="' + name + '"]');
  const chosen = data.sources.map((source) => source.start);
  let current = 0;

  // Bayes' theorem on a predictive value at a prevalence of one half; null stays null.
  function carried(value, share) {
    if (value === null) return null;
    const both = value * share + (1 - value) * (1 - share);
    return both > 0 ? (value * share) / both : null;
  }
  const round = (value) => Math.floor(value + 0.5);
  const percent = (value) => (100 * value).toFixed(1) + " %";
  function ratio(value) {
    // Three significant digits, as the tables of the page show.
    if (value === 0) return "0";
    const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(Number(value.toPrecision(3))))));
    return value.toFixed(Math.min(digits, 6));
  }

  function measured(source, index, prevalence) {
    const row = (name) => source.rows[name][index];
    const shifted = (name, share) => {
      const [estimate, low, high, why] = row(name);
      return [carried(estimate, share), carried(low, share), carried(high, share), why];
    };
    return [
      ["Sensitivity", row("sensitivity"), percent],
      ["Specificity", row("specificity"), percent],
      ["Positive predictive value", shifted("ppv_half", prevalence), percent],
      ["Negative predictive value", shifted("npv_half", 1 - prevalence), percent],
      ["Positive likelihood ratio", row("lr_positive"), ratio],
      ["Negative likelihood ratio", row("lr_negative"), ratio],
    ];
  }

  function perThousand(source, index, prevalence) {
    const [se] = source.rows.sensitivity[index], [sp] = source.rows.specificity[index];
    if (se === null || sp === null) return null;
    const ill = round(1000 * prevalence);
    const tp = round(ill * se), tn = round((1000 - ill) * sp);
    return { tp: tp, fn: ill - tp, fp: 1000 - ill - tn, tn: tn };
  }

  function cell(tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  }

  function drawTable(rows) {
    const body = find("measures");
    body.replaceChildren(...rows.map(([name, [estimate, low, high, why], shown]) => {
      const line = document.createElement("tr");
      const head = cell("th", name);
      head.scope = "row";
      const span = low === null || high === null
        ? "– " + (why ? "(" + why + ")" : "") : shown(low).replace(" %", "") + " to " + shown(high);
      line.append(head, cell("td", estimate === null ? "undefined" : shown(estimate)), cell("td", span));
      return line;
    }));
  }

  // A thousand people in rows of 50: filled when called positive, hollow when not.
  function drawPeople(counts) {
    let position = 0;
    for (const name of ["tp", "fn", "fp", "tn"]) {
      let path = "";
      for (let i = 0; counts && i < counts[name]; i += 1, position += 1) {
        const x = 10 * (position % 50) + 1.8, y = 10 * Math.floor(position / 50) + 5;
        path += "M" + x.toFixed(1) + " " + y + "a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0";
      }
      find("people-" + name).setAttribute("d", path);
      find("count-" + name).textContent = counts ? counts[name].toLocaleString("en-US") : "undefined";
    }
  }

  function draw() {
    const source = data.sources[current], index = chosen[current];
    const prevalence = Number(find("prevalence").value) / 100;
    const setting = find("setting"), many = source.settings.length - 1;
    setting.max = many;
    setting.value = index;
    setting.setAttribute("aria-valuetext", source.texts[index]);
    find("setting-name").textContent = source.setting_name;
    find("setting-text").textContent = source.texts[index];
    find("prevalence-text").textContent = Math.round(100 * prevalence) + " %";
    find("prevalence").setAttribute("aria-valuetext", Math.round(100 * prevalence) + " per cent");
    find("note").textContent = source.note;
    find("evidence").textContent = source.label;
    find("evidence").className = "evidence evidence-" + source.label.split(",")[0].replace(" ", "-");
    root.querySelectorAll("[data-mark-of]").forEach((button) => {
      button.hidden = Number(button.dataset.markOf) !== current;
    });
    const counts = perThousand(source, index, prevalence);
    drawPeople(counts);
    drawTable(measured(source, index, prevalence));
    if (!counts) {
      find("summary").textContent = "Undefined: sensitivity or specificity is not known here.";
      return;
    }
    const called = counts.tp + counts.fp;
    find("summary").textContent = "Of 1,000 people, " + (counts.tp + counts.fn) + " are ill. " + called +
      " are called positive, " + counts.tp + " of them rightly; " + counts.fn + " who are ill are missed.";
  }

  find("setting").addEventListener("input", (event) => {
    chosen[current] = Number(event.target.value);
    draw();
  });
  find("prevalence").addEventListener("input", draw);
  root.querySelectorAll("[data-source]").forEach((choice) => choice.addEventListener("change", () => {
    current = Number(choice.dataset.source);
    draw();
  }));
  root.querySelectorAll("[data-mark-of]").forEach((button) => button.addEventListener("click", () => {
    chosen[current] = Number(button.dataset.index);
    draw();
  }));
  root.querySelectorAll("[data-prevalence]").forEach((button) => button.addEventListener("click", () => {
    find("prevalence").value = button.dataset.prevalence;
    draw();
  }));
  find("live").hidden = false;
  find("fixed").open = false;
  draw();
})
