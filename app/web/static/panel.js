// On a phone the members lie over the conversation; this opens and closes them. Wider pages show both.

/** `toggle` is the button, `panel` what it controls. */
export function createPanel(toggle, panel) {
  const set = (open) => {
    toggle.setAttribute("aria-expanded", String(open));
    panel.toggleAttribute("data-open", open);
    if (open) panel.focus(); // it comes after the conversation, far from the button
  };
  const isOpen = () => panel.hasAttribute("data-open");

  toggle.addEventListener("click", () => set(!isOpen()));
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !isOpen()) return;
    set(false);
    toggle.focus();
  });
  return { close: () => set(false) };
}
