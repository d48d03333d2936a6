"""The synthetic brain cohort: published shape, known truth, an effect of stated size.

Patients carry a small change of intensity in six regions (:mod:`.brain_template`). Its size is
Cohen's d of the region's mean in the subject's own warped region, on the scale the network
reads. It is calibrated on unaffected brains only, before any network sees one.
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

#: At full size as many held-out controls as laryngeal patients of the validation set; ours.
HELD_OUT_CONTROLS = 59
#: Mean and standard deviation of age (years), share of women: assumptions, as the sources
#: print no demographics.
DEMOGRAPHICS = {"LD": (55, 12, 0.70), "CD": (57, 11, 0.70), "BSP": (61, 9, 0.65)}
#: The calibration sample is the same for every seed and profile.
CALIBRATION_SEED, CALIBRATION_SUBJECTS = 20200928, 80
NAMES = tuple(region.name for region in brain_template.REGIONS)


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
    Parallel(n_jobs=processes)(
        delayed(_write_subject)(row, profile, amplitudes, folder) for row in rows
    )
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
    made = Parallel(n_jobs=processes)(
        delayed(_calibration_row)(k, voxel_mm, pose) for k in range(CALIBRATION_SUBJECTS)
    )
    means, responses = np.array(made).transpose(1, 0, 2)
    spread, response = means.std(0, ddof=1), responses.mean(0)
    return pd.DataFrame(
        {
            "region": NAMES,
            "spread": spread,
            "response": response,
            "amplitude_per_d": spread / response,
        }
    )


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
    signs = np.array([region.sign for region in brain_template.REGIONS])
    strength = np.concatenate([[0], effect_d * signs * amplitudes["amplitude_per_d"].to_numpy()])
    brightness = head.image[head.image > 0].std()
    change = brightness * strength[head.region] * head.unit_effect
    return (head.image + change).astype(np.float32)


def region_means(image: np.ndarray, head: brain_head.Head) -> np.ndarray:
    """Return the mean of a standardised image in each of the subject's own regions.

    Parameters
    ----------
    image : ndarray, shape (x, y, z)
        The subject's image, affected or not.
    head : brain_head.Head
        Where the regions lie in this subject.

    Returns
    -------
    ndarray, shape (6,)
        Means weighted by the planted change's profile, in standard deviations of the brain.
    """
    values = brain.standardise(image)
    return np.array([(w * values).sum() / w.sum() for w in _weights(head)])


def _weights(head: brain_head.Head) -> list[np.ndarray]:
    return [np.where(head.region == n + 1, head.unit_effect, 0) for n in range(len(NAMES))]


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
    path = folder / "truth" / "calibration.csv"
    if not path.exists():
        made = calibrate(cohort.brain_voxel_mm, pose=cohort.brain_pose, processes=processes)
        _write(made, path)
    return pd.read_csv(path)


def _calibration_row(k: int, voxel_mm: float, pose: str) -> tuple[np.ndarray, np.ndarray]:
    key = np.random.SeedSequence(CALIBRATION_SEED, spawn_key=(1, k))
    rng = np.random.default_rng(np.random.SeedSequence(CALIBRATION_SEED, spawn_key=(0, k)))
    sex, age, site = _person("LD", k, None, rng)
    row = {"sex": sex, "age_years": age, "site": f"site{site + 1}"}
    head = _head(row, voxel_mm, pose, key)
    response = np.array([(w**2).sum() / w.sum() for w in _weights(head)])
    return region_means(head.image, head), response


def _write_subject(row: dict, profile, amplitudes: pd.DataFrame, folder: Path) -> None:
    done = folder / "truth" / "means" / f"{row['subject_id']}.json"
    if done.exists():
        return
    cohort = profile.cohort
    key = np.random.SeedSequence(profile.seed, spawn_key=(1, row["number"]))
    head = _head(row, cohort.brain_voxel_mm, cohort.brain_pose, key)
    sizes = {"unaffected": 0.0, "file": cohort.effect_d, "file_exaggerated": cohort.exaggerated_d}
    images = {name: affected(head, amplitudes, effect_d=d) for name, d in sizes.items()}
    names = _file_names(row)
    for column in ("file", "file_exaggerated") if row["group"] != "control" else ():
        _save(images[column], head.affine, folder / "nifti" / names[column])
    if row["group"] == "control":
        images = dict.fromkeys(sizes, head.image)
        _save(head.image, head.affine, folder / "nifti" / names["file"])
    own = folder / "truth" / "own_regions" / f"{row['subject_id']}.nii.gz"
    _save(_labels(head.unit_effect, head.region), head.affine, own)
    means = {name: region_means(image, head).tolist() for name, image in images.items()}
    with paths.atomic_path(done) as temporary:
        temporary.write_text(json.dumps(means))


def _file_names(row: dict) -> dict[str, str]:
    plain = f"{row['subject_id']}.nii.gz"
    strong = f"{row['subject_id']}_exaggerated.nii.gz"
    return {"file": plain, "file_exaggerated": plain if row["group"] == "control" else strong}


def _labels(unit: np.ndarray, region: np.ndarray) -> np.ndarray:
    strongest = np.zeros(len(NAMES) + 1)
    np.maximum.at(strongest, region, unit)
    return np.where((unit > 0) & (unit >= 0.5 * strongest[region]), region, 0).astype(np.uint8)


def _save(volume: np.ndarray, affine: np.ndarray, path: Path) -> None:
    stored = volume if volume.dtype == np.uint8 else np.rint(volume).clip(0, 32767)
    image = nib.Nifti1Image(stored.astype(np.uint8 if volume.dtype == np.uint8 else "i2"), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"synthetic brain, not a person"
    with paths.atomic_path(path) as temporary:
        nib.save(image, temporary)


def _write_truth(folder: Path, people: pd.DataFrame, amplitudes: pd.DataFrame, profile) -> None:
    template = brain_template.load(2.0)
    for name, volume in (
        ("effect_map", template.unit_effect.astype(np.float32)),
        ("region_labels", _labels(template.unit_effect, template.region)),
    ):
        with paths.atomic_path(folder / "truth" / f"{name}.nii.gz") as temporary:
            nib.save(nib.Nifti1Image(volume, template.affine), temporary)
    means = _collected(folder, people)
    _write(means, folder / "truth" / "region_means.csv")
    sizes = {"file": profile.cohort.effect_d, "file_exaggerated": profile.cohort.exaggerated_d}
    parts = [effect_sizes(means, people, series).assign(target_d=d) for series, d in sizes.items()]
    table = pd.concat(parts).merge(amplitudes, on="region")
    _write(table, folder / "truth" / "regions.csv")


def effect_sizes(means: pd.DataFrame, people: pd.DataFrame, series: str) -> pd.DataFrame:
    """Return how large the planted effect came out in each region.

    Parameters
    ----------
    means : DataFrame
        ``subject_id, region, unaffected, file, file_exaggerated``: standardised means.
    people : DataFrame
        ``subject_id, group``.
    series : {"file", "file_exaggerated"}
        Which images.

    Returns
    -------
    DataFrame
        ``series, region``; ``realised_d``, the patients' mean change against themselves
        without the effect over the standard deviation of all unaffected images; and
        ``observed_d``, patients against controls, which also carries sampling error.
    """
    groups = people.set_index("subject_id")["group"]
    rows = []
    for region in NAMES:
        part = means[means["region"] == region].set_index("subject_id")
        patient = groups.loc[part.index] != "control"
        change = (part[series] - part["unaffected"])[patient].mean()
        a, b = part.loc[patient, series], part.loc[~patient, series]
        pooled = np.sqrt((a.var() * (len(a) - 1) + b.var() * (len(b) - 1)) / (len(part) - 2))
        realised = change / part["unaffected"].std()
        rows.append((series, region, realised, (a.mean() - b.mean()) / pooled))
    return pd.DataFrame(rows, columns=["series", "region", "realised_d", "observed_d"])


def _collected(folder: Path, people: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for subject in people["subject_id"]:
        means = json.loads((folder / "truth" / "means" / f"{subject}.json").read_text())
        parts.append(pd.DataFrame({"subject_id": subject, "region": NAMES, **means}))
    return pd.concat(parts, ignore_index=True)


def _write_subjects(people: pd.DataFrame, folder: Path) -> None:
    names = pd.DataFrame([_file_names(row) for row in people.to_dict("records")])
    table = people.drop(columns="number").assign(**("cohort/brain/nifti/" + names))
    _write(brain.SUBJECTS.validate(table), folder / "subjects.csv")


def _write(table: pd.DataFrame, path: Path) -> None:
    with paths.atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
