"""The synthetic brain cohort: published shape, known truth, an effect of stated size.

Patients carry a small change of intensity in six regions (:mod:`.brain_template`). Its size is
Cohen's d of the region's mean in the subject's own warped region, on the scale the network
reads. It is calibrated on unaffected brains only, before any network sees one. The unaffected
image and the change per unit of d are kept, so that any other size can be formed later.
"""

import hashlib
import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from helpers import brain, paths
from helpers.phantom import brain_head, brain_template
from helpers.phantom.brain_regions import NAMES, labels, means, region_means, responses

__all__ = ["NAMES", "calibrate", "plan", "region_means", "with_effect", "write_cohort"]

#: At full size as many held-out controls as laryngeal patients of the validation set; ours.
HELD_OUT_CONTROLS = 59
#: Mean and standard deviation of age (years), share of women: assumptions, as the sources
#: print no demographics.
DEMOGRAPHICS = {"LD": (55, 12, 0.70), "CD": (57, 11, 0.70), "BSP": (61, 9, 0.65)}
#: The calibration sample is the same for every seed and profile.
CALIBRATION_SEED, CALIBRATION_SUBJECTS = 20200928, 80
_SIGNS = {region.name: region.sign for region in brain_template.REGIONS}
#: Images of each subject: as made, and the two series of the cohort.
SERIES = ("unaffected", "file", "file_exaggerated")


def plan(*, seed: int, fraction: float) -> pd.DataFrame:
    """Return who is in the cohort.

    The plan is drawn at full size and cut per set and group, so a smaller cohort is part of a
    larger one with the same seed. Controls take sex, site and (within two years) age of the
    patient with the same number, which matches groups and balances sites.

    Parameters
    ----------
    seed : int
        The profile's seed.
    fraction : float
        Share of the published size; each set and group is rounded up.

    Returns
    -------
    DataFrame
        Columns ``number, subject_id, group, sex, age_years, site, split``.

    Examples
    --------
    >>> table = plan(seed=1, fraction=0.25)
    >>> len(table), int((table["split"] == "held_out_controls").sum())
    (169, 15)
    >>> sum(plan(seed=1, fraction=1.0)["split"] != "held_out_controls")
    612
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    rows, people = [], {}
    for split, group, size in cells():
        for k in range(size):
            twin = _twin(people, split, k) if group == "control" else None
            sex, age, site = _person(group, k, twin, rng)
            people[split, group, k] = (sex, age, site)
            if k < math.ceil(fraction * size):
                rows.append((len(people), group, sex, age, f"site{site + 1}", split))
    columns = ["number", "group", "sex", "age_years", "site", "split"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(1, "subject_id", [f"sub-{number:03d}" for number in table["number"]])
    return table


def cells() -> tuple[tuple[str, str, int], ...]:
    """Return set, group and full size of each part of the cohort."""
    return (*brain.PUBLISHED_COUNTS, ("held_out_controls", "control", HELD_OUT_CONTROLS))


def write_cohort(profile, folder: str | Path, *, processes: int = 2) -> None:
    """Write the synthetic brain cohort; continue where an interrupted run stopped.

    Parameters
    ----------
    profile : helpers.parameters.Profile
        ``seed`` and ``cohort`` (subject_fraction, brain_voxel_mm, brain_pose, effect_d,
        exaggerated_d).
    folder : str or Path
        ``results/<profile>/cohort/brain``. Scans found there are kept:
        :func:`helpers.pipeline.make_cohort` first removes those of other parameters or other
        code. ``cohort.json`` is written last.
    processes : int
        Subjects made at a time.
    """
    folder = Path(folder)
    about = _about(profile)
    (folder / "cohort.json").unlink(missing_ok=True)
    processes = min(processes, os.cpu_count() or 1)
    amplitudes = _calibrated(folder, profile.cohort, processes)
    people = plan(seed=profile.seed, fraction=profile.cohort.subject_fraction)
    rows = people.to_dict("records")
    tasks = [delayed(_write_maps)(folder)]
    tasks += [delayed(_write_subject)(row, profile, amplitudes, folder) for row in rows]
    Parallel(n_jobs=processes)(tasks)
    _write_truth(folder, people, amplitudes, profile)
    _write_subjects(people, folder)
    with paths.atomic_path(folder / "cohort.json") as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")


def calibrate(voxel_mm: float, *, pose: str = "registered", processes: int = 1) -> pd.DataFrame:
    """Return how strong a change of one unit of Cohen's d is in each region.

    Parameters
    ----------
    voxel_mm : float
        Voxel size, mm.
    pose : {"registered", "as_scanned"}
        How heads lie, see :class:`helpers.phantom.brain_head.Pose`.
    processes : int
        Brains made at a time.

    Returns
    -------
    DataFrame
        One row per region: ``region``; ``spread``, the standard deviation between unaffected
        brains of the region's mean; ``response``, how much the mean rises for a change of
        amplitude 1; ``amplitude_per_d`` = spread / response. All in standard deviations of a
        brain's intensity.
    """
    return _amplitudes(_calibration_sample(voxel_mm, pose, processes))


def unit_change(head: brain_head.Head, amplitudes: pd.DataFrame) -> np.ndarray:
    """Return what one unit of Cohen's d adds to a brain's image.

    Parameters
    ----------
    head : brain_head.Head
        Unaffected brain.
    amplitudes : DataFrame
        From :func:`calibrate`.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        0 outside the regions.
    """
    signs = np.array(list(_SIGNS.values()))
    strength = np.concatenate([[0], signs * amplitudes["amplitude_per_d"].to_numpy()])
    brightness = head.image[head.image > 0].std()
    return (brightness * strength[head.region] * head.unit_effect).astype(np.float32)


def affected(head: brain_head.Head, amplitudes: pd.DataFrame, *, effect_d: float) -> np.ndarray:
    """Return a brain's image with the effect planted.

    Parameters
    ----------
    head : brain_head.Head
        Unaffected brain.
    amplitudes : DataFrame
        From :func:`calibrate`.
    effect_d : float
        Cohen's d in each of the own regions; 0 returns the image itself.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
    """
    return (head.image + effect_d * unit_change(head, amplitudes)).astype(np.float32)


def with_effect(folder: str | Path, subject_id: str, *, effect_d: float) -> nib.Nifti1Image:
    """Return a subject's scan with an effect of any size, without making the brain again.

    Parameters
    ----------
    folder : str or Path
        ``results/<profile>/cohort/brain``, as :func:`write_cohort` leaves it.
    subject_id : str
        As in ``subjects.csv``; a control is given the effect that it would carry as a patient.
    effect_d : float
        Cohen's d in each of the own regions; 0 gives the unaffected scan, also of a patient.

    Returns
    -------
    Nifti1Image
        Whole numbers as in the cohort's files.

    Raises
    ------
    FileNotFoundError
        When the cohort holds no such subject.
    """
    parts = Path(folder) / "truth" / "units" / f"{subject_id}.nii.gz"
    if not parts.is_file():
        raise FileNotFoundError(
            f"No subject {subject_id!r} in {folder}: {parts.name} is missing from truth/units. "
            "Available are those of subjects.csv of a cohort of the phantom. Make it with: "
            "make cohort"
        )
    scan = nib.load(Path(folder) / "nifti" / f"{subject_id}.nii.gz")
    change, before = np.moveaxis(nib.load(parts).get_fdata(dtype=np.float32), -1, 0)
    unaffected = np.where(change != 0, before.astype(np.int16), np.asarray(scan.dataobj))
    return _image(_planted(unaffected, change, effect_d), scan.affine)


def _twin(people: dict, split: str, k: int) -> tuple:
    if split != "held_out_controls":
        return people[split, "LD", k]
    return people["validation", ("LD", "CD", "BSP")[k % 3], k // 3]


def _person(group: str, k: int, twin: tuple | None, rng) -> tuple[str, float, int]:
    if twin is not None:
        sex, age, site = twin
        return sex, float(np.clip(age + rng.integers(-2, 3), 20, 85)), site
    mean, sd, women = DEMOGRAPHICS[group]
    sex = "F" if rng.random() < women else "M"
    age = float(np.clip(np.round(rng.normal(mean, sd)), 20, 85))
    return sex, age, k % len(brain_head.Specification().sites)


def specification() -> dict:
    """Return everything that defines the phantom, whatever the profile.

    Returns
    -------
    dict
        Plain values, ready for JSON.

    Examples
    --------
    >>> specification()["head"]["version"]
    2
    """
    return {
        "head": asdict(brain_head.Specification()),
        "regions": [asdict(region) for region in brain_template.REGIONS],
        "effect_radii_mm": brain_template.EFFECT_RADII_MM,
        "demographics": DEMOGRAPHICS,
        "held_out_controls": HELD_OUT_CONTROLS,
        "calibration": [CALIBRATION_SEED, CALIBRATION_SUBJECTS],
    }


def specification_sha256() -> str:
    """Return the hash of :func:`specification`; ``data/brain_frozen.json`` holds the frozen one.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(specification(), sort_keys=True).encode()).hexdigest()


def _about(profile) -> dict:
    cohort = profile.cohort
    everything = specification() | {
        "seed": profile.seed,
        "voxel_mm": cohort.brain_voxel_mm,
        "pose": cohort.brain_pose,
        "effect_d": cohort.effect_d,
        "exaggerated_d": cohort.exaggerated_d,
    }
    text = json.dumps(everything, sort_keys=True)
    return {
        "synthetic": True,
        "phantom_sha256": specification_sha256(),
        "voxel_mm": cohort.brain_voxel_mm,
        "pose": cohort.brain_pose,
        "subject_fraction": cohort.subject_fraction,
        "seed": profile.seed,
        "specification": json.loads(text),
        "specification_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _head(row: dict, voxel_mm: float, pose: str, key: np.random.SeedSequence) -> brain_head.Head:
    return brain_head.simulate(
        sex=row["sex"],
        age_years=row["age_years"],
        site=int(row["site"].removeprefix("site")) - 1,
        voxel_mm=voxel_mm,
        rng=np.random.default_rng(key),
        pose=pose,
    )


def _calibrated(folder: Path, cohort, processes: int) -> pd.DataFrame:
    path, poses = (folder / "truth" / name for name in ("calibration.csv", "poses.csv"))
    if not (path.exists() and poses.exists()):
        found = []
        for pose in brain_head.Specification().poses:
            sample = _calibration_sample(cohort.brain_voxel_mm, pose.name, processes)
            amplitudes = _amplitudes(sample)
            found.append(_changes(sample, amplitudes).assign(pose=pose.name))
            if pose.name == cohort.brain_pose:
                _write(amplitudes, path)
        _write(pd.concat(found), poses)
    return pd.read_csv(path)


def _calibration_sample(voxel_mm: float, pose: str, processes: int) -> list[np.ndarray]:
    made = Parallel(n_jobs=processes)(
        delayed(_calibration_row)(k, voxel_mm, pose) for k in range(CALIBRATION_SUBJECTS)
    )
    return [np.array(part) for part in zip(*made, strict=True)]


def _calibration_row(k: int, voxel_mm: float, pose: str) -> tuple[np.ndarray, ...]:
    key = np.random.SeedSequence(CALIBRATION_SEED, spawn_key=(1, k))
    rng = np.random.default_rng(np.random.SeedSequence(CALIBRATION_SEED, spawn_key=(0, k)))
    sex, age, site = _person("LD", k, None, rng)
    row = {"sex": sex, "age_years": age, "site": f"site{site + 1}"}
    head = _head(row, voxel_mm, pose, key)
    return (*means(head.image, head, pose=pose), *responses(head, pose=pose))


def _amplitudes(sample: list[np.ndarray]) -> pd.DataFrame:
    own, _, response, _ = sample
    spread, response = own.std(0, ddof=1), response.mean(0)
    return pd.DataFrame(
        {
            "region": NAMES,
            "spread": spread,
            "response": response,
            "amplitude_per_d": spread / response,
        }
    )


def _changes(sample: list[np.ndarray], amplitudes: pd.DataFrame) -> pd.DataFrame:
    own, atlas, own_response, atlas_response = sample
    signs = np.array(list(_SIGNS.values()))
    strength = signs * amplitudes["amplitude_per_d"].to_numpy()
    columns = {"unaffected": own, "change": own_response * strength}
    columns |= {"atlas_unaffected": atlas, "atlas_change": atlas_response @ strength}
    people = np.repeat(np.arange(1, len(own) + 1), len(NAMES))
    values = {name: part.ravel() for name, part in columns.items()}
    return pd.DataFrame({"person": people, "region": NAMES * len(own), **values})


def _write_subject(row: dict, profile, amplitudes: pd.DataFrame, folder: Path) -> None:
    done = folder / "truth" / "means" / f"{row['subject_id']}.json"
    if done.exists():
        return
    cohort, name = profile.cohort, f"{row['subject_id']}.nii.gz"
    key = np.random.SeedSequence(profile.seed, spawn_key=(1, row["number"]))
    head = _head(row, cohort.brain_voxel_mm, cohort.brain_pose, key)
    # In steps of a 64th of a stored number, which files hold in half the space.
    change = np.rint(64 * unit_change(head, amplitudes)) / np.float32(64)
    unaffected = np.rint(head.image).clip(0, 32767).astype(np.int16)
    scans = dict.fromkeys(SERIES, unaffected)
    if row["group"] != "control":
        scans["file"] = _planted(unaffected, change, cohort.effect_d)
        scans["file_exaggerated"] = _planted(unaffected, change, cohort.exaggerated_d)
    for column, file in _file_names(row).items():
        _save(scans[column], head.affine, folder / "nifti" / file)
    parts = np.stack([change, np.where(change != 0, unaffected, 0)], axis=-1)
    _save(parts, head.affine, folder / "truth" / "units" / name)
    _save(labels(head.unit_effect, head.region), head.affine, folder / "truth/own_regions" / name)
    with paths.atomic_path(done) as temporary:
        temporary.write_text(json.dumps(_measured(scans, head, cohort.brain_pose)))


def _measured(scans: dict, head: brain_head.Head, pose: str) -> dict[str, list[float]]:
    found = {}
    for series, scan in scans.items():
        if series != "unaffected" and scan is scans["unaffected"]:
            own, atlas = found["unaffected"], found["atlas_unaffected"]
        else:
            own, atlas = (part.tolist() for part in means(scan, head, pose=pose))
        found[series], found[f"atlas_{series}"] = own, atlas
    return found


def _file_names(row: dict) -> dict[str, str]:
    plain = f"{row['subject_id']}.nii.gz"
    strong = f"{row['subject_id']}_exaggerated.nii.gz"
    return {"file": plain, "file_exaggerated": plain if row["group"] == "control" else strong}


def _planted(unaffected: np.ndarray, change: np.ndarray, effect_d: float) -> np.ndarray:
    # Whole numbers first and last, so that the same sum can be formed later from the files.
    return (unaffected + np.rint(effect_d * change)).clip(0, 32767).astype(np.int16)


def _image(volume: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"synthetic brain, not a person"
    return image


def _save(volume: np.ndarray, affine: np.ndarray, path: Path) -> None:
    with paths.atomic_path(path) as temporary:
        nib.save(_image(volume, affine), temporary)


def _write_maps(folder: Path) -> None:
    template = brain_template.load(2.0)
    for name, volume in (
        ("effect_map", template.unit_effect.astype(np.float32)),
        ("region_labels", labels(template.unit_effect, template.region)),
    ):
        with paths.atomic_path(folder / "truth" / f"{name}.nii.gz") as temporary:
            nib.save(nib.Nifti1Image(volume, template.affine), temporary)


def _write_truth(folder: Path, people: pd.DataFrame, amplitudes: pd.DataFrame, profile) -> None:
    table = _collected(folder, people)
    _write(table, folder / "truth" / "region_means.csv")
    sizes = {"file": profile.cohort.effect_d, "file_exaggerated": profile.cohort.exaggerated_d}
    parts = [effect_sizes(table, people, series).assign(target_d=d) for series, d in sizes.items()]
    sizes_found = pd.concat(parts).merge(amplitudes, on="region")
    _write(sizes_found, folder / "truth" / "regions.csv")


def effect_sizes(table: pd.DataFrame, people: pd.DataFrame, series: str) -> pd.DataFrame:
    """Return how large the planted effect came out in each region.

    Parameters
    ----------
    table : DataFrame
        ``subject_id, region, unaffected, file, file_exaggerated``: standardised means in the own
        regions; with the prefix ``atlas_`` at the template's place.
    people : DataFrame
        ``subject_id, group``.
    series : {"file", "file_exaggerated"}
        Which images.

    Returns
    -------
    DataFrame
        ``series, region, sign`` of the planted change; ``realised_d, atlas_realised_d``: the
        patients' mean change against themselves without the effect over the standard deviation
        of all unaffected images.
        Patients against controls, with intervals: :func:`helpers.effects.measured`.
    """
    groups = people.set_index("subject_id")["group"]
    rows = []
    for region in NAMES:
        part = table[table["region"] == region].set_index("subject_id")
        patient = groups.loc[part.index] != "control"
        row = {"series": series, "region": region, "sign": _SIGNS[region]}
        for prefix in ("", "atlas_"):
            after, before = part[prefix + series], part[prefix + "unaffected"]
            row[f"{prefix}realised_d"] = (after - before)[patient].mean() / before.std()
        rows.append(row)
    return pd.DataFrame(rows)


def _collected(folder: Path, people: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for subject in people["subject_id"]:
        found = json.loads((folder / "truth" / "means" / f"{subject}.json").read_text())
        parts.append(pd.DataFrame({"subject_id": subject, "region": NAMES, **found}))
    return pd.concat(parts, ignore_index=True)


def _write_subjects(people: pd.DataFrame, folder: Path) -> None:
    names = pd.DataFrame([_file_names(row) for row in people.to_dict("records")])
    table = people.drop(columns="number").assign(**("cohort/brain/nifti/" + names))
    _write(brain.SUBJECTS.validate(table), folder / "subjects.csv")


def _write(table: pd.DataFrame, path: Path) -> None:
    with paths.atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
