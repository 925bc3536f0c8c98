// What a person with another screen, or none, would stumble over: a list of sentences, empty where all is well.
() => {
  const wrong = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const named = (element) => element.id || element.className || element.textContent.trim().slice(0, 30);

  for (const element of document.querySelectorAll("input, select, textarea")) {
    if (!element.labels?.length) wrong.push(`no label: ${named(element)}`);
  }
  for (const element of document.querySelectorAll("button, a[href], summary")) {
    if (!element.textContent.trim() && !element.getAttribute("aria-label")) wrong.push(`no name: ${element.outerHTML}`);
  }
  for (const svg of document.querySelectorAll("svg")) {
    if (svg.getAttribute("aria-hidden") !== "true" && !(svg.role === "img" && svg.ariaLabel)) wrong.push("svg without a name");
  }
  for (const image of document.images) if (!image.hasAttribute("alt")) wrong.push(`no alt: ${image.src}`);
  for (const element of document.querySelectorAll("[role=region]")) if (!element.ariaLabel) wrong.push("region without a name");
  for (const cell of document.querySelectorAll("th")) if (!cell.scope) wrong.push(`th without scope: ${cell.textContent}`);
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`id twice: ${id}`);
  for (const name of ["aria-describedby", "aria-labelledby"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) {
      for (const id of element.getAttribute(name).split(" ")) if (!document.getElementById(id)) wrong.push(`${name}: no ${id}`);
    }
  }
  let last = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    if (!shown(heading)) continue;
    const level = Number(heading.nodeName[1]);
    if (level > last + 1) wrong.push(`h${last} is followed by h${level}: ${named(heading)}`);
    last = level;
  }
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  if (!document.documentElement.lang) wrong.push("no lang");

  // contrast: WCAG 2, of every element that has text of its own
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = color.map((value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = channels(getComputedStyle(at).backgroundColor);
      if (a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !shown(element) || element.closest(":disabled")) continue;
    const style = getComputedStyle(element);
    const pair = [luminance(channels(style.color).slice(0, 3)), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (contrast < (large ? 3 : 4.5)) wrong.push(`contrast ${contrast.toFixed(2)}: ${named(element)}`);
  }
  return wrong;
}
