"""The volume viewer: three slices through the maps in the page, without a network.

Everything in it is a mean over people. Maps are embedded as levels of the voxels inside the
head, so that the script only draws; where scripts do not run, a picture stands instead.
"""

import base64
import hashlib
import html
import io
import json

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from helpers import brain_maps, display, paths, talairach
from helpers.brain_views import PEOPLE_FOR_A_MEAN, View
from helpers.display.brain_maps import NAMES, NETWORKS

_AXES = {"axial": "z", "coronal": "y", "sagittal": "x"}
_ACTIVE, _PLANTED = (255, 140, 26), (32, 224, 160)


def fragment(view: View, *, label: str, key: str, share: float = 0.05) -> str:
    """Return the viewer as a piece of HTML with its style, script and volumes inside.

    Parameters
    ----------
    view : View
        From :func:`helpers.brain_views.view`.
    label : str
        Evidence label of the cohort.
    key : str
        Makes ids on the page unique.
    share : float
        Share of voxels shown at the start.

    Returns
    -------
    str
        All text escaped; loads nothing. For own scans of fewer than
        :data:`helpers.brain_views.PEOPLE_FOR_A_MEAN` people there is no mean scan in it.
    """
    payload = _payload(view)
    ident = "volume-" + hashlib.sha256(f"{key}{payload['maps']}".encode()).hexdigest()[:8]
    data = json.dumps({"id": ident, **payload}, separators=(",", ":")).replace("<", "\\u003c")
    script = paths.package_data("volume.js").read_text(encoding="utf-8").strip()
    style = paths.package_data("volume.css").read_text(encoding="utf-8").strip()
    picture = base64.b64encode(still(view, share=share)).decode()
    return (
        f'<div class="volume" id="{ident}"><style>{style}</style>'
        f"{_live(view, label, share)}"
        f'<div data-part="fixed"><img alt="{html.escape(_alt(view), quote=True)}" '
        f'src="data:image/png;base64,{picture}"></div>'
        f"<script>{script}({data});</script></div>"
    )


def still(view: View, *, share: float) -> bytes:
    """Return three slices through the strongest voxel of the first map, as a PNG file.

    Parameters
    ----------
    view : View
        From :func:`helpers.brain_views.view`.
    share : float
        Share of voxels in colour.

    Returns
    -------
    bytes
        For readers without scripts.
    """
    scan = _filled(view, _grey(view))
    picture = np.repeat(scan[..., None], 3, axis=-1)
    picture[_filled(view, view.maps[0][3]) >= max(1, 255 * (1 - 2 * share))] = _ACTIVE
    if view.planted is not None:
        picture[_rim(_filled(view, view.planted) > 0)] = _PLANTED
    slices = [np.rot90(np.take(picture, at, axis)) for axis, at in enumerate(_start(view))][::-1]
    height = max(one.shape[0] for one in slices)
    padded = [np.pad(one, ((0, height - len(one)), (0, 1), (0, 0))) for one in slices]
    whole = np.concatenate(padded, axis=1).repeat(4, axis=0).repeat(4, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(whole.astype(np.uint8)).save(buffer, format="png")
    return buffer.getvalue()


def _payload(view: View) -> dict:
    names, centres = brain_maps.region_centres()
    regions = [{"name": n, "centre": c.tolist()} for n, c in zip(names, centres, strict=True)]
    matrix = talairach.MATRICES["other"][:3].tolist()
    return {
        "shape": list(view.mask.shape),
        "origin": view.space.affine[:3, 3].tolist(),
        "step": float(view.space.affine[0, 0]),
        "atlas": view.space.atlas,
        "talairach": matrix if view.space.atlas else None,
        "mask": display.base64(np.packbits(view.mask.ravel()).tobytes()),
        "scan": "" if view.scan is None else display.base64(view.scan.tobytes()),
        "planted": "" if view.planted is None else display.base64(view.planted.tobytes()),
        "maps": [{"levels": display.base64(levels.tobytes())} for *_, levels in view.maps],
        "regions": regions if view.space.atlas else [],
        "start": _start(view),
    }


def _live(view: View, label: str, share: float) -> str:
    views = "".join(
        f'<figure><canvas data-part="{name}" role="img"></canvas>'
        f'<label>{name}: <output data-part="at-{name}"></output>'
        f'<input type="range" min="0" step="1" value="0" data-part="slide-{name}"></label></figure>'
        for name in _AXES
    )
    kind = html.escape(label.split(",")[0].replace(" ", "-"), quote=True)
    badge = f'<span class="evidence evidence-{kind}">{html.escape(label)}</span>'
    return (
        '<div data-part="live" hidden>'
        f'<p class="note">{badge} {html.escape(_note(view))}</p>'
        f'<div class="settings">{_choices(view)}{_regions(view)}</div>'
        f'<div class="views">{views}</div>'
        '<p role="status" class="where" data-part="where"></p><div class="settings">'
        '<label>Most active voxels shown: <output data-part="share-text"></output>'
        f'<input type="range" min="1" max="30" step="1" value="{100 * share:.0f}" '
        'data-part="share"></label>'
        '<label>Opacity of the map: <output data-part="opacity-text"></output>'
        '<input type="range" min="0" max="100" step="5" value="75" data-part="opacity"></label>'
        f"{_outline(view)}</div></div>"
    )


def _choices(view: View) -> str:
    groups: dict[str, list[str]] = {}
    for number, (series, network, kind, _) in enumerate(view.maps):
        title = f"{NETWORKS[network]}, {series}"
        option = f'<option value="{number}">{html.escape(f"{NAMES[kind]} ({title})")}</option>'
        groups.setdefault(title, []).append(option)
    listed = "".join(
        f'<optgroup label="{html.escape(title, quote=True)}">{"".join(options)}</optgroup>'
        for title, options in groups.items()
    )
    return f'<label>Map<select data-part="map">{listed}</select></label>'


def _regions(view: View) -> str:
    if not view.space.atlas:
        return ""
    names, _ = brain_maps.region_centres()
    listed = "".join(f'<option value="{k}">{html.escape(n)}</option>' for k, n in enumerate(names))
    return (
        '<label>Go to a planted centre<select data-part="go"><option value="">choose</option>'
        f"{listed}</select></label>"
    )


def _outline(view: View) -> str:
    active = '<span class="key active" aria-hidden="true"></span>orange to yellow: more active'
    if view.planted is None:
        return f'<p class="note">{active}</p>'
    return (
        f'<p class="note">{active}</p><label><input type="checkbox" checked data-part="outline"> '
        '<span class="key planted" aria-hidden="true"></span>outline the planted regions</label>'
    )


def _note(view: View) -> str:
    scan = "Mean scan and maps" if view.scan is not None else "Maps"
    hidden = (
        ""
        if view.scan is not None
        else f" No mean scan is shown: with fewer than {PEOPLE_FOR_A_MEAN} people it could show "
        "one person's face. The outline of the head and the first layers' maps are in it, and can "
        "resemble a scan: remove faces first."
    )
    return (
        f"{scan} of {view.people} held-out people, {view.space.affine[0, 0]:.0f} mm voxels, seen "
        f"from above and from the right side, left on the left.{hidden}"
    )


def _alt(view: View) -> str:
    series, network, kind, _ = view.maps[0]
    return (
        f"Axial, coronal and sagittal slice; in orange the most active voxels of the map "
        f"{NAMES[kind]} ({NETWORKS[network]}, {series})"
    )


def _start(view: View) -> list[int]:
    first = _filled(view, view.maps[0][3])
    if view.planted is not None:  # where a planted region is met, rather than a corner of the map
        first = np.where(_filled(view, view.planted) > 0, first + 1.0, first / 256)
    return [int(i) for i in np.unravel_index(int(first.argmax()), first.shape)]


def _grey(view: View) -> NDArray[np.uint8]:
    return np.full(view.mask.sum(), 80, np.uint8) if view.scan is None else view.scan


def _filled(view: View, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    volume = np.zeros(view.mask.shape, np.uint8)
    volume[view.mask] = values
    return volume


def _rim(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of a region that touch another voxel from outside."""
    padded = np.pad(inside, 1)
    around = [np.roll(padded, step, axis) for axis in range(3) for step in (-1, 1)]
    return inside & ~np.logical_and.reduce(around)[1:-1, 1:-1, 1:-1]
