"""Population-based training: members learn side by side, and the worst go on from the weights of the best.

M. Jaderberg et al., Population Based Training of Neural Networks (2017): after each generation the lowest share takes
over a better member's checkpoint (exploit) and its settings, changed by a factor up or down (explore).  Only what a run
may be told anew when it goes on is searched; everything else stays as the training settings have it.  The seed decides
all draws, so that a population that was killed goes on to the same end.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.durable import write_atomically
from engine.errors import ConfigError, DataError
from models.tuning.executor import Executor, Killed
from models.tuning.log import TrialLine, ended_now
from models.tuning.plain import with_values
from models.tuning.search import with_rows
from models.tuning.settings import Tuning
from models.tuning.space import Space
from models.tuning.study import Study
from models.tuning.trial import Outcome, Task

STATE: Final = "population.json"
MAY_CHANGE: Final = frozenset({"fit.learning_rate", "fit.weight_decay"})
_PLACE: Final = "population"
_DRAFT: Final = ".draft"


class Member(msgspec.Struct, frozen=True):
    """``seed`` belongs to the weights, and goes with them.  ``parent``: whose weights it took over last."""

    seed: int
    values: dict[str, Any]
    score: float | None = None
    parent: int | None = None


class _State(msgspec.Struct, frozen=True):
    """``copies``: pairs of a member and whose checkpoint it takes over, before generation ``generation``
    learns; none once that is done."""

    generation: int
    members: tuple[Member, ...]
    copies: tuple[tuple[int, int], ...] = ()


def evolve(study: Study, executor: Executor, data: Path | None, show: Callable[[TrialLine], None]) -> None:
    """All generations; each member's line of each generation is a trial of the study."""
    tuning, folder = study.tuning, study.folder
    space = searched(tuning.space)
    settings = tuning.settings.population
    state = _load(folder) or _State(0, tuple(_beginners(tuning, space)))
    while state.generation < settings.generations:
        _save(folder, state)
        for number, donor in state.copies:
            _take_over(folder, number, donor)
        # From here on donors learn: a generation that is gone on with after a kill takes nothing over again.
        _save(folder, msgspec.structs.replace(state, copies=()))
        outcomes = _learn(study, executor, state, data)
        members = []
        for number, (member, found) in enumerate(zip(state.members, outcomes, strict=True)):
            line = _line(state.generation, number, member, found, settings.members)
            if study.add(line):
                show(line)
            members.append(msgspec.structs.replace(member, score=line.value))
        state = next_generation(tuning, space, state.generation, members)
    _save(folder, state)
    shutil.rmtree(folder / _PLACE, ignore_errors=True)


def searched(space: Space) -> Space:
    """The part of the space that a run may be told anew.  Raises ``ConfigError`` when that is nothing."""
    kept = {key: dimension for key, dimension in space.dimensions.items() if key in MAY_CHANGE}
    if not kept:
        raise ConfigError(
            f"{space.path} has nothing that a population can change", expected=f"one of {', '.join(sorted(MAY_CHANGE))}"
        )
    return Space(space.path, space.network, kept)


def next_generation(tuning: Tuning, space: Space, generation: int, members: list[Member]) -> _State:
    """The lowest share takes over members of the highest share, by chance; what failed counts as lowest.

    Raises ``DataError`` when none was trained.
    """
    settings = tuning.settings
    sign = -1.0 if tuning.maximise else 1.0
    order = sorted(
        range(len(members)),
        key=lambda number: (members[number].score is None, sign * (members[number].score or 0.0), number),
    )
    alive = [number for number in order if members[number].score is not None]
    if not alive:
        raise DataError(f"no member was trained in generation {generation + 1}", do="lower fit.learning_rate")
    taken = max(1, int(len(members) * settings.population.share))
    low = [number for number in order if members[number].score is None or number in order[-taken:]]
    high = [number for number in alive if number not in low][:taken] or alive[:1]
    low = [number for number in low if number not in high]
    made, copies = list(members), []
    for number in low:
        chance = random.Random(f"{settings.seed} {generation} {number}")
        donor = chance.choice(high)
        values = explored(space, members[donor].values, settings.population.factor, chance)
        made[number] = Member(members[donor].seed, values, None, donor)
        copies.append((number, donor))
    return _State(generation + 1, tuple(made), tuple(copies))


def explored(space: Space, values: dict[str, Any], factor: float, chance: random.Random) -> dict[str, Any]:
    """Each value times ``factor`` or divided by it, within the bounds; another choice where there are choices."""
    made = dict(values)
    for key, dimension in space.dimensions.items():
        if dimension.choices:
            made[key] = dimension.draw(chance)
            continue
        assert dimension.low is not None
        assert dimension.high is not None
        value = values[key] * chance.choice((factor, 1 / factor))
        made[key] = min(max(round(value) if dimension.whole else value, dimension.low), dimension.high)
    return made


def _beginners(tuning: Tuning, space: Space) -> list[Member]:
    chance = random.Random(f"{tuning.settings.seed} population")
    seed = tuning.settings.seed
    return [
        Member(seed + number, {key: dimension.draw(chance) for key, dimension in space.dimensions.items()})
        for number in range(tuning.settings.population.members)
    ]


def _learn(study: Study, executor: Executor, state: _State, data: Path | None) -> list[Outcome]:
    """One generation of every member, in their order."""
    tuning, folder = study.tuning, study.folder
    settings = tuning.settings.population
    waiting = list(range(len(state.members)))
    found: dict[int, Outcome] = {}
    running = 0
    while waiting or running:
        while waiting and running < executor.slots:
            number = waiting.pop(0)
            member = state.members[number]
            total = settings.epochs * settings.generations
            whole = {"fit.seeds": [member.seed], "fit.epochs": total, "fit.patience": total}
            plain = with_rows(with_values(tuning.for_search(member.values), whole), folder)
            executor.submit(
                Task(
                    number,
                    (plain,),
                    (str(_place(folder, number)),),
                    tuning.settings.metric,
                    total,
                    None if data is None else str(data),
                    keep=True,
                    resume=True,
                    until=settings.epochs * (state.generation + 1),
                    watched=False,
                )
            )
            running += 1
        task, outcome = executor.next()
        running -= 1
        if isinstance(outcome, Killed):
            raise DataError(f"member {task.number} of {folder}: {outcome}", do="go on with --resume")
        if outcome.stop:
            raise DataError(f"member {task.number} of {folder}: {outcome.error}", do="go on with --resume")
        found[task.number] = outcome
    return [found[number] for number in range(len(state.members))]


def _line(generation: int, number: int, member: Member, found: Outcome, members: int) -> TrialLine:
    done = found.state == "complete"
    return TrialLine(
        generation * members + number,
        found.state,
        member.values,
        ended_now(),
        found.score if done else None,
        found.scores,
        found.epochs,
        found.seconds,
        found.error,
        None,
        generation,
        member.parent,
    )


def _take_over(folder: Path, number: int, donor: int) -> None:
    """The donor's run in place of the member's.  Done again after a kill it comes to the same, as long as no donor has
    learned on."""
    place = _place(folder, number).parent
    draft = place.with_suffix(_DRAFT)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(_place(folder, donor).parent, draft)
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
    except (OSError, shutil.Error) as error:
        raise DataError(f"{place} cannot be written: {error}", do="make room, then go on with --resume") from None


def _place(folder: Path, number: int) -> Path:
    """All runs have one name: that of a task with several forecasts is in the names of its files."""
    return folder / _PLACE / f"member-{number:02d}" / "run"


def _load(folder: Path) -> _State | None:
    path = folder / STATE
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_State)
    except (OSError, msgspec.ValidationError, msgspec.DecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _save(folder: Path, state: _State) -> None:
    try:
        write_atomically(folder / STATE, msgspec.json.encode(state))
    except OSError as error:
        raise DataError(f"{folder / STATE} cannot be written: {error.strerror}", do="make room") from None
