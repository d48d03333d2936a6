// Filter and search of the claims table. Without it the table is whole and plain.
(() => {
  const form = document.getElementById("ledger-filter");
  const rows = [...document.querySelectorAll("#ledger-claims tbody tr")];
  if (!form || !rows.length) return;
  const box = document.getElementById("ledger-text");
  const selects = [...form.querySelectorAll("select")];
  const count = document.getElementById("ledger-count");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const apply = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const keep =
        words.every((word) => texts.get(row).includes(word)) &&
        selects.every((select) => !select.value || row.dataset[select.dataset.key] === select.value);
      row.hidden = !keep;
      shown += keep;
    }
    count.textContent = `${shown} of ${rows.length} claims shown`;
  };
  const clear = () => {
    form.reset();
    apply();
  };
  // A link to a claim must not lead to a hidden row.
  const reveal = () => {
    let row = null;
    try {
      row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    } catch {
      return; // an address with a stray per cent sign leads to no row
    }
    if (row && row.hidden) {
      clear();
      row.scrollIntoView();
    }
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("ledger-clear").addEventListener("click", clear);
  addEventListener("hashchange", reveal);
  form.hidden = false;
  apply(); // a browser may have kept what was typed before
  reveal();
})();
