/* Moves between the entries of a list by j and k, and shows the list of keys by ?. No key decides anything. */
(() => {
  "use strict";
  const entries = () => Array.from(document.querySelectorAll("[data-entry]"));
  const typing = (element) => element && element.closest("input, textarea, select, [contenteditable]");
  const go = (step) => {
    const all = entries();
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + step));
    all[next].focus();
    all[next].scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || typing(event.target)) return;
    if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key === "?") {
      const keys = document.getElementById("keys");
      if (!keys) return;
      keys.open = !keys.open;
      if (keys.open) keys.querySelector("summary").focus();
    } else return;
    event.preventDefault();
  });
})();
