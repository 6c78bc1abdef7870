// Presses a card's button without leaving the page and shows the toast.
"use strict";
(() => {
  const shownFor = 6000;
  const toast = (kind, text) => {
    document.querySelector(".toast")?.remove();
    const box = document.createElement("div");
    box.className = "toast " + kind;
    box.setAttribute("role", "status");
    box.textContent = text;
    document.body.append(box);
    setTimeout(() => box.remove(), shownFor);
  };
  document.addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter;
    if (form.getAttribute("action") !== "/press" || !button) return;
    event.preventDefault();
    if (button.classList.contains("waiting")) return;
    button.classList.add("waiting");
    try {
      const answer = await fetch("/press", { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(new FormData(form, button)) });
      const pressed = await answer.json();
      if (!answer.ok) toast("error", pressed.error.message);
      else if (pressed.text) toast(pressed.toast, pressed.text);
    } catch (error) {
      toast("error", String(error));
    } finally {
      button.classList.remove("waiting");
    }
  });
})();
