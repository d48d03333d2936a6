"""The threshold under the reader's hand: a slider in the page, every result made beforehand.

Each position of the slider holds what :func:`helpers.roi.locate_legs` returned for that
threshold; the script only swaps pictures and words. Where scripts do not run, Otsu's threshold
is shown.
"""

import hashlib
import html
import io
import json

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from helpers import display
from helpers.display import PALETTE
from helpers.images import SliceImage
from helpers.roi import Located

#: Colour and opacity of each value of a mask: nothing, right leg, left leg, legs not parted,
#: other foreground.
_MASK = (
    ("#000000", 0.0),
    (PALETTE["accent"], 0.35),
    (PALETTE["light"], 0.35),
    (PALETTE["your data"], 0.4),
    ("#FFFFFF", 0.3),
)
_STYLE = """
.roi-threshold {margin: 1em 0}
.roi-threshold .controls {margin-bottom: 0.8em}
.roi-threshold .controls[hidden] {display: none}
.roi-threshold .panels {display: flex; flex-wrap: wrap; gap: 0.8em}
.roi-threshold figure {flex: 1 1 190px; margin: 0; max-width: 330px}
.roi-threshold svg {width: 100%; height: auto; background: #000; display: block}
.roi-threshold .mask {image-rendering: pixelated}
.roi-threshold rect {fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke}
.roi-threshold figcaption {font-size: 0.85em; min-height: 4.5em; margin-top: 0.3em}
.roi-threshold input[type=range] {width: min(100%, 30em); display: block; margin: 0.5em 0}
.roi-threshold button {color: inherit; background: transparent; border: 1px solid currentColor;
  border-radius: 4px; padding: 0.15em 0.6em}
.roi-threshold :focus-visible {outline: 2px solid #E69F00; outline-offset: 2px}
"""
_SCRIPT = """
(function () {
  var root = document.getElementById("%(id)s");
  if (!root || root.dataset.ready) { return; }
  root.dataset.ready = "yes";
  var data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  var slider = root.querySelector("input"), chosen = root.querySelector(".chosen");
  var status = root.querySelector("[role=status]");
  var panels = root.querySelectorAll("figure");
  function show() {
    var at = Number(slider.value);
    chosen.textContent = data.texts[at];
    slider.setAttribute("aria-valuetext", data.texts[at]);
    status.textContent = data.said[at];
    data.slices.forEach(function (states, number) {
      var state = states[at], panel = panels[number];
      panel.querySelector(".mask").setAttribute("href", "data:image/png;base64," + state.mask);
      panel.querySelector(".outcome").textContent = state.outcome;
      ["right", "left"].forEach(function (side) {
        var box = state.boxes[side], frame = panel.querySelector("rect." + side);
        frame.style.display = box ? "" : "none";
        ["x", "y", "width", "height"].forEach(function (name, place) {
          if (box) { frame.setAttribute(name, box[place]); }
        });
      });
    });
  }
  slider.addEventListener("input", show);
  root.querySelector("button").addEventListener("click", function () {
    slider.value = data.otsu; show(); slider.focus();
  });
  root.querySelector(".controls").hidden = false;
  show();
})();
"""


def widget(
    titles: list[str], slices: list[SliceImage], found: list[list[Located]], factors: np.ndarray
) -> str:
    """Return the slider and its slices as HTML.

    Parameters
    ----------
    titles : list of str
        One a slice.
    slices : list of SliceImage
        In the same order.
    found : list of list of Located
        For each slice, from :func:`helpers.roi.at_thresholds`.
    factors : ndarray, shape (n,)
        Thresholds as multiples of Otsu's, ascending, 1 among them.

    Returns
    -------
    str
    """
    otsu = int(np.argmin(np.abs(np.log(factors))))
    windows = [_rows(states[otsu]) for states in found]
    states = [
        [_state(one, rows) for one in several] for several, rows in zip(found, windows, strict=True)
    ]
    data = {"texts": [_words(factor) for factor in factors], "otsu": otsu, "slices": states}
    data["said"] = [
        _said(data["texts"][at], [own[at] for own in states]) for at in range(len(factors))
    ]
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    name = f"roi-threshold-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    panels = "".join(
        _panel(title, image, several[otsu], state[otsu], rows)
        for title, image, several, state, rows in zip(
            titles, slices, found, states, windows, strict=True
        )
    )
    return (
        f'<div class="roi-threshold" id="{name}"><style>{_STYLE}</style>'
        f'<div class="controls" hidden><label for="{name}-slider">'
        f'Threshold</label>: <span class="chosen">{data["texts"][otsu]}</span>'
        f'<input type="range" id="{name}-slider" min="0" max="{len(factors) - 1}" step="1" '
        f'value="{otsu}">'
        '<button type="button">Back to Otsu\'s threshold</button>'
        # The one live region: four captions that change at once would talk over each other.
        f'<p role="status">{data["said"][otsu]}</p></div>'
        f'<div class="panels">{panels}</div>'
        "<noscript><p>Without scripts the slices are shown at Otsu's threshold.</p></noscript>"
        f'<script type="application/json">{text}</script>'
        f"<script>{_SCRIPT % {'id': name}}</script></div>"
    )


def _words(factor: float) -> str:
    return "Otsu's" if np.isclose(factor, 1) else f"{factor:.2f} times Otsu's"


def _said(threshold: str, states: list[dict]) -> str:
    both = sum(bool(state["boxes"]) for state in states)
    return f"At {threshold} two legs are found in {both} of {len(states)} slices."


def _rows(located: Located) -> tuple[int, int]:
    """Return the first and last row of blocks worth showing."""
    rows = np.flatnonzero(located.filled.any(axis=1))
    if not rows.size:
        return 0, len(located.filled)
    room = len(located.filled) // 12
    return max(0, int(rows[0]) - room), min(len(located.filled), int(rows[-1]) + 1 + room)


def _state(located: Located, rows: tuple[int, int]) -> dict:
    mask = np.where(located.foreground & (located.parts == 0), 4, located.parts)
    if not located.boxes:
        mask = np.where(located.parts > 0, 3, mask)
    top = rows[0] * located.step[0]
    boxes = {
        side: [col0, row0 - top, col1 - col0, row1 - row0]
        for side, (row0, col0, row1, col1) in located.boxes.items()
    }
    return {"mask": _png(mask[slice(*rows)]), "boxes": boxes, "outcome": _outcome(located)}


def _outcome(located: Located) -> str:
    contact = f"contact over {located.neck_fraction:.0%} of the height"
    if located.boxes:
        return "two legs, apart" if located.neck_fraction == 0 else f"two legs, {contact}, cut"
    touching = located.reason and np.isfinite(located.neck_fraction)
    return f"left out: {located.reason}" + (f" ({contact})" if touching else "")


def _panel(
    title: str, image: SliceImage, located: Located, state: dict, rows: tuple[int, int]
) -> str:
    height, width = (
        (n * k)
        for n, k in zip((rows[1] - rows[0], located.filled.shape[1]), located.step, strict=True)
    )
    ratio = image.spacing_mm[0] / image.spacing_mm[1]
    place = f'x="0" y="0" width="{width}" height="{height}" preserveAspectRatio="none"'
    frames = "".join(_frame(side, state["boxes"].get(side)) for side in ("right", "left"))
    top = rows[0] * located.step[0]
    jpeg = _jpeg(image.pixels[top : top + height, :width])
    return (
        f'<figure><svg viewBox="0 0 {width} {height * ratio:g}" role="img" '
        f'aria-label="{html.escape(title)}: slice of two thighs, tinted where the signal is above '
        f'the threshold, with a rectangle around each leg that was found">'
        f'<g transform="scale(1 {ratio:g})">'
        f'<image {place} href="data:image/jpeg;base64,{jpeg}"/>'
        f'<image class="mask" {place} href="data:image/png;base64,{state["mask"]}"/>{frames}'
        f"</g></svg><figcaption><strong>{html.escape(title)}</strong>: "
        f'<span class="outcome">{html.escape(state["outcome"])}</span>'
        "</figcaption></figure>"
    )


def _frame(side: str, box: list[int] | None) -> str:
    colour = PALETTE["accent"] if side == "right" else PALETTE["light"]
    x, y, width, height = box or (0, 0, 0, 0)
    hidden = "" if box else ' style="display:none"'
    return (
        f'<rect class="{side}" x="{x}" y="{y}" width="{width}" height="{height}" '
        f'stroke="{colour}"{hidden}/>'
    )


def _png(mask: np.ndarray) -> str:
    picture = Image.fromarray(mask.astype(np.uint8), mode="P")
    colours = [round(255 * part) for colour, _ in _MASK for part in to_rgb(colour)]
    picture.putpalette(colours)
    buffer = io.BytesIO()
    opacity = bytes(round(255 * share) for _, share in _MASK)
    picture.save(buffer, "PNG", bits=4, optimize=True, transparency=opacity)
    return display.base64(buffer.getvalue())


def _jpeg(pixels: np.ndarray, *, width: int = 320) -> str:
    top = max(np.percentile(pixels, 99.5), 1e-9)
    grey = Image.fromarray((np.clip(pixels / top, 0, 1) ** 0.8 * 255).astype(np.uint8))
    size = (width, max(1, round(width * grey.height / grey.width)))
    buffer = io.BytesIO()
    grey.resize(size, Image.Resampling.BOX).save(buffer, "JPEG", quality=70)
    return display.base64(buffer.getvalue())
