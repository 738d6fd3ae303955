// Keeps a parent's children in step with a list of keys, reusing the elements that stay: whoever has the
// focus on one of them keeps it when the list changes.

const elements = new WeakMap(); // parent -> key -> element

/** Makes `parent` hold one element a key, in order. `make(key)` builds one that is new. */
export function reconcile(parent, keys, make) {
  const known = elements.get(parent) ?? new Map();
  const wanted = new Set(keys);
  elements.set(parent, known);
  for (const [key, element] of known) {
    if (wanted.has(key)) continue;
    element.remove();
    known.delete(key);
  }
  let place = parent.firstElementChild;
  for (const key of wanted) {
    if (!known.has(key)) known.set(key, make(key));
    const element = known.get(key);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  return known;
}
