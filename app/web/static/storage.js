// What the browser remembers: the nickname for this tab, the language for every visit.

// Functions, since merely naming a storage throws where the browser blocks it.
const AREAS = { nickname: () => sessionStorage, language: () => localStorage };

export function recall(key) {
  try {
    return AREAS[key]().getItem(key) ?? "";
  } catch {
    return ""; // blocked storage: every page then begins without a memory, and works
  }
}

export function remember(key, value) {
  try {
    AREAS[key]().setItem(key, value);
  } catch {
    // blocked or full: the value lives as long as this page
  }
}
