"""A training that can be killed after any epoch and goes on as if nothing had happened.

One file holds all that the next epoch depends on: weights, the optimiser's state, the states of
random layers, the weights of the best epoch, the losses so far. It is written under another name
and renamed, and holds arrays only; a file that is damaged, or was made from other data, settings,
code or versions, is not used.
"""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from helpers import paths
from helpers.networks import keras

#: What reading a damaged file raises.
BROKEN = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile)


@dataclass
class Progress:
    """How far a training has come.

    Attributes
    ----------
    losses : list of (float, float)
        Training and optimisation loss of each epoch so far.
    best : list of ndarray
        The network's weights at the end of the epoch of least optimisation loss.
    """

    losses: list[tuple[float, float]] = field(default_factory=list)
    best: list[NDArray] = field(default_factory=list)

    def add(self, training: float, optimisation: float, model: keras.Model) -> None:
        """Take an epoch in, and the weights if no epoch before was as good.

        Parameters
        ----------
        training, optimisation : float
            Its losses.
        model : keras.Model
            As it is at the end of the epoch.
        """
        self.losses.append((float(training), float(optimisation)))
        if self.best_epoch == len(self.losses) - 1:
            self.best = model.get_weights()

    @property
    def best_epoch(self) -> int:
        """Number of the epoch of least optimisation loss, from 0; the first of equals.

        Examples
        --------
        >>> Progress([(0.7, 0.7), (0.5, 0.6), (0.3, 0.6)]).best_epoch
        1
        """
        # A loss that is no number is worse than any: it must neither be kept nor end the search.
        found = np.array([loss for _, loss in self.losses])
        return int(np.where(np.isnan(found), np.inf, found).argmin())

    def ended(self, *, epochs: int, patience: int) -> bool:
        """Return whether there is no further epoch.

        Parameters
        ----------
        epochs : int
            Limit.
        patience : int
            Epochs without a lower optimisation loss.

        Examples
        --------
        >>> Progress([(0.7, 0.7), (0.5, 0.8), (0.3, 0.9)]).ended(epochs=9, patience=2)
        True
        """
        done = len(self.losses)
        return done >= epochs or (done > 0 and done - 1 - self.best_epoch >= patience)


def save(path: Path, model: keras.Model, progress: Progress, *, mark: str) -> None:
    """Write all that the next epoch depends on.

    Parameters
    ----------
    path : Path
        Ends in ``.npz``.
    model : keras.Model
        Compiled, its optimiser built.
    progress : Progress
        Up to the present epoch.
    mark : str
        Of what the training depends on.
    """
    arrays = {"mark": np.array(mark), "losses": np.array(progress.losses)}
    arrays |= {f"state{k:04d}": np.asarray(value) for k, value in enumerate(_state(model))}
    arrays |= {f"best{k:04d}": value for k, value in enumerate(progress.best)}
    with paths.atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def restore(path: Path, model: keras.Model, *, mark: str) -> Progress:
    """Set a network and its optimiser back to the end of the last epoch that was written.

    Parameters
    ----------
    path : Path
        From :func:`save`.
    model : keras.Model
        Compiled, its optimiser built; of the same settings as the one saved.
    mark : str
        Of what the training depends on.

    Returns
    -------
    Progress
        Without epochs where there is no file, or none that can be used: the network then stays
        as it was.
    """
    if not path.is_file():
        return Progress()
    state = _state(model)
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["mark"]) != mark:
                return Progress()
            values = [stored[f"state{k:04d}"] for k in range(len(state))]
            best = [stored[f"best{k:04d}"] for k in range(len(model.get_weights()))]
            losses = [(float(a), float(b)) for a, b in stored["losses"]]
    except BROKEN:
        return Progress()
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    return Progress(losses, best)


def _state(model: keras.Model) -> list:
    """Return weights, states of random layers and the optimiser's variables."""
    return [*model.variables, *model.optimizer.variables]
