"""Makes the heads and the trainings of :mod:`helpers.doses`, one at a time, resumable.

Unaffected heads are made once per pose and kept on disk with the place and profile of a change
in each; any effect size is then added in a moment, as the cohort's own code adds it.
"""

import os
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from helpers import brain, brain_maps, doses, dystonianet, head_box, paths, shallow
from helpers.doses import Run
from helpers.head_box import Grid
from helpers.networks import keras
from helpers.phantom import brain as phantom
from helpers.phantom import brain_head, brain_template
from helpers.referral import HELD_OUT
from helpers.volumes import Volume

#: How the box is placed, as for a cohort of the pose.
PLACEMENT = {"registered": "world", "as_scanned": "head"}


class Heads:
    """Unaffected heads of one pose, on disk; those missing are made when it is opened.

    Parameters
    ----------
    folder : Path
        Where the arrays are kept.
    table : DataFrame
        ``number, sex, age_years, site`` of each person.
    pose : str
        One of :data:`helpers.doses.POSES`.
    voxel_mm : float
        Voxel size, mm.
    processes : int
        Heads made at a time.
    """

    def __init__(
        self, folder: Path, table: pd.DataFrame, pose: str, *, voxel_mm: float, processes: int = 1
    ) -> None:
        self.affine = np.diag([voxel_mm] * 3 + [1.0])
        axes = brain_head.grid(voxel_mm)
        self.affine[:3, 3] = [axis[0] for axis in axes]
        shape = (len(table), *(len(axis) for axis in axes))
        types = {"image": np.float32, "unit": np.float32, "region": np.uint8}
        self.kept = {name: _kept(folder / f"{name}.npy", shape, t) for name, t in types.items()}
        done = _kept(folder / "done.npy", shape[:1], np.uint8)
        missing = np.flatnonzero(done == 0)
        rows = table.to_dict("records")
        made = Parallel(n_jobs=processes, return_as="generator")(
            delayed(_made)(rows[k], pose, voxel_mm) for k in missing
        )
        for k, head in zip(missing, made, strict=True):
            for name, values in zip(types, head, strict=True):
                self.kept[name][k] = values
            for array in self.kept.values():
                array.flush()
            done[k] = 1

    def __getitem__(self, k: int) -> brain_head.Head:
        """Return one unaffected head."""
        image, unit, region = (np.asarray(array[k]) for array in self.kept.values())
        return brain_head.Head(image, unit, region, self.affine)


class Bench:
    """All that a run needs: people, heads, calibrated amplitudes, the box.

    Parameters
    ----------
    folder : str or Path
        Cache and results of the runs; thrown away nowhere but by hand.
    table : DataFrame, optional
        From :func:`helpers.doses.people`.
    voxel_mm : float
        Voxel size, mm.
    processes : int
        Heads made at a time.
    recipe : dict, optional
        Of the network; :data:`helpers.doses.RECIPE` when not given.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        table: pd.DataFrame | None = None,
        voxel_mm: float = doses.VOXEL_MM,
        processes: int = 1,
        recipe: dict | None = None,
    ) -> None:
        self.folder, self.voxel_mm, self.processes = Path(folder), voxel_mm, processes
        self.table = doses.people() if table is None else table
        self.recipe = recipe or doses.RECIPE
        self.tested = self.table["split"].isin(HELD_OUT).to_numpy()
        self.heads = lru_cache(self._heads)

    def _heads(self, pose: str) -> tuple[Heads, pd.DataFrame]:
        heads = Heads(
            self.folder / "heads" / pose,
            self.table,
            pose,
            voxel_mm=self.voxel_mm,
            processes=self.processes,
        )
        stored = self.folder / "heads" / pose / "calibration.csv"
        if not stored.exists():
            made = phantom.calibrate(self.voxel_mm, pose=pose, processes=self.processes)
            with paths.atomic_path(stored) as temporary:
                made.to_csv(temporary, index=False)
        return heads, pd.read_csv(stored)

    def volumes(self, pose: str, effect_d: float) -> tuple[NDArray, NDArray]:
        """Return everyone's scan as the network reads it, and the true means of own regions.

        Parameters
        ----------
        pose : str
            One of :data:`helpers.doses.POSES`.
        effect_d : float
            Of the patients.

        Returns
        -------
        tuple of ndarray
            On disk, shape (people, x, y, z, 1); and shape (people, 6).
        """
        stem = self.folder / "volumes" / f"{pose}_d{effect_d:.2f}"
        paths_of = stem.with_name(f"{stem.name}.npy"), stem.with_name(f"{stem.name}_means.npy")
        if not all(path.exists() for path in paths_of):
            for path, array in zip(paths_of, self._made_volumes(pose, effect_d), strict=True):
                with paths.atomic_path(path) as temporary:
                    np.save(temporary, array)
        return np.load(paths_of[0], mmap_mode="r"), np.load(paths_of[1])

    def _made_volumes(self, pose: str, effect_d: float) -> tuple[NDArray, NDArray]:
        heads, amplitudes = self.heads(pose)
        box = (len(self.table), *head_box.box_shape(self.voxel_mm), 1)
        volumes, means = np.empty(box, np.float32), np.empty((len(self.table), len(phantom.NAMES)))
        for k, patient in enumerate(self.table["patient"]):
            head = heads[k]
            image = scan(head, amplitudes, effect_d=effect_d if patient else 0.0)
            volumes[k, ..., 0] = as_read(image, head.affine, pose, voxel_mm=self.voxel_mm)
            means[k] = phantom.region_means(image, head)
        return volumes, means

    def moved(self, run: Run, subjects: pd.DataFrame) -> NDArray:
        """Return the scans of a run whose people were moved to other sites.

        Parameters
        ----------
        run : Run
            Without an effect.
        subjects : DataFrame
            From :func:`helpers.doses.trained_on`, with ``row``.

        Returns
        -------
        ndarray of float32, shape (subjects, x, y, z, 1)

        Raises
        ------
        ValueError
            For a run with an effect, which is not planted in scans of another site.
        """
        if run.effect_d:
            raise ValueError(
                f"{run.key}: people are moved between sites without an effect only, "
                f"not with d = {run.effect_d:g}."
            )
        volumes = self.volumes(run.pose, run.effect_d)[0][subjects["row"]]
        other = subjects["site"].to_numpy() != self.table["site"].to_numpy()[subjects["row"]]
        table = subjects[other].reset_index(drop=True)
        name = f"{run.pose}_other_site"
        heads = Heads(
            self.folder / "heads" / name,
            table,
            run.pose,
            voxel_mm=self.voxel_mm,
            processes=self.processes,
        )
        for place, k in enumerate(np.flatnonzero(other)):
            image = np.rint(heads[place].image)
            volumes[k, ..., 0] = as_read(image, heads.affine, run.pose, voxel_mm=self.voxel_mm)
        return volumes

    def half_affected(self, run: Run) -> tuple[NDArray, NDArray]:
        """Return places and scans of CD and BSP patients tested, half of the regions affected."""
        heads, amplitudes = self.heads(run.pose)
        carried = amplitudes["region"].isin(doses.HALF_REGIONS)
        weaker = amplitudes.assign(amplitude_per_d=amplitudes["amplitude_per_d"].where(carried, 0))
        rows = np.flatnonzero(self.tested & self.table["group"].isin(["CD", "BSP"]).to_numpy())
        images = [scan(heads[k], weaker, effect_d=run.effect_d) for k in rows]
        where = {"affine": heads.affine, "pose": run.pose, "voxel_mm": self.voxel_mm}
        read = [as_read(image, **where) for image in images]
        return rows, np.stack(read)[..., np.newaxis]

    def subjects(self, run: Run) -> tuple[pd.DataFrame, NDArray]:
        """Return a run's people, and their scans."""
        table = doses.trained_on(self.table.assign(row=np.arange(len(self.table))), run)
        if run.question == "confounded":
            return table, self.moved(run, table)
        return table, self.volumes(run.pose, run.effect_d)[0][table["row"]]

    def make(self, run: Run, *, baselines: bool = True) -> bool:
        """Make one run, and the simple learners of its condition where not made yet; store both.

        Parameters
        ----------
        run : Run
            One of :func:`helpers.doses.plan`.
        baselines : bool
            Whether simple learners are trained too; never in permutations.

        Returns
        -------
        bool
            False when all of it was there already.
        """
        network, simple = self._path(run.key), self._path(run.condition + "_simple")
        baselines = baselines and run.question != "permutation" and not simple.exists()
        if network.exists() and not baselines:
            return False
        subjects, volumes = self.subjects(run)
        if not network.exists():
            self._train(run, subjects, volumes, network)
        if baselines:
            means = self.volumes(run.pose, run.effect_d)[1]
            _store(simple, simple_scores(subjects, volumes, means, run.pose, self.voxel_mm))
        return True

    def _train(self, run: Run, subjects: pd.DataFrame, volumes: NDArray, path: Path) -> None:
        start, spent = time.perf_counter(), time.process_time()
        checkpoint = self.folder / "checkpoints" / path.name
        model, history = dystonianet.train(
            subjects, volumes, seed=run.seed, checkpoint=checkpoint, **self.recipe
        )
        found = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - spent}
        tested = subjects["split"].isin(HELD_OUT).to_numpy()
        found[doses.NETWORK] = dystonianet.predict(model, volumes[tested])
        found["kept"] = int(history.loc[history["kept"], "epoch"].iloc[0])
        found["loss"] = history.loc[history["kept"], "optimisation_loss"].iloc[0]
        shown = run.effect_d in (doses.REALISTIC, doses.EXAGGERATED)
        if run.question == "dose" and run.pose == "registered" and shown:
            rows, scans = self.half_affected(run)
            found |= {"half_rows": rows, "half": dystonianet.predict(model, scans)}
            with paths.atomic_path(self.folder / "models" / f"{run.key}.keras") as temporary:
                model.save(temporary)
        _to_last_epoch(model, checkpoint)
        found[doses.LAST] = dystonianet.predict(model, volumes[tested])
        _store(path, found)
        checkpoint.unlink()

    def _path(self, key: str) -> Path:
        return self.folder / "runs" / f"{key}.npz"


def unaffected(folder: str | Path) -> dict[str, NDArray]:
    """Return the true means of everyone's regions without an effect, of the poses made so far.

    Parameters
    ----------
    folder : str or Path
        As :class:`Bench` writes it.

    Returns
    -------
    dict of str to ndarray, shape (people, 6)
    """
    files = {pose: Path(folder) / "volumes" / f"{pose}_d0.00_means.npy" for pose in doses.POSES}
    return {pose: np.load(path) for pose, path in files.items() if path.exists()}


def localised(bench: Bench) -> pd.DataFrame:
    """Return how well the maps of the kept networks find the planted regions.

    Parameters
    ----------
    bench : Bench
        With finished runs; the scores of a network are kept beside it and made once.

    Returns
    -------
    DataFrame
        ``effect_d, pose, seed``, then as :func:`helpers.brain_maps.scores`, on the people tested.
    """
    parts = []
    for run in (run for run in doses.plan() if run.question == "dose"):
        model = bench.folder / "models" / f"{run.key}.keras"
        kept = bench.folder / "maps" / f"{run.key}.csv"
        if model.exists() and not kept.exists():
            table = _scored(bench, run, model)
            with paths.atomic_path(kept) as temporary:
                table.to_csv(temporary, index=False)
        if kept.exists():
            about = {"effect_d": run.effect_d, "pose": run.pose, "seed": run.seed}
            parts.append(pd.read_csv(kept).assign(**about)[[*about, *pd.read_csv(kept)]])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def scan(head: brain_head.Head, amplitudes: pd.DataFrame, *, effect_d: float) -> NDArray:
    """Return a head's image with the effect, in whole numbers as files hold it."""
    return np.rint(phantom.affected(head, amplitudes, effect_d=effect_d)).astype(np.float32)


def as_read(image: NDArray, affine: NDArray, pose: str, *, voxel_mm: float) -> NDArray[np.float32]:
    """Return a phantom's image as the network reads it, by the code that reads files.

    Registered heads share one box in the world; as-scanned ones are placed by their extent.

    Parameters
    ----------
    image, affine : ndarray
        On the phantom's grid; voxel index to mm.
    pose : str
        One of :data:`helpers.doses.POSES`.
    voxel_mm : float
        Voxel size, mm.

    Returns
    -------
    ndarray of float32, shape :func:`helpers.head_box.box_shape`
    """
    options = {"placement": PLACEMENT[pose], "brain_input": "standardised"}
    return brain.in_box(Volume(image, affine), voxel_mm=voxel_mm, **options)


@lru_cache
def atlas(pose: str, voxel_mm: float) -> NDArray[np.float32]:
    """Return the template's six regions in the network's box, placed as the template's head is.

    Parameters
    ----------
    pose : str
        One of :data:`helpers.doses.POSES`.
    voxel_mm : float
        Voxel size, mm.

    Returns
    -------
    ndarray of float32, shape (6, *box)
        Weight of each voxel, the unwarped template's planted change.
    """
    template, centre = brain_template.load(2.0), head_box.BOX_CENTRE_MM
    if PLACEMENT[pose] == "head":
        signal = (template.white + brain_head.Specification().grey * template.grey) * template.brain
        found = head_box.coarse(Grid(signal, template.affine))
        centre = head_box.head_centre(found, head_box.head_mask(found))
    numbers = range(1, len(phantom.NAMES) + 1)
    parts = [np.where(template.region == n, template.unit_effect, 0) for n in numbers]
    grids = [head_box.averaged(Volume(part, template.affine), voxel_mm) for part in parts]
    boxes = [head_box.boxed(grid, voxel_mm=voxel_mm, centre_mm=centre) for grid in grids]
    return np.stack(boxes).astype(np.float32)


def simple_scores(
    subjects: pd.DataFrame, volumes: NDArray, means: NDArray, pose: str, voxel_mm: float
) -> dict[str, NDArray]:
    """Return what learners without a network say of the people tested.

    Parameters
    ----------
    subjects : DataFrame
        From :func:`helpers.doses.trained_on`, with ``row``.
    volumes : ndarray, shape (subjects, x, y, z, 1)
        Rows as in ``subjects``.
    means : ndarray, shape (everyone, 6)
        True means of own regions.
    pose, voxel_mm
        As in :func:`atlas`.

    Returns
    -------
    dict of str to ndarray, shape (tested,) or (seeds, tested)
        By learner: :data:`helpers.doses.SIMPLE` and :data:`helpers.doses.CEILING`.
    """
    training = (subjects["split"] == "training").to_numpy()
    tested = subjects["split"].isin(HELD_OUT).to_numpy()
    weights = atlas(pose, voxel_mm).reshape(len(phantom.NAMES), -1)
    fixed = volumes.reshape(len(volumes), -1) @ (weights / weights.sum(1, keepdims=True)).T
    six = {doses.NAMED: fixed, doses.CEILING: means[subjects["row"]]}
    found = {}
    for name, features in six.items():
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        model.fit(features[training], subjects.loc[training, "patient"])
        found[name] = model.predict_proba(features[tested])[:, 1]
    learnt = shallow.baselines(subjects, volumes, seeds=doses.SEEDS).predictions
    ids = subjects.loc[tested, "subject_id"]
    for name, part in learnt.groupby("model"):
        wide = part.pivot(index="seed", columns="id", values="probability")[ids].to_numpy()
        found[name] = wide[0] if len(wide) == 1 else wide
    return found


def stored(folder: str | Path) -> dict[str, dict[str, NDArray]]:
    """Return what was found so far, by run or condition.

    Parameters
    ----------
    folder : str or Path
        As :class:`Bench` writes it.

    Returns
    -------
    dict of str to dict of str to ndarray
    """
    found = {}
    for path in sorted((Path(folder) / "runs").glob("*.npz")):
        with np.load(path) as file:
            found[path.stem] = dict(file)
    return found


def _scored(bench: Bench, run: Run, model: Path) -> pd.DataFrame:
    volumes = bench.volumes(run.pose, run.effect_d)[0][bench.tested]
    patient = bench.table.loc[bench.tested, "patient"].to_numpy()
    affine = head_box.box_affine(bench.voxel_mm, head_box.BOX_CENTRE_MM)
    truth = brain_maps.planted(volumes.shape[1:4], affine)
    network = keras.models.load_model(model)
    return brain_maps.scores(network, volumes, patient, truth=truth, seed=run.seed)


def _made(row: dict, pose: str, voxel_mm: float) -> tuple[NDArray, NDArray, NDArray]:
    key = np.random.SeedSequence(doses.COHORT_SEED, spawn_key=(1, row["number"]))
    head = brain_head.simulate(
        sex=row["sex"],
        age_years=row["age_years"],
        site=int(row["site"].removeprefix("site")) - 1,
        voxel_mm=voxel_mm,
        rng=np.random.default_rng(key),
        pose=pose,
    )
    return head.image, head.unit_effect, head.region


def _kept(path: Path, shape: tuple[int, ...], kind: type) -> np.memmap:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        kept = np.lib.format.open_memmap(path, mode="r+")
        if kept.shape == shape:
            return kept
        raise ValueError(
            f"{path} holds {kept.shape}, expected {shape}: it belongs to another plan. "
            f"Delete {path.parent} and run the same command again."
        )
    partial = path.with_suffix(".part")
    np.lib.format.open_memmap(partial, mode="w+", dtype=kind, shape=shape).flush()
    os.replace(partial, path)
    return np.lib.format.open_memmap(path, mode="r+")


def _to_last_epoch(model: keras.Model, checkpoint: Path) -> None:
    """Set a network from its best epoch, as training leaves it, to its last one."""
    with np.load(checkpoint) as stored:
        for k, variable in enumerate(model.variables):
            variable.assign(stored[f"state{k:04d}"])


def _store(path: Path, found: dict) -> None:
    with paths.atomic_path(path) as temporary:
        np.savez(temporary, **found)
