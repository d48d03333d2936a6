"""Raters of one cohort side by side and together: two kinds of interval, votes, assistance.

What :mod:`helpers.readers` makes of calls is measured here with people resampled, for the tables
and figures of the page that compares the network with readers.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from helpers import accuracy, agreement, inference, multireader, readers
from helpers.inference import Interval

#: Names of the two kinds of interval, the tempting one first.
KINDS = ("images independent", "people resampled")

#: Where the network counts as sure in the what-if of assistance; assumptions.
SURE = (0.05, 0.95)


def reads_of(reads_csv: str, test: pd.DataFrame, *, seed: int) -> tuple[pd.DataFrame, str]:
    """Read and check the calls of real readers, or simulate readers where there is no file.

    Parameters
    ----------
    reads_csv : str
        File of calls; empty for simulated readers.
    test : DataFrame
        One row a test image: image_id, label, case_id.
    seed : int
        Of the simulation.

    Returns
    -------
    tuple
        The calls, one row a reader and image, and whose they are, in words.

    Raises
    ------
    FileNotFoundError, helpers.readers.InvalidReads
        As :func:`helpers.readers.load`.
    """
    if reads_csv:
        return readers.load(reads_csv, test["image_id"]), "calls of your readers"
    reads = readers.simulate(test["image_id"], test["label"], seed=seed, case=test["case_id"])
    return reads, "readers simulated from published accuracies"


def both_intervals(
    calls: pd.DataFrame, raters: Iterable[str], *, evidence: str, seed: int
) -> pd.DataFrame:
    """Measure raters with each kind of interval, and the network with the person as the unit.

    A person is called by the mean probability of the own images, at the same threshold of one
    half as an image.

    Parameters
    ----------
    calls : DataFrame
        One row an image: label, case_id, probability and a column of 0/1 calls a rater.
    raters : iterable of str
        Those columns, the network's first.
    evidence : str
        Evidence label of this cohort.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        rater, evidence, kind (:data:`KINDS`), measure, estimate, low, high, method, n.
    """
    raters = list(raters)
    plain = {
        rater: inference.from_counts(accuracy.confusion(calls["label"], calls[rater]))
        for rater in raters
    }
    people = by_person(calls)
    counted = inference.from_counts(accuracy.confusion(people["label"], people["call"]))
    name = f"{raters[0]}, per person"
    parts = [
        _stacked(plain).assign(kind=KINDS[0]),
        inference.by_rater(calls, raters, seed=seed).assign(kind=KINDS[1]),
        # A person counts once, so Wilson's interval is honest here.
        counted.assign(rater=name, kind=KINDS[1]),
    ]
    order = [raters[0], name, *raters[1:]]
    table = pd.concat(parts, ignore_index=True).assign(evidence=evidence)
    place = table["rater"].map(order.index)
    return table.iloc[np.lexsort((table["kind"].map(KINDS.index), place))].reset_index(drop=True)


def by_person(images: pd.DataFrame, *, threshold: float = 0.5) -> pd.DataFrame:
    """Average the probabilities of each person's images.

    Parameters
    ----------
    images : DataFrame
        label, case_id, probability.
    threshold : float
        A person is called from this mean probability on.

    Returns
    -------
    DataFrame
        case_id, label, probability, call; one row a person.

    Examples
    --------
    >>> rows = {"case_id": ["a", "a"], "label": [1, 1], "probability": [0.2, 0.9]}
    >>> by_person(pd.DataFrame(rows)).astype(str).iloc[0].tolist()
    ['a', '1', '0.55', '1']
    """
    people = images.groupby("case_id", as_index=False).agg(
        label=("label", "first"), probability=("probability", "mean")
    )
    return people.assign(call=(people["probability"] >= threshold).astype(int))


def strategies(calls: pd.DataFrame, names: Iterable[str], *, model: str, seed: int) -> pd.DataFrame:
    """Measure ways of reading: alone, by vote, with the network, each with people resampled.

    Parameters
    ----------
    calls : DataFrame
        As for :func:`both_intervals`.
    names : iterable of str
        The readers' columns.
    model : str
        The network's column.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        strategy, measure, estimate, low, high, method.
    """
    names = list(names)
    team = readers.team(calls, names, model=model, low=SURE[0], high=SURE[1])
    votes = [column for column in team if column.startswith(f"readers and {model}")]
    assisted = [f"{name}, assisted" for name in names]
    choices = {
        f"{model} alone": [model],
        "one reader alone, mean": names,
        "best reader, chosen on these images": [readers.best(calls, names)],
        "majority of readers": ["majority of readers"],
        **{column: [column] for column in votes},
        f"one reader who yields to a sure {model}, mean": assisted,
    }
    parts = {
        strategy: mean_of(team, columns, seed=seed)[lambda t: t["measure"].isin(_SHOWN)]
        for strategy, columns in choices.items()
    }
    return _stacked(parts, name="strategy")


def mean_of(calls: pd.DataFrame, columns: Iterable[str], *, seed: int) -> pd.DataFrame:
    """Measure the mean of several raters, a person's images and calls resampled together.

    Each has called every image, so that the mean share equals the share of all their calls.

    Parameters
    ----------
    calls : DataFrame
        label, case_id and the columns.
    columns : iterable of str
        The raters.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        As :func:`helpers.inference.by_case`.
    """
    columns = list(columns)
    times = len(columns)
    call = calls[columns].to_numpy().ravel(order="F")
    return inference.by_case(
        np.tile(calls["label"], times), np.tile(calls["case_id"], times), call=call, seed=seed
    )


def agreement_of(
    calls: pd.DataFrame, groups: dict[str, Iterable[str]], *, seed: int
) -> pd.DataFrame:
    """Fleiss' kappa and Gwet's AC1 of groups of raters, with people resampled.

    Parameters
    ----------
    calls : DataFrame
        case_id and a column of calls a rater.
    groups : dict of str to iterable of str
        Raters of each group, by its name.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        raters, measure, estimate, low, high, method.
    """
    rows = []
    for name, raters in groups.items():
        own = calls[list(raters)]
        kappa = readers.kappa_by_case(own, calls["case_id"], seed=seed)
        rows.append((name, "Fleiss' kappa", *kappa))
        rows.append((name, "Gwet's AC1", *ac1_by_case(own, calls["case_id"], seed=seed)))
    return pd.DataFrame(rows, columns=["raters", "measure", "estimate", "low", "high", "method"])


def against_readers_in_general(
    calls: pd.DataFrame, names: Iterable[str], *, model: str, figure: str = "sensitivity"
) -> Interval:
    """Difference of the network and readers in general, readers and people being samples.

    Obuchowski and Rockette's analysis, see :func:`helpers.multireader.model_against_readers`.
    Simulated readers are no sample of readers: for them the interval is NaN and the method says
    why. No p-value is returned.

    Parameters
    ----------
    calls : DataFrame
        As for :func:`both_intervals`.
    names : iterable of str
        The readers' columns.
    model : str
        The network's column.
    figure : {"sensitivity", "specificity", "accuracy"}
        What is compared.

    Returns
    -------
    Interval
    """
    names = list(names)
    found = multireader.model_against_readers(
        calls["label"], calls[model], calls[names], calls["case_id"], figure=figure
    )
    if readers.are_simulated(names):
        return Interval(found.estimate, np.nan, np.nan, "none: readers are simulated")
    return Interval(found.estimate, found.low, found.high, found.method)


def ac1_by_case(
    calls: ArrayLike,
    case: ArrayLike,
    *,
    replicates: int = 2000,
    seed: int | np.random.Generator = 0,
    level: float = 0.95,
) -> Interval:
    r"""Gwet's AC1 of yes-or-no calls with the percentile interval of resampled people.

    :math:`AC_1 = (\bar P - P_\gamma)/(1 - P_\gamma)` with :math:`\bar P` the mean share of
    agreeing pairs and, for two kinds of call, :math:`P_\gamma = 2\bar\pi(1-\bar\pi)`,
    :math:`\bar\pi` the mean share of positive calls. Unlike kappa it stays high where nearly all
    calls are the same.

    Parameters
    ----------
    calls : array-like of 0 and 1, shape (images, raters)
        Every rater has called every image.
    case : array-like, shape (images,)
        The person each image belongs to.
    replicates, seed, level
        As in :func:`helpers.inference.by_case`.

    Returns
    -------
    Interval

    References
    ----------
    Gwet KL. Br J Math Stat Psychol 2008;61:29-48.

    Examples
    --------
    >>> round(ac1_by_case([[1, 1], [0, 0], [1, 0]], list("abc"), replicates=50).estimate, 3)
    0.333
    """
    counts = agreement.tally(calls)
    raters = counts.sum(axis=1)
    pairs = (counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))
    codes, people = pd.factorize(np.asarray(case), sort=True)
    parts = np.column_stack([pairs, counts[:, 1] / raters, np.ones(len(codes))])
    summed = np.zeros((len(people), 3))
    np.add.at(summed, codes, parts)
    weights = inference.case_weights(case, replicates=replicates, seed=seed)
    agreeing, positive, images = (weights @ summed).T
    rate = positive / images
    chance = 2 * rate * (1 - rate)
    values = (agreeing / images - chance) / (1 - chance)
    return inference.percentiles(values, cases=weights.shape[1], level=level)


_SHOWN = ("sensitivity", "specificity", "accuracy")


def _stacked(parts: dict[str, pd.DataFrame], *, name: str = "rater") -> pd.DataFrame:
    return pd.concat(parts, names=[name]).reset_index(name).reset_index(drop=True)
