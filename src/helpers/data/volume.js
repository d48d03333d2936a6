(function (data) {
  "use strict";
  const here = document.currentScript && document.currentScript.closest(".volume");
  const root = here || document.getElementById(data.id);
  if (!root || root.dataset.ready) return;
  root.dataset.ready = "yes";
  const find = (name) => root.querySelector('[data-part="' + name + '"]');
  const [nx, ny, nz] = data.shape, size = nx * ny * nz, zoom = 6;

  function bytes(text) {
    const raw = atob(text), found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i += 1) found[i] = raw.charCodeAt(i);
    return found;
  }
  // Volumes hold the voxels inside the head only, in the order of the mask's bits.
  const bits = bytes(data.mask), places = [];
  for (let i = 0; i < size; i += 1) if (bits[i >> 3] & (128 >> (i & 7))) places.push(i);
  function filled(text) {
    const volume = new Uint8Array(size), values = bytes(text);
    places.forEach((place, k) => { volume[place] = values[k]; });
    return volume;
  }
  const inside = new Uint8Array(size);
  places.forEach((place) => { inside[place] = 1; });
  const scan = data.scan ? filled(data.scan) : null;
  const planted = data.planted ? filled(data.planted) : null;
  const kept = new Map();
  function chosen() {
    const number = Number(find("map").value);
    if (!kept.has(number)) kept.set(number, filled(data.maps[number].levels));
    return kept.get(number);
  }

  const at = data.start.slice();
  const index = (i, j, k) => (i * ny + j) * nz + k;
  const VIEWS = {
    axial: { axis: 2, width: nx, height: ny, place: (u, v) => [u, v, at[2]] },
    coronal: { axis: 1, width: nx, height: nz, place: (u, v) => [u, at[1], v] },
    sagittal: { axis: 0, width: ny, height: nz, place: (u, v) => [at[0], u, v] },
  };
  // Where a voxel of a view lies across and up.
  const spot = { axial: () => [at[0], at[1]], coronal: () => [at[0], at[2]], sagittal: () => [at[1], at[2]] };

  function layer(view, colour) {
    const canvas = document.createElement("canvas");
    canvas.width = view.width;
    canvas.height = view.height;
    const context = canvas.getContext("2d"), image = context.createImageData(view.width, view.height);
    for (let v = 0; v < view.height; v += 1) {
      for (let u = 0; u < view.width; u += 1) {
        const found = colour(index(...view.place(u, v)));
        if (found) image.data.set(found, 4 * ((view.height - 1 - v) * view.width + u));
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  const cut = () => 255 * (1 - 2 * Number(find("share").value) / 100);
  function heat(level, low) {
    const t = low < 255 ? (level - low) / (255 - low) : 1;
    return [213 + 42 * t, 94 + 131 * t, 77 * t, 255];
  }

  function drawView(name) {
    const view = VIEWS[name], canvas = find(name), context = canvas.getContext("2d");
    canvas.width = zoom * view.width;
    canvas.height = zoom * view.height;
    const map = chosen(), low = cut();
    const stretch = (picture) => context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = true;
    stretch(layer(view, (place) => {
      const grey = scan ? scan[place] : 80 * inside[place];
      return [grey, grey, grey, 255];
    }));
    context.imageSmoothingEnabled = false;
    context.globalAlpha = Number(find("opacity").value) / 100;
    stretch(layer(view, (place) => (map[place] > 0 && map[place] >= low ? heat(map[place], low) : null)));
    context.globalAlpha = 1;
    if (planted && find("outline").checked) drawOutline(context, view);
    drawCross(context, view, spot[name]());
  }

  function drawOutline(context, view) {
    const there = (u, v) => u >= 0 && v >= 0 && u < view.width && v < view.height &&
      planted[index(...view.place(u, v))] > 0;
    context.strokeStyle = "#20E0A0";
    context.lineWidth = 1.5;
    context.beginPath();
    for (let v = 0; v <= view.height; v += 1) {
      for (let u = 0; u <= view.width; u += 1) {
        const own = there(u, v), x = zoom * u, y = zoom * (view.height - v);
        if (own !== there(u - 1, v)) { context.moveTo(x, y); context.lineTo(x, y - zoom); }
        if (own !== there(u, v - 1)) { context.moveTo(x, y); context.lineTo(x + zoom, y); }
      }
    }
    context.stroke();
  }

  function drawCross(context, view, [u, v]) {
    const x = zoom * (u + 0.5), y = zoom * (view.height - v - 0.5), gap = 1.5 * zoom;
    const wide = zoom * view.width, high = zoom * view.height;
    context.strokeStyle = "rgba(86, 180, 233, 0.9)";
    context.lineWidth = 1;
    context.beginPath();
    for (const [x0, y0, x1, y1] of [[x, 0, x, y - gap], [x, y + gap, x, high], [0, y, x - gap, y], [x + gap, y, wide, y]]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.stroke();
  }

  const inMm = (place) => place.map((i, axis) => data.origin[axis] + data.step * i);
  const talairach = (p) => data.talairach.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + row[3]);
  const shown = (value) => (Math.round(value) || 0).toString().replace("-", "−");
  const point = (p) => "(" + p.map(shown).join(", ") + ") mm";
  function nearest(p) {
    let best = null;
    for (const region of data.regions) {
      const away = Math.hypot(...region.centre.map((c, axis) => c - p[axis]));
      if (!best || away < best.away) best = { name: region.name, away: away };
    }
    return best;
  }
  function standing(place) {
    if (!inside[place]) return "outside the head";
    const level = chosen()[place];
    if (level === 0) return "map: in the lower half of the voxels";
    const share = 50 * (1 - level / 255);
    return "map: among the " + Math.max(share, 0.2).toFixed(share < 10 ? 1 : 0) + " % most active voxels";
  }

  function words() {
    const p = inMm(at), found = [];
    if (data.atlas) {
      found.push("MNI " + point(p), "Talairach " + point(talairach(p)));
      const region = nearest(p);
      if (region) found.push("nearest planted centre: " + region.name + ", " + Math.round(region.away) + " mm");
    } else {
      found.push(point(p) + " from the middle of the box; these scans are in no atlas, so no place has a name");
    }
    found.push(standing(index(...at)));
    return found.join(" · ");
  }

  function draw() {
    const p = inMm(at), t = data.atlas ? talairach(p) : p, space = data.atlas ? " mm Talairach at the cross" : " mm";
    ["sagittal", "coronal", "axial"].forEach((name, axis) => {
      drawView(name);
      const slider = find("slide-" + name), text = "xyz"[axis] + " " + shown(t[axis]) + space;
      slider.value = at[axis];
      slider.setAttribute("aria-valuetext", text);
      find("at-" + name).textContent = text;
      find(name).setAttribute("aria-label", name + " slice at " + text);
    });
    const share = find("share").value;
    find("share-text").textContent = share + " %";
    find("share").setAttribute("aria-valuetext", share + " per cent");
    find("opacity-text").textContent = find("opacity").value + " %";
    find("opacity").setAttribute("aria-valuetext", find("opacity").value + " per cent");
    find("where").textContent = words();
  }

  Object.entries(VIEWS).forEach(([name, view]) => {
    const slider = find("slide-" + name);
    slider.max = data.shape[view.axis] - 1;
    slider.addEventListener("input", () => { at[view.axis] = Number(slider.value); draw(); });
    find(name).addEventListener("click", (event) => {
      const box = event.target.getBoundingClientRect();
      const u = Math.floor(view.width * (event.clientX - box.left) / box.width);
      const v = view.height - 1 - Math.floor(view.height * (event.clientY - box.top) / box.height);
      const clipped = [Math.min(Math.max(u, 0), view.width - 1), Math.min(Math.max(v, 0), view.height - 1)];
      view.place(...clipped).forEach((value, axis) => { at[axis] = value; });
      draw();
    });
  });
  ["map", "share", "opacity"].forEach((name) => find(name).addEventListener("input", draw));
  if (planted) find("outline").addEventListener("change", draw);
  if (find("go")) find("go").addEventListener("change", (event) => {
    const region = data.regions[Number(event.target.value)];
    if (!region) return;
    region.centre.forEach((c, axis) => {
      const i = Math.round((c - data.origin[axis]) / data.step);
      at[axis] = Math.min(Math.max(i, 0), data.shape[axis] - 1);
    });
    draw();
  });
  find("live").hidden = false;
  find("fixed").hidden = true;
  draw();
})
