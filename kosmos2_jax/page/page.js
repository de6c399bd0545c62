() => {
  // Once for a page: everything is listened to at the document, so that what
  // is drawn anew needs no listeners of its own.
  const all = (selector) => document.querySelectorAll(selector);

  // A phrase, its boxes and its line light up together.
  const light = (number) => {
    for (const one of all('[data-p]'))
      one.classList.toggle('k2-on', one.dataset.p === number);
    for (const svg of all('.k2-boxes'))
      svg.classList.toggle('k2-dim', number !== null);
  };
  const at = (event) => {
    const one = event.target.closest?.('[data-p]');
    light(one ? one.dataset.p : null);
  };
  for (const name of ['mouseover', 'focusin']) document.addEventListener(name, at);

  // A box drawn on the picture is written into the field, where it can be
  // typed as well.
  const field = () => document.querySelector('#k2-box textarea, #k2-box input');
  let begun = null;
  const share = (event) => {
    const area = document.querySelector('#k2-stage .k2-picture')
      .getBoundingClientRect();
    const cut = (value) => Math.min(1, Math.max(0, value));
    return [
      cut((event.clientX - area.left) / area.width),
      cut((event.clientY - area.top) / area.height),
    ];
  };
  const corners = (a, b) => [
    Math.min(a[0], b[0]), Math.min(a[1], b[1]),
    Math.max(a[0], b[0]), Math.max(a[1], b[1]),
  ];
  const show = (box) => {
    const stage = document.querySelector('#k2-stage');
    let drawn = stage.querySelector('.k2-drawn');
    if (!box) return drawn?.remove();
    if (!drawn) {
      drawn = document.createElement('div');
      drawn.className = 'k2-drawn';
      stage.append(drawn);
    }
    const picture = stage.querySelector('.k2-picture').getBoundingClientRect();
    const outer = stage.getBoundingClientRect();
    const left = picture.left - outer.left, top = picture.top - outer.top;
    drawn.style.left = `${left + box[0] * picture.width}px`;
    drawn.style.top = `${top + box[1] * picture.height}px`;
    drawn.style.width = `${(box[2] - box[0]) * picture.width}px`;
    drawn.style.height = `${(box[3] - box[1]) * picture.height}px`;
  };
  document.addEventListener('pointerdown', (event) => {
    const picture = document.querySelector('#k2-stage .k2-picture');
    if (!picture || !event.target.closest?.('#k2-stage') || event.button) return;
    begun = share(event);
    event.preventDefault();
  });
  document.addEventListener('pointermove', (event) => {
    if (begun) show(corners(begun, share(event)));
  });
  document.addEventListener('pointerup', (event) => {
    if (!begun) return;
    const box = corners(begun, share(event));
    begun = null;
    if (box[2] - box[0] < 0.005 || box[3] - box[1] < 0.005) return show(null);
    show(box);
    const input = field();
    if (!input) return;
    const kind = input.tagName === 'TEXTAREA'
      ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(kind.prototype, 'value')
      .set.call(input, box.map((value) => value.toFixed(3)).join(', '));
    input.dispatchEvent(new Event('input', { bubbles: true }));
  });
  // What was drawn belongs to its picture.
  new MutationObserver(() => {
    const stage = document.querySelector('#k2-stage');
    const source = stage?.querySelector('.k2-picture')?.src ?? '';
    if (!stage || stage.dataset.of === source) return;
    stage.dataset.of = source;
    stage.classList.toggle('k2-ready', source !== '');
    show(null);
  }).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ['src'] });
}
