// Elements whose text is text: nothing here, or anywhere on the page, reads a string as markup.

/** Return a new element; children are nodes or strings. Attributes are set as given, `class` and ARIA's included. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Make *text* the whole content of *node*, and touch the document only where it was another. */
export function setText(node, text) {
  const only = node.firstChild;
  if (only === null || only.nextSibling !== null || only.nodeType !== Node.TEXT_NODE) node.textContent = text;
  else if (only.data !== text) only.data = text;
}

/** Return *text* with its control characters as the pictures that Unicode has of them; a tab stays a tab. */
export function visible(text) {
  return text.replace(/[\x00-\x08\x0a-\x1f\x7f]/g, (character) => {
    const code = character.charCodeAt(0);
    return String.fromCharCode(code === 0x7f ? 0x2421 : 0x2400 + code);
  });
}

/** Return the one element that *selector* names. */
export function find(selector, within = document) {
  const found = within.querySelector(selector);
  if (found === null) throw new Error(`the page has no ${selector}`);
  return found;
}
