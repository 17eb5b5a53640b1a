// Looks at the page from inside and leaves what it found in an element of its own.
const errors = [];
window.addEventListener('error', (event) => errors.push(String(event.message)));
window.addEventListener('load', () => {
  const inside = (inner, outer, slack) =>
      inner.left >= outer.left - slack && inner.right <= outer.right + slack &&
      inner.top >= outer.top - slack && inner.bottom <= outer.bottom + slack;
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).map((x) => x / 255).map(
        (x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element) => {
    const style = getComputedStyle(element);
    const ink = luminance(element instanceof SVGElement ? style.fill : style.color);
    const paper = luminance(getComputedStyle(document.body).backgroundColor);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  };

  let marks = 0, marks_outside = 0, marks_without_area = 0;
  const text_outside = [], text_overlapping = [];
  for (const svg of document.querySelectorAll('svg.picture')) {
    const frame = svg.querySelector('rect.frame').getBoundingClientRect();
    for (const mark of svg.querySelectorAll('g > path.mark')) {
      const box = mark.getBoundingClientRect();
      ++marks;
      if (!inside(box, frame, 0)) ++marks_outside;
      if (box.width < 2 || box.height < 2) ++marks_without_area;
    }
    const whole = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')];
    for (const text of texts) {
      if (!inside(text.getBoundingClientRect(), whole, 0.5)) text_outside.push(text.textContent);
    }
    const level = texts.filter((text) => !text.hasAttribute('transform'));
    level.forEach((text, i) => {
      const a = text.getBoundingClientRect();
      for (const other of level.slice(i + 1)) {
        const b = other.getBoundingClientRect();
        const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (x > 1 && y > 3) text_overlapping.push(text.textContent + ' / ' + other.textContent);
      }
    });
  }
  const cells_cut = [...document.querySelectorAll('td, th, li, p, figcaption')].filter(
      (cell) => cell.scrollWidth > cell.clientWidth + 1 && getComputedStyle(cell).display !== 'inline');
  const low_contrast = [...document.querySelectorAll('h1, h2, p, li, td, th, caption, figcaption, small, .picture text')]
      .filter((element) => !element.closest('.flags') && contrast(element) < 4.5);

  const result = document.createElement('pre');
  result.id = 'probe';
  result.textContent = JSON.stringify({
    errors, marks, marks_outside, marks_without_area, text_outside, text_overlapping,
    cells_cut: cells_cut.map((cell) => cell.textContent.slice(0, 80)),
    low_contrast: low_contrast.map((element) => element.textContent.slice(0, 80)),
    pictures: document.querySelectorAll('svg.picture').length,
    tables: document.querySelectorAll('table').length,
    shaded: [...document.querySelectorAll('td.up, td.down')].filter(
        (cell) => getComputedStyle(cell).backgroundColor !== 'rgba(0, 0, 0, 0)').length,
    fetched: performance.getEntriesByType('resource').map((entry) => entry.name),
    wider_than_window: document.documentElement.scrollWidth - window.innerWidth,
    dark: matchMedia('(prefers-color-scheme: dark)').matches,
  });
  document.body.append(result);
});
