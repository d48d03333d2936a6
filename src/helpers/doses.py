"""What would the published accuracy take? The long experiments on the brain phantom.

A plan fixed before anything was run: networks and simple learners trained at several planted
effect sizes, on registered and on tilted heads, with several seeds; and the checks beside it, with
shuffled diagnoses, with sites that tell the diagnosis, with fewer people, and on forms that were
not trained on. It takes an hour or two and is run by ``make doses``; the book shows the rows
that are stored with it and says when the phantom's numbers, the plan or the network's settings have
changed since.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from helpers import accuracy, brain, effects, paths
from helpers.inference import Interval
from helpers.phantom import brain as phantom
from helpers.phantom import brain_template
from helpers.referral import HELD_OUT

#: The demo profile's cohort seed at the published size: the demo's people are among these.
COHORT_SEED, VOXEL_MM = 2021, 4.0
#: Cohen's d in each of the six own regions.
DOSES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
POSES = ("registered", "as_scanned")
SEEDS = (1, 2, 3, 4, 5)
PERMUTATIONS = 20
#: People trained on in the learning curve, half of them patients; the last is the published size.
LEARNING = (40, 80, 160, 320)
#: Effect sizes of the default cohort, and half of them (half of the larger is a dose).
REALISTIC, EXAGGERATED, HALF = 0.5, 2.0, 0.25
#: Regions that carry the effect where cervical dystonia and blepharospasm have half of it.
HALF_REGIONS = ("corpus callosum", "posterior thalamic radiation", "superior orbital gyrus")
#: The demo profile's settings of the network. Nothing was tuned on these runs.
RECIPE = {
    "filters": [8, 16, 32, 64],
    "kernel": 3,
    "pooling": 2,
    "dense_units": 64,
    "dropout": 0.0,
    "batch_norm": True,
    "global_pooling": False,
    "epochs": 10,
    "patience": 10,
    "batch_size": 8,
    "learning_rate": 1e-3,
}
#: Sites of the patients where site tells the diagnosis; the others are the controls'.
PATIENT_SITES = ("site1", "site2")
#: Group differences reported in dystonia, about; our reading, no pooled estimate.
REPORTED_D = (0.3, 0.8)
#: Basis of numbers that no phantom enters.
THEORY = "formula for independent regions"
QUESTIONS = ("dose", "permutation", "confounded", "half", "learning")
#: Learners by their names on the page. NAMED: means of the six named regions at their place in
#: the template. CEILING: the same of each person's own anatomy, known to the phantom's maker only.
NETWORK = "DystoniaNet"
NAMED, CEILING = "six named regions + LDA", "true region means (yardstick)"
SIMPLE = (
    NAMED,
    "regions + LDA",
    "regions + linear SVM",
    "regions + small MLP",
    "PCA + logistic regression",
    "voxels + linear SVM",
)
#: The same networks at the end of training: what the choice of an epoch by the optimisation loss
#: costs or gains. Printed beside, never instead.
LAST = "DystoniaNet, last epoch"
MODELS = (NETWORK, LAST, *SIMPLE, CEILING)
#: Not learnt but computed: the best rule on six true means that covary as in the phantom.
PERFECT = "perfect reader, regions as they covary"
#: What :func:`findings` quotes of the checks: question, detail, measure; of the larger effect.
_CHECKED = {
    "permutation": ("permutation", "", "auc"),
    "site.diagnosis": ("confounded", "diagnosis, sites shared", "auc"),
    "site.site": ("confounded", "site", "auc"),
    "site.as_learnt": ("confounded", "diagnosis, sites as learnt", "auc"),
    "site.patients_alone": ("confounded", "diagnosis, sites as learnt", "sensitivity"),
    "form.LD": ("transfer", "LD", "auc"),
    "form.CD": ("transfer", "CD", "auc"),
    "form.BSP": ("transfer", "BSP", "auc"),
    "form.CD.half": ("transfer", "CD, half of the regions", "auc"),
    "form.BSP.half": ("transfer", "BSP, half of the regions", "auc"),
}


@dataclass(frozen=True)
class Run:
    """One training of the plan.

    Attributes
    ----------
    question : str
        One of :data:`QUESTIONS`.
    pose : str
        One of :data:`POSES`.
    effect_d : float
        Planted Cohen's d in each own region.
    people : int
        Trained on, half of them patients.
    seed : int
        Of the network's weights and order of people; in permutations also of the shuffle.
    """

    question: str
    pose: str
    effect_d: float
    people: int
    seed: int

    @property
    def condition(self) -> str:
        """Name of what all seeds of a question share.

        Examples
        --------
        >>> Run("dose", "registered", 0.5, 320, 1).condition
        'dose_registered_d0.50_n320'
        """
        return f"{self.question}_{self.pose}_d{self.effect_d:.2f}_n{self.people}"

    @property
    def key(self) -> str:
        """Name of the run.

        Examples
        --------
        >>> Run("dose", "registered", 0.5, 320, 1).key
        'dose_registered_d0.50_n320_s01'
        """
        return f"{self.condition}_s{self.seed:02d}"


def plan() -> tuple[Run, ...]:
    """Return all runs in the order in which they are made, so that a part of them is of use.

    First comes one pass through all questions, with two seeds where it matters most, then
    everything else by question.

    Returns
    -------
    tuple of Run

    Examples
    --------
    >>> runs = plan()
    >>> len(runs), len({run.key for run in runs}) == len(runs)
    (120, True)
    """
    start = {
        "dose": 2,
        "confounded": 2,
        "as_scanned": 1,
        "permutation": 5,
        "learning": 1,
        "half": 1,
    }
    runs = {name: [] for name in start}
    order = (EXAGGERATED, REALISTIC, *(d for d in DOSES if d not in (EXAGGERATED, REALISTIC)))
    everyone, (registered, as_scanned) = LEARNING[-1], POSES
    for seed in SEEDS:
        runs["dose"] += [Run("dose", registered, d, everyone, seed) for d in order]
        runs["as_scanned"] += [Run("dose", as_scanned, d, everyone, seed) for d in order]
        runs["confounded"].append(Run("confounded", registered, 0.0, everyone, seed))
        runs["half"].append(Run("half", registered, HALF, everyone, seed))
        runs["learning"] += [
            Run("learning", registered, d, people, seed)
            for people in LEARNING[:-1]
            for d in (EXAGGERATED, REALISTIC)
        ]
    shuffled = range(1, PERMUTATIONS + 1)
    runs["permutation"] = [Run("permutation", registered, 0.0, everyone, k) for k in shuffled]
    early = [run for name, made in runs.items() for run in made if run.seed <= start[name]]
    return (*early, *(run for made in runs.values() for run in made if run not in early))


def people() -> pd.DataFrame:
    """Return everyone of the experiments: the published sets and a control for each patient tested.

    The cohort's held-out controls match a third of the validation patients in sex, age and site;
    further controls match the others, so that the classes balance and specificity is as precise as
    sensitivity. The publication has none of either.

    Returns
    -------
    DataFrame
        As :func:`helpers.phantom.brain.plan`, and ``patient`` (0/1) and ``twin_of``, the form of
        the patient whom a control tested matches; the added controls come last.

    Examples
    --------
    >>> people().query("split in ('validation', 'held_out_controls')")["patient"].value_counts()
    patient
    1    172
    0    172
    Name: count, dtype: int64
    """
    table = phantom.plan(seed=COHORT_SEED, fraction=1.0)
    tested = table[table["split"] == "validation"]
    controls = int((table["split"] == "held_out_controls").sum())
    place = tested.groupby("group").cumcount() * 3
    place = place + tested["group"].map({"LD": 0, "CD": 1, "BSP": 2})
    twins = tested[place >= controls]
    forms = np.resize(["LD", "CD", "BSP"], controls)
    table["twin_of"] = ""
    table.loc[table["split"] == "held_out_controls", "twin_of"] = forms
    rng = np.random.default_rng(np.random.SeedSequence(COHORT_SEED, spawn_key=(2,)))
    number = int(table["number"].max()) + 1 + np.arange(len(twins))
    added = twins.assign(
        number=number,
        subject_id=[f"sub-{n:03d}" for n in number],
        group="control",
        age_years=(twins["age_years"] + rng.integers(-2, 3, len(twins))).clip(20, 85),
        split="held_out_controls",
        twin_of=twins["group"],
    )
    whole = pd.concat([table, added], ignore_index=True)
    return whole.assign(patient=(whole["group"] != "control").astype(int))


def trained_on(table: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Return the people of a run with the diagnoses it learns from.

    Parameters
    ----------
    table : DataFrame
        From :func:`people`.
    run : Run
        Which run.

    Returns
    -------
    DataFrame
        A copy without the training people left out; ``truth`` is the diagnosis, ``patient`` what
        is learnt from (shuffled in permutations, in the training and optimisation sets only), and
        ``site`` the site of the scan used.
    """
    table = table.assign(truth=table["patient"])
    if run.question == "permutation":
        table = brain.shuffled(table, seed=run.seed)
    if run.question == "confounded":
        table = table.assign(site=confounded_sites(table))
    training = table["split"] == "training"
    within = table[training].groupby("group").cumcount()
    left_out = within[within >= run.people // 2].index
    return table.drop(index=left_out).reset_index(drop=True)


def confounded_sites(table: pd.DataFrame) -> pd.Series:
    """Return sites that tell the diagnosis in training and optimisation, and nothing when tested.

    Patients learnt from move to the first two sites and controls to the other two. People tested
    stay where they are, where patients and controls share all four.

    Parameters
    ----------
    table : DataFrame
        ``split, patient, site``.

    Returns
    -------
    Series of str

    Examples
    --------
    >>> table = pd.DataFrame({"split": ["training"] * 2 + ["validation"], "patient": [1, 0, 1],
    ...                       "site": ["site3", "site1", "site3"]})
    >>> confounded_sites(table).tolist()
    ['site1', 'site3', 'site3']
    """
    learnt = table["split"].isin(["training", "optimisation"])
    number = table["site"].str.removeprefix("site").astype(int) - 1
    moved = number % 2 + 2 * (1 - table["patient"]) + 1
    return ("site" + moved.astype(str)).where(learnt, table["site"])


def possible(effect_d: ArrayLike, *, regions: int = 6, measure: str = "auc") -> NDArray:
    """Return what a perfect reader of independent regions reaches.

    The limit of :func:`helpers.effects.ceiling`, of any number of sizes.

    Parameters
    ----------
    effect_d : float or array
        Cohen's d in each region.
    regions : int
        How many.
    measure : {"auc", "accuracy"}
        Which.

    Returns
    -------
    ndarray, shape of ``effect_d``

    Raises
    ------
    ValueError
        For another measure.

    Examples
    --------
    >>> float(possible(0.5).round(2)), float(possible(0.5, measure="accuracy").round(2))
    (0.81, 0.73)
    """
    if measure not in ("auc", "accuracy"):
        raise ValueError(f"No measure {measure!r}. Available: auc, accuracy.")
    sizes = np.asarray(effect_d, float)
    found = [getattr(effects.ceiling([size] * regions), measure) for size in sizes.flat]
    return np.array(found).reshape(sizes.shape)


def needed(accuracy: float, *, regions: int = 6) -> float:
    """Return the effect in each of several independent regions that an accuracy takes.

    Parameters
    ----------
    accuracy : float
        Share decided rightly, as many patients as controls; one half to 1.
    regions : int
        How many.

    Returns
    -------
    float
        Cohen's d in each region; infinite at 1.

    Raises
    ------
    ValueError
        For an accuracy below one half or above 1.

    Examples
    --------
    >>> round(needed(0.988), 2)
    1.84
    """
    if not 0.5 <= accuracy <= 1:
        raise ValueError(f"Accuracy {accuracy} is not between 0.5 and 1.")
    return float(2 * stats.norm.ppf(accuracy) / np.sqrt(regions))


def perfect(means: NDArray, *, replicates: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return what the best rule on the six true means reaches, as they covary between people.

    A rule that knows how regions covary takes what they share out of each, so that regions
    which are not independent can tell more than independent ones, or less.

    Parameters
    ----------
    means : ndarray, shape (people, 6)
        Of unaffected regions.
    replicates, seed : int
        Draws of people behind the intervals, and their seed.

    Returns
    -------
    DataFrame
        ``effect_d, model, measure, seed, estimate, low, high``.
    """
    rng, rows = np.random.default_rng(seed), []
    signs = np.array([region.sign for region in brain_template.REGIONS])
    samples = [np.arange(len(means)), *rng.integers(len(means), size=(replicates, len(means)))]
    correlations = [np.corrcoef(means[sample].T) for sample in samples]
    for size in np.linspace(0, DOSES[-1], 13):
        found = [effects.ceiling(size * signs, correlation=r) for r in correlations]
        for measure in ("auc", "accuracy"):
            values = np.array([getattr(one, measure) for one in found])
            rows.append((size, PERFECT, measure, 0, *interval(values)[:3]))
    columns = ["effect_d", "model", "measure", "seed", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


class Resampled:
    """People and seeds drawn again and again, the same draws for every learner.

    Patients and controls are drawn apart, with replacement; the seeds of trainings too. So a
    difference between two learners is taken within a draw: same people, same seeds. What another
    training set would have given is not in these intervals. With k seeds their share of the
    variance is (k - 1)/k of what it should be.

    Parameters
    ----------
    label : array-like of 0 and 1, shape (people,)
        True diagnosis.
    seeds : int
        Trainings of the network.
    replicates, seed : int
        Draws, and their seed.
    """

    def __init__(
        self, label: ArrayLike, *, seeds: int, replicates: int = 2000, seed: int = 0
    ) -> None:
        label = np.asarray(label).astype(bool)
        rng = np.random.default_rng(seed)
        self.sides = np.flatnonzero(label), np.flatnonzero(~label)
        self.people = [_draws(len(side), replicates, rng) for side in self.sides]
        self.seeds = _draws(seeds, replicates, rng)

    def values(self, scores: ArrayLike, measure: str) -> NDArray[np.float64]:
        """Return a measure, mean over seeds, in all people and in each draw.

        Parameters
        ----------
        scores : array-like, shape (people,) or (seeds, people)
            Probabilities. One row stands for all seeds.
        measure : {"auc", "accuracy", "sensitivity", "specificity"}
            Accuracy is the mean of sensitivity and specificity; one half calls a patient.

        Returns
        -------
        ndarray, shape (1 + replicates,)
        """
        each = self.by_seed(scores, measure)
        if each.shape[1] == 1:
            return each[:, 0]
        return (each * self.seeds).sum(1) / self.seeds.sum(1)

    def by_seed(self, scores: ArrayLike, measure: str) -> NDArray[np.float64]:
        """Return a measure of each training in all people and in each draw.

        Parameters
        ----------
        scores, measure
            As in :meth:`values`.

        Returns
        -------
        ndarray, shape (1 + replicates, trainings)
        """
        rows = np.atleast_2d(np.asarray(scores, float))
        return np.stack([self._one(row, measure) for row in rows], axis=1)

    def _one(self, score: NDArray, measure: str) -> NDArray[np.float64]:
        above, below = (score[side] for side in self.sides)
        weights = [drawn / drawn.sum(1, keepdims=True) for drawn in self.people]
        if measure == "auc":
            won = np.heaviside(np.subtract.outer(above, below), 0.5)
            return np.einsum("bi,bi->b", weights[0] @ won, weights[1])
        shares = weights[0] @ (above >= 0.5), weights[1] @ (below < 0.5)
        named = {"sensitivity": shares[0], "specificity": shares[1]}
        return named[measure] if measure in named else (shares[0] + shares[1]) / 2


def interval(values: NDArray, *, level: float = 0.95) -> Interval:
    """Return the percentile interval of a value and its draws.

    Parameters
    ----------
    values : ndarray, shape (1 + replicates,)
        From :meth:`Resampled.values`, or a difference of two of them.
    level : float
        Confidence level.

    Returns
    -------
    Interval

    Examples
    --------
    >>> "{:.3f} {:.3f} {:.3f}".format(*interval(np.array([0.5, *np.linspace(0, 1, 1001)]))[:3])
    '0.500 0.025 0.975'
    """
    low, high = np.quantile(values[1:], [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values[0]), float(low), float(high), "people and seeds resampled")


def compared(
    label: ArrayLike,
    scores: dict[str, NDArray],
    *,
    against: str = NETWORK,
    measures: tuple[str, ...] = ("auc", "accuracy"),
    seeds: Sequence[int] | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Tabulate learners, and one learner minus each other, on the same people and seeds.

    Parameters
    ----------
    label : array-like of 0 and 1, shape (people,)
        True diagnosis.
    scores : dict of str to ndarray, shape (people,) or (seeds, people)
        By learner.
    against : str
        The learner that the others are taken from.
    measures : tuple of str
        As in :meth:`Resampled.values`.
    seeds : sequence of int, optional
        Of the trainings, in the order of the scores' rows; 1, 2 and so on when not given.
    replicates, seed : int
        Draws, and their seed.

    Returns
    -------
    DataFrame
        ``model, measure, seed, estimate, low, high, lead, lead_low, lead_high``. ``seed`` is 0
        for the mean over seeds and else that of a training, which has no interval. ``lead`` is
        ``against`` minus this learner.

    Examples
    --------
    >>> label, perfect = [0, 0, 1, 1], np.array([0.1, 0.2, 0.8, 0.9])
    >>> table = compared(label, {"network": perfect, "other": 1 - perfect}, replicates=10)
    >>> table.query("measure == 'auc'")["estimate"].tolist()
    [1.0, 0.0]
    """
    trainings = max(len(np.atleast_2d(rows)) for rows in scores.values())
    drawn = Resampled(label, seeds=trainings, replicates=replicates, seed=seed)
    whole = Resampled(label, seeds=trainings, replicates=0)
    rows = []
    for measure in measures:
        values = {name: drawn.values(found, measure) for name, found in scores.items()}
        for name, found in scores.items():
            lead = (np.nan,) * 3
            if name != against and against in values:
                lead = interval(values[against] - values[name])[:3]
            rows.append((name, measure, 0, *interval(values[name])[:3], *lead))
            if np.ndim(found) == 2 and len(found) > 1:
                single = whole.by_seed(found, measure)[0]
                named = zip(seeds or range(1, len(found) + 1), single, strict=True)
                rows += [(name, measure, n, x, *[np.nan] * 5) for n, x in named]
    columns = ["model", "measure", "seed", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "lead", "lead_low", "lead_high"])


def centre(areas: ArrayLike, *, level: float = 0.95) -> Interval:
    """Return the mean of independent values with Student's interval.

    Parameters
    ----------
    areas : array-like
        Areas of networks trained on shuffled diagnoses, say.
    level : float
        Confidence level.

    Returns
    -------
    Interval

    Examples
    --------
    >>> "{:.2f} {:.2f} {:.2f}".format(*centre([0.4, 0.5, 0.6])[:3])
    '0.50 0.25 0.75'
    """
    areas = np.asarray(areas, float)
    mean, error = float(areas.mean()), float(stats.sem(areas))
    half = float(stats.t.ppf((1 + level) / 2, len(areas) - 1)) * error
    return Interval(mean, mean - half, mean + half, f"Student's t over {len(areas)}")


def dose_rows(
    found: dict[str, dict[str, NDArray]],
    table: pd.DataFrame,
    *,
    unaffected: dict[str, NDArray] | None = None,
    replicates: int = 2000,
) -> pd.DataFrame:
    """Return accuracy and area of each learner at each effect size and pose.

    Parameters
    ----------
    found : dict
        From :func:`helpers.dose_runs.stored`.
    table : DataFrame
        From :func:`people`.
    unaffected : dict of str to ndarray, shape (people, 6), optional
        By pose, true means of unaffected regions; adds the rows of :func:`perfect`.
    replicates : int
        Draws behind the intervals.

    Returns
    -------
    DataFrame
        ``pose, effect_d, trainings`` (of the network so far), then as :func:`compared`.
    """
    label, parts = _tested(table)["patient"], []
    first = [run for run in plan() if run.seed == SEEDS[0]]
    for run in (run for run in first if run.question in ("dose", "half")):
        scores = _scores(found, run)
        if NETWORK in scores:
            about = {"pose": run.pose, "effect_d": run.effect_d}
            rows = compared(label, scores, seeds=_seeds(found, run), replicates=replicates)
            parts.append(rows.assign(**about, trainings=len(scores[NETWORK])))
    for pose, means in (unaffected or {}).items():
        parts.append(perfect(means, replicates=replicates // 10).assign(pose=pose, trainings=0))
    return _ordered(parts, ["pose", "effect_d", "trainings"])


def check_rows(
    found: dict[str, dict[str, NDArray]], table: pd.DataFrame, *, replicates: int = 2000
) -> pd.DataFrame:
    """Return what the checks found: chance, site, fewer people, other forms.

    Parameters
    ----------
    found, table, replicates
        As in :func:`dose_rows`.

    Returns
    -------
    DataFrame
        ``question, detail, effect_d, people, trainings``, then as :func:`compared`. In
        permutations ``seed`` 0 is the mean over permutations with Student's interval.
    """
    tested, runs = _tested(table), plan()
    first = [run for run in runs if run.seed == SEEDS[0]]
    parts = [_shuffled_rows(found, tested)]
    for run in first:
        scores = _scores(found, run)
        if NETWORK not in scores:
            continue
        shown = run.pose == POSES[0] and run.effect_d in (REALISTIC, EXAGGERATED)
        options = {"seeds": _seeds(found, run), "replicates": replicates}
        if run.question == "confounded":
            parts += _site_rows(scores, tested, run, **options)
        elif run.question == "learning" or shown:
            rows = compared(tested["patient"], scores, **options)
            parts.append(_check(rows, "learning", "", run))
        if run.question == "dose" and shown:
            parts += _form_rows(found, scores, tested, run, **options)
    return _ordered(parts, ["question", "detail", "effect_d", "people", "trainings"])


def findings(table: pd.DataFrame, checked: pd.DataFrame, *, published: float) -> pd.DataFrame:
    """Return the numbers of the long run that prose quotes.

    Parameters
    ----------
    table, checked : DataFrame
        From :func:`read`, ``brain_doses`` and ``brain_checks``.
    published : float
        The printed accuracy.

    Returns
    -------
    DataFrame
        ``key, value, low, high, n, label, basis``, where ``n`` is the networks behind it.
        ``label`` is ``recomputed`` and ``basis`` :data:`THEORY` where no phantom enters, and such
        a number has no limits; else ``phantom`` and empty, for the long run. A row not measured
        yet is NaN.
    """
    theory = {"needed": needed(published)}
    theory |= {f"possible.d{size:g}": float(possible(size)) for size in REPORTED_D}
    rows = [(key, value, np.nan, np.nan, 0) for key, value in theory.items()]
    rows.append(_needed_here(table, published))
    for pose in POSES:
        for size in (HALF, REALISTIC, EXAGGERATED, DOSES[-1]):
            if size == HALF and pose != POSES[0]:
                continue
            part = table[(table["pose"] == pose) & (table["effect_d"] == size)]
            for measure in ("auc", "accuracy"):
                rows.append(_finding(f"{pose}.d{size:g}.{measure}", part, measure))
            rows.append(_finding(f"{pose}.d{size:g}.last", part, "auc", model=LAST))
            rows.append(_finding(f"{pose}.d{size:g}.svm", part, "auc", model=SIMPLE[-1]))
            rows.append(_finding(f"{pose}.d{size:g}.ceiling", part, "auc", model=CEILING))
            rows.append(_lead(f"{pose}.d{size:g}.lead", part))
    for name, (question, detail, measure) in _CHECKED.items():
        part = checked[(checked["question"] == question) & (checked["detail"] == detail)]
        rows.append(_finding(name, part[part["effect_d"] != REALISTIC], measure))
    found = pd.DataFrame(rows, columns=["key", "value", "low", "high", "n"])
    plain = found["key"].isin(theory)
    label, basis = np.where(plain, "recomputed", "phantom"), np.where(plain, THEORY, "")
    return found.assign(label=label, basis=basis)


def of_this_run(predictions: pd.DataFrame, description: dict) -> pd.DataFrame | None:
    """Return where this run's own networks lie in the figure of effect sizes.

    Parameters
    ----------
    predictions : DataFrame
        As :func:`helpers.dystonianet.save` returns it.
    description : dict
        From :func:`helpers.brain.description`.

    Returns
    -------
    DataFrame or None
        ``effect_d, pose, measure, estimate``: mean over seeds, people held out. None for own
        scans, whose effect nobody planted.
    """
    if not description["synthetic"]:
        return None
    made, pose = description["specification"], description.get("pose", POSES[0])
    sizes = dict(zip(brain.EFFECTS, (made["effect_d"], made["exaggerated_d"]), strict=True))
    held_out = predictions[predictions["split"].isin(HELD_OUT)]
    rows = []
    for effect, size in sizes.items():
        part = held_out[held_out["effect"] == effect]
        scores = part.pivot(index="seed", columns="id", values="probability")
        label = part.drop_duplicates("id").set_index("id").loc[scores.columns, "label"]
        drawn = Resampled(label, seeds=len(scores), replicates=0)
        for measure in ("auc", "accuracy"):
            value = float(drawn.by_seed(scores.to_numpy(), measure).mean())
            rows.append((size, pose, measure, value))
    return pd.DataFrame(rows, columns=["effect_d", "pose", "measure", "estimate"])


def marks(recipe: dict | None = None) -> dict[str, str]:
    """Return short hashes of what the stored rows depend on, as it is now.

    They tell when the phantom's numbers, the plan or the network's settings have changed; changed
    code they do not see.

    Parameters
    ----------
    recipe : dict, optional
        Settings of the network; :data:`RECIPE` when not given.

    Returns
    -------
    dict of str to str
        ``phantom`` (its specification, both poses), ``plan`` (all runs and choices above) and
        ``recipe``.
    """
    runs = [asdict(run) for run in plan()]
    return {
        "phantom": phantom.specification_sha256()[:12],
        "plan": _mark([runs, COHORT_SEED, VOXEL_MM, HALF_REGIONS, PATIENT_SITES]),
        "recipe": _mark(recipe or RECIPE),
    }


def changed(table: pd.DataFrame, recipe: dict | None = None) -> list[str]:
    """Return what has changed since the stored rows were measured.

    Parameters
    ----------
    table : DataFrame
        From :func:`read`.
    recipe : dict, optional
        Settings of the network that the rows are shown beside.

    Returns
    -------
    list of str
        Of ``phantom``, ``plan``, ``recipe``; empty when the rows still fit.
    """
    return [name for name, now in marks(recipe).items() if set(table[name]) != {now}]


def standing(table: pd.DataFrame, recipe: dict | None = None) -> str:
    """Return in words whether the stored rows are whole, and still of this phantom and network.

    Parameters
    ----------
    table, recipe
        As in :func:`changed`.

    Returns
    -------
    str

    Examples
    --------
    >>> table = pd.DataFrame([marks() | {"trainings": 5, "pose": "registered", "effect_d": 0.5,
    ...                        "model": NETWORK}])
    >>> standing(table)
    'still those of this phantom and this network, of a long run that is not finished (5 of 65 \
networks of this figure)'
    """
    said = {
        "phantom": "of an earlier phantom",
        "plan": "of an earlier plan",
        "recipe": "of other settings of the network than this page's",
    }
    moved = [said[name] for name in changed(table, recipe)]
    now = " and ".join(moved) or "still those of this phantom and this network"
    known = table[table["model"] == NETWORK].drop_duplicates(["pose", "effect_d"])
    wanted = {(run.pose, run.effect_d) for run in plan() if run.question in ("dose", "half")}
    done, planned = int(known["trainings"].sum()), len(wanted) * len(SEEDS)
    if done == planned:
        return now
    return (
        f"{now}, of a long run that is not finished ({done} of {planned} networks of this figure)"
    )


def read(name: str = "brain_doses") -> pd.DataFrame:
    """Return stored rows of the long run.

    Parameters
    ----------
    name : {"brain_doses", "brain_checks", "brain_localisation"}
        Which.

    Returns
    -------
    DataFrame

    Raises
    ------
    FileNotFoundError
        When it was never run.
    """
    path = paths.root() / "benchmarks" / "results" / f"{name}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"No {path.name} in {path.parent}. Measure it with: make doses")
    table = pd.read_csv(path)
    return table.fillna({"detail": ""}) if "detail" in table else table


def _draws(count: int, replicates: int, rng: np.random.Generator) -> NDArray[np.int64]:
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=replicates)
    return np.vstack([np.ones((1, count), np.int64), drawn])


def _mark(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _finding(key: str, part: pd.DataFrame, measure: str, *, model: str = NETWORK) -> tuple:
    rows = part[(part["seed"] == 0) & (part["model"] == model) & (part["measure"] == measure)]
    if rows.empty:
        return key, np.nan, np.nan, np.nan, 0
    row = rows.iloc[0]
    return key, row["estimate"], row["low"], row["high"], int(row["trainings"])


def _needed_here(table: pd.DataFrame, published: float) -> tuple:
    """Return the effect that the published accuracy takes where regions covary as here."""
    rows = table[(table["model"] == PERFECT) & (table["measure"] == "accuracy")]
    rows = rows[(rows["pose"] == POSES[0]) & (rows["effect_d"] == 1)]
    if rows.empty:
        return "needed.covarying", np.nan, np.nan, np.nan, 0
    shares = rows.iloc[0][["estimate", "high", "low"]].to_numpy(float)
    return "needed.covarying", *(stats.norm.ppf(published) / stats.norm.ppf(shares)), 0


def _lead(key: str, part: pd.DataFrame) -> tuple:
    rows = part[(part["seed"] == 0) & (part["model"] == SIMPLE[-1]) & (part["measure"] == "auc")]
    if rows.empty:
        return key, np.nan, np.nan, np.nan, 0
    row = rows.iloc[0]
    return key, row["lead"], row["lead_low"], row["lead_high"], int(row["trainings"])


def _tested(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["split"].isin(HELD_OUT)].reset_index()


def _seeds(found: dict[str, dict[str, NDArray]], run: Run) -> list[int]:
    """Return which seeds of a condition are there, in the plan's order."""
    return [seed for seed in SEEDS if replace(run, seed=seed).key in found]


def _scores(found: dict[str, dict[str, NDArray]], run: Run) -> dict[str, NDArray]:
    """Return the scores of a condition: the network's so far, one row a seed, and the others'."""
    seeds = _seeds(found, run)
    rows = [found[replace(run, seed=seed).key] for seed in seeds]
    networks = [name for name in (NETWORK, LAST) if rows and all(name in row for row in rows)]
    scores = {name: np.stack([row[name] for row in rows]) for name in networks}
    simple = found.get(f"{run.condition}_simple", {})
    known = {name: simple[name] for name in MODELS if name in simple}
    # Where chance plays a part, the seeds that the network has had so far.
    places = [SEEDS.index(seed) for seed in seeds]
    return scores | {n: x[places] if x.ndim == 2 else x for n, x in known.items()}


def _check(rows: pd.DataFrame, question: str, detail: str, run: Run) -> pd.DataFrame:
    single = rows[(rows["model"] == NETWORK) & (rows["seed"] > 0)]
    trainings = max(1, single["seed"].nunique())
    about = {"question": question, "detail": detail, "effect_d": run.effect_d}
    return rows.assign(**about, people=run.people, trainings=trainings)


def _shuffled_rows(found: dict[str, dict[str, NDArray]], tested: pd.DataFrame) -> pd.DataFrame:
    runs = [run for run in plan() if run.question == "permutation" and run.key in found]
    areas = [accuracy.auc(tested["patient"], found[run.key][NETWORK]) for run in runs]
    rows = [(run.seed, area, np.nan, np.nan) for run, area in zip(runs, areas, strict=True)]
    if len(areas) > 1:
        rows.append((0, *centre(areas)[:3]))
    table = pd.DataFrame(rows, columns=["seed", "estimate", "low", "high"])
    about = {"question": "permutation", "detail": "", "effect_d": 0.0, "people": LEARNING[-1]}
    return table.assign(**about, trainings=len(runs), model=NETWORK, measure="auc")


def _site_rows(scores: dict, tested: pd.DataFrame, run: Run, **options) -> list[pd.DataFrame]:
    """Return areas for diagnosis and for site where sites are shared, and as sites were learnt."""
    patient, theirs = tested["patient"] == 1, tested["site"].isin(PATIENT_SITES)
    alike = (patient == theirs).to_numpy()
    kept = {name: np.atleast_2d(rows)[:, alike] for name, rows in scores.items()}
    options["measures"] = ("auc", "accuracy", "sensitivity")
    made = {
        "diagnosis, sites shared": compared(patient, scores, **options),
        "site": compared(theirs, scores, **options),
        "diagnosis, sites as learnt": compared(patient[alike], kept, **options),
    }
    return [_check(rows, "confounded", detail, run) for detail, rows in made.items()]


def _form_rows(
    found: dict, scores: dict, tested: pd.DataFrame, run: Run, **options
) -> list[pd.DataFrame]:
    """Return each form against its controls, the effect in all regions and in half of them."""
    options["measures"], parts = ("auc", "sensitivity"), []
    weaker = _half(found, scores, run, tested)
    for form in ("LD", "CD", "BSP"):
        own = ((tested["group"] == form) | (tested["twin_of"] == form)).to_numpy()
        label = tested.loc[own, "patient"]
        kept = {name: np.atleast_2d(rows)[:, own] for name, rows in scores.items()}
        parts.append(_check(compared(label, kept, **options), "transfer", form, run))
        if form != "LD" and weaker is not None:
            rows = compared(label, {NETWORK: weaker[:, own]}, **options)
            parts.append(_check(rows, "transfer", f"{form}, half of the regions", run))
    return parts


def _half(found: dict, scores: dict, run: Run, tested: pd.DataFrame) -> NDArray | None:
    rows = [found[replace(run, seed=seed).key] for seed in _seeds(found, run)]
    if any("half" not in row for row in rows):
        return None
    weaker = scores[NETWORK].copy()
    place = {row: k for k, row in enumerate(tested["index"])}
    for k, row in enumerate(rows):
        weaker[k, [place[n] for n in row["half_rows"]]] = row["half"]
    return weaker


def _ordered(parts: list[pd.DataFrame], first: list[str]) -> pd.DataFrame:
    columns = ["model", "measure", "seed", "estimate", "low", "high"]
    columns = [*first, *columns, "lead", "lead_low", "lead_high"]
    parts = [part for part in parts if len(part)]
    whole = pd.concat(parts) if parts else pd.DataFrame()
    return whole.reindex(columns=columns).reset_index(drop=True)
