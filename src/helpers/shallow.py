"""What brains give away without a network: the yardsticks beside the 3-D network.

The publication compares with "shallow machine learning" on regional volumes and intensities;
which regions, learners and settings is not published. Ours, assumptions fixed before any held-out
result was seen: the box is cut into cells, each person's own scan into fluid, grey and white
matter; the features are each cell's share and mean intensity of grey and of white matter. Settings
are chosen by the area under the ROC curve on the optimisation set.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from skimage.filters import threshold_multiotsu
from sklearn.base import BaseEstimator
from sklearn.decomposition import KernelPCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KernelCenterer, StandardScaler
from sklearn.svm import SVC

from helpers import brain

#: Cells along x, y, z; an even number along x, so that none lies across the midline. About a
#: hundred of them hold brain, as many as the regions of common atlases.
CELLS = (6, 6, 5)
#: Numbers of :func:`tissues`.
FLUID, GREY, WHITE = 1, 2, 3


class Learner(NamedTuple):
    """A way to learn, with the settings to choose from.

    Attributes
    ----------
    features : {"regions", "voxels"}
        What it is given: :func:`regional`, or the :func:`likeness` of whole scans.
    build : callable
        From a setting, a seed and the number of training subjects to an unfitted estimator.
    settings : tuple
        To choose from on the optimisation set, the most cautious first; it wins a tie.
    what : str
        What the setting is, for the page.
    random : bool
        Whether a seed changes the result.
    """

    features: str
    build: Callable[[float, int, int], BaseEstimator]
    settings: tuple[float, ...]
    what: str
    random: bool = False


class Learnt(NamedTuple):
    """What :func:`baselines` found.

    Attributes
    ----------
    predictions : DataFrame
        As :func:`helpers.brain.predictions`, of all subjects; one set of rows per learner and,
        where chance plays a part, per seed. A probability of one half or more calls a patient;
        but for the perceptron it is a squeezed distance from the boundary, right in order and
        side, no frequency.
    chosen : DataFrame
        ``model, seed, setting, optimisation_auc``.
    """

    predictions: pd.DataFrame
    chosen: pd.DataFrame


def _lda(setting: float, _seed: int, _n: int) -> BaseEstimator:
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=setting)
    return make_pipeline(StandardScaler(), discriminant)


def _svm(setting: float, _seed: int, _n: int) -> BaseEstimator:
    return make_pipeline(StandardScaler(), SVC(kernel="linear", C=setting))


def _mlp(setting: float, seed: int, _n: int) -> BaseEstimator:
    perceptron = MLPClassifier((16,), alpha=setting, max_iter=1000, tol=1e-3, random_state=seed)
    return make_pipeline(StandardScaler(), perceptron)


def _components(setting: float, _seed: int, n: int) -> BaseEstimator:
    components = KernelPCA(max(1, min(int(setting), n - 1)), kernel="precomputed")
    return make_pipeline(components, StandardScaler(), LogisticRegression(max_iter=1000))


def _voxel_svm(setting: float, _seed: int, _n: int) -> BaseEstimator:
    return make_pipeline(KernelCenterer(), SVC(kernel="precomputed", C=setting))


#: By the name on the page.
LEARNERS: dict[str, Learner] = {
    "regions + LDA": Learner("regions", _lda, (0.9, 0.5, 0.1, 0.02), "shrinkage"),
    "regions + linear SVM": Learner("regions", _svm, (1e-4, 1e-3, 1e-2, 1e-1), "C"),
    "regions + small MLP": Learner("regions", _mlp, (10.0, 1.0, 0.1), "penalty", random=True),
    "PCA + logistic regression": Learner("voxels", _components, (5, 10, 20, 40), "components"),
    "voxels + linear SVM": Learner("voxels", _voxel_svm, (0.01, 0.1, 1.0, 10.0), "C"),
}

#: Learners on the six planted regions, by name; value: what stands before the truth's column.
YARDSTICKS = {"six named regions + LDA": "atlas_", "true region means (yardstick)": ""}


def tissues(volume: ArrayLike) -> NDArray[np.uint8]:
    """Return a scan's classes by its own intensities: three, with the most even split (Otsu).

    Parameters
    ----------
    volume : array-like, shape (x, y, z)
        As the network reads it; 0 outside the head.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
        0 outside, then :data:`FLUID`, :data:`GREY`, :data:`WHITE`: dark, middle and bright, which
        on a head with skull also are bone, skin and fat. A scan of fewer than three intensities is
        all grey.

    References
    ----------
    Otsu N. IEEE Trans Syst Man Cybern 1979;9:62-66, doi 10.1109/TSMC.1979.4310076; Liao PS, Chen
    TS, Chung PC. J Inf Sci Eng 2001;17:713-727 (several thresholds). From scikit-image.

    Examples
    --------
    >>> scan = np.repeat([0.0, -2.0, 0.3, 1.0], 8).reshape(4, 2, 4)
    >>> [int(tissues(scan)[row, 0, 0]) for row in range(4)]
    [0, 1, 2, 3]
    """
    volume = np.asarray(volume)
    inside = volume != 0
    found = np.zeros(volume.shape, np.uint8)
    if np.unique(volume[inside]).size < 3:
        found[inside] = GREY
        return found
    limits = threshold_multiotsu(volume[inside], classes=3)
    found[inside] = np.digitize(volume[inside], limits) + FLUID
    return found


def cells(shape: tuple[int, int, int]) -> NDArray[np.intp]:
    """Return the number of each voxel's cell.

    Parameters
    ----------
    shape : tuple of int
        Of the network's box.

    Returns
    -------
    ndarray of int, shape ``shape``
        0 to the product of :data:`CELLS` less one.

    Examples
    --------
    >>> found = cells((12, 12, 10))
    >>> int(found.max()), bool((np.bincount(found.ravel()) == 8).all())
    (179, True)
    """
    along = [np.arange(size) * parts // size for size, parts in zip(shape, CELLS, strict=True)]
    return np.ravel_multi_index(np.ix_(*along), CELLS)


def regional(volumes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return volume and intensity of grey and white matter in each cell of the box.

    Parameters
    ----------
    volumes : ndarray, shape (subjects, x, y, z, 1)
        As the network reads them.

    Returns
    -------
    ndarray, shape (subjects, 4 x cells)
        Share of the cell that is grey, then white; mean intensity of its grey, then white
        matter. A cell without that tissue has the mean of the person's whole tissue.

    Examples
    --------
    >>> scans = np.random.default_rng(0).standard_normal((2, 12, 12, 10, 1))
    >>> regional(scans).shape
    (2, 720)
    """
    where = cells(volumes.shape[1:4]).ravel()
    scans = (np.asarray(volumes[k])[..., 0] for k in range(len(volumes)))
    return np.stack([_regional_row(scan, where) for scan in scans])


def likeness(
    volumes: NDArray[np.float32], *, training: NDArray, block: int | None = None
) -> NDArray[np.float64]:
    """Return the scalar products of all scans with those of the training set.

    Principal components and linear support vector machines on voxels need no more than these, so
    that memory does not grow with the number of subjects.

    Parameters
    ----------
    volumes : ndarray, shape (subjects, x, y, z, 1)
        Any array that can be cut along the subjects.
    training : ndarray of bool, shape (subjects,)
        Whose mean is taken off every scan, and whose columns are returned.
    block : int, optional
        Subjects held at a time, twice; by default as many as fit 128 MiB.

    Returns
    -------
    ndarray, shape (subjects, training subjects)
        Divided by their mean over the diagonal of the training set, 1 for a typical scan with
        itself.

    Examples
    --------
    >>> scans = np.array([[1.0], [3.0], [5.0]]).reshape(3, 1, 1, 1, 1)
    >>> likeness(scans, training=np.array([True, True, False])).tolist()
    [[1.0, -1.0], [-1.0, 1.0], [-3.0, 3.0]]
    """
    rows, columns = np.arange(len(volumes)), np.flatnonzero(training)
    block = block or max(8, 2**27 // (4 * math.prod(volumes.shape[1:])))
    parts = [columns[i : i + block] for i in range(0, len(columns), block)]
    centre = sum(_flat(volumes, part).sum(0, dtype=float) for part in parts) / len(columns)
    centre = centre.astype(np.float32)
    found = np.empty((len(rows), len(columns)))
    for start in range(0, len(parts) * block, block):
        right = (_flat(volumes, columns[start : start + block]) - centre).T
        for low in range(0, len(rows), block):
            left = _flat(volumes, rows[low : low + block]) - centre
            found[low : low + block, start : start + block] = left @ right
    return found / (found[columns, np.arange(len(columns))].mean() or 1.0)


def baselines(
    subjects: pd.DataFrame,
    volumes: NDArray[np.float32],
    *,
    seeds: Sequence[int] = (0,),
    names: Sequence[str] = tuple(LEARNERS),
) -> Learnt:
    """Return what shallow learners make of the scans the network sees, on the same sets.

    Each learns from the training set, once per setting; the setting with the highest area under
    the ROC curve on the optimisation set is kept. Held-out subjects are only predicted.

    Parameters
    ----------
    subjects : DataFrame
        From :func:`helpers.brain.read_subjects`.
    volumes : ndarray, shape (subjects, x, y, z, 1)
        Rows as in ``subjects``; any array that can be cut along the subjects.
    seeds : sequence of int
        Of the learners in which chance plays a part; the first stands beside the others.
    names : sequence of str
        Keys of :data:`LEARNERS`.

    Returns
    -------
    Learnt
    """
    training = (subjects["split"] == "training").to_numpy()
    wanted = {LEARNERS[name].features for name in names}
    features = {"regions": regional(volumes)} if "regions" in wanted else {}
    if "voxels" in wanted:
        features["voxels"] = likeness(volumes, training=training)
    parts, chosen = [], []
    for name in names:
        learner = LEARNERS[name]
        for seed in seeds if learner.random else seeds[:1]:
            score, row = _best(learner, features[learner.features], subjects, seed)
            parts.append(brain.predictions(subjects, score, model=name, weights="", seed=seed))
            chosen.append({"model": name, "seed": seed, **row})
    return Learnt(pd.concat(parts, ignore_index=True), pd.DataFrame(chosen))


def region_means(
    subjects: pd.DataFrame, truth: str | Path, *, column: str, name: str, seed: int = 0
) -> pd.DataFrame:
    """Return what a linear discriminant makes of six numbers per brain, one a planted region.

    Of each subject's own regions only the phantom's maker knows the means: a yardstick beside the
    network, neither an upper bound of what the scan holds nor a method anyone could use. At the
    regions' place in the template anyone could take them on registered heads who knew where to
    look.

    Parameters
    ----------
    subjects : DataFrame
        From :func:`helpers.brain.read_subjects`.
    truth : str or Path
        The phantom's ``truth/region_means.csv``.
    column : str
        ``file`` or ``file_exaggerated``, means in the own regions; with ``atlas_`` before it, at
        the template's place.
    name : str
        Of the model in the predictions.
    seed : int
        Written beside the predictions.

    Returns
    -------
    DataFrame
        As :func:`helpers.brain.predictions`.
    """
    means = pd.read_csv(truth).pivot(index="subject_id", columns="region", values=column)
    features = means.loc[subjects["subject_id"]].to_numpy()
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    training = (subjects["split"] == "training").to_numpy()
    model.fit(features[training], subjects.loc[training, "patient"])
    probability = model.predict_proba(features)[:, 1]
    return brain.predictions(subjects, probability, model=name, weights="", seed=seed)


def yardsticks(subjects: pd.DataFrame, folder: str | Path, *, seed: int = 0) -> list[pd.DataFrame]:
    """Return :func:`region_means` of each series and place; nothing for own scans.

    Parameters
    ----------
    subjects : DataFrame
        From :func:`helpers.brain.read_subjects`.
    folder : str or Path
        ``results/<profile>``.
    seed : int
        Written beside the predictions.

    Returns
    -------
    list of DataFrame
        With the column ``effect``; models are the keys of :data:`YARDSTICKS`.
    """
    truth = Path(folder) / "cohort" / "brain" / "truth" / "region_means.csv"
    if not brain.description(folder)["synthetic"]:
        return []
    return [
        region_means(subjects, truth, column=start + column, name=name, seed=seed).assign(
            effect=effect
        )
        for effect, column in brain.series(subjects).items()
        for name, start in YARDSTICKS.items()
    ]


def _flat(volumes: NDArray, rows: NDArray) -> NDArray[np.float32]:
    return np.asarray(volumes[rows], dtype=np.float32).reshape(len(rows), -1)


def _regional_row(scan: NDArray, where: NDArray) -> NDArray[np.float64]:
    count = int(np.prod(CELLS))
    size, found, scan = np.bincount(where, minlength=count), tissues(scan).ravel(), scan.ravel()
    shares, means = [], []
    for tissue in (GREY, WHITE):
        inside = found == tissue
        voxels = np.bincount(where[inside], minlength=count)
        total = np.bincount(where[inside], scan[inside], minlength=count)
        whole = float(scan[inside].mean()) if inside.any() else 0.0
        shares.append(voxels / np.maximum(size, 1))
        means.append(np.where(voxels, total / np.maximum(voxels, 1), whole))
    return np.concatenate(shares + means)


def _best(
    learner: Learner, features: NDArray, subjects: pd.DataFrame, seed: int
) -> tuple[NDArray[np.float64], dict]:
    """Fit every setting on the training set and keep the best of the optimisation set."""
    training, tuning = ((subjects["split"] == s).to_numpy() for s in ("training", "optimisation"))
    labels = subjects.loc[training, "patient"].to_numpy()
    best, kept = None, {"optimisation_auc": -np.inf}
    for setting in learner.settings:
        model = learner.build(setting, seed, int(training.sum())).fit(features[training], labels)
        score = _score(model, features, tuning)
        area = float(roc_auc_score(subjects.loc[tuning, "patient"], score[tuning]))
        if area > kept["optimisation_auc"]:
            best, kept = score, {"setting": f"{learner.what} {setting:g}", "optimisation_auc": area}
    return best, kept


def _score(model: BaseEstimator, features: NDArray, tuning: NDArray) -> NDArray[np.float64]:
    """Return a score that is above one half for those called patients, and saturates nowhere."""
    if not hasattr(model, "decision_function"):
        return model.predict_proba(features)[:, 1]
    margin = model.decision_function(features)
    return expit(margin / (margin[tuning].std() or 1.0))
